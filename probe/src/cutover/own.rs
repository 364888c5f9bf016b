//! The operator's own copy of the document. What is run comes from here and from nowhere else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use checks::Target;

use super::Context;
use super::journal::{Local, Story};
use super::trouble::Trouble;
use crate::api::types::{PlanBody, SCHEMA_VERSION, StampBody, StepBody};
use crate::config::{Config, ConfigErrors, StepSpec};
use crate::exit::Exit;
use crate::gate::Verdict;
use crate::plan::StepPlan;
use crate::state::PhaseState;

/// Loads a document.
pub type LoadDocument = fn(&Path) -> Result<Config, ConfigErrors>;

/// A sound document, and the folder that its relative paths start from.
pub(crate) struct Own {
    file: PathBuf,
    folder: PathBuf,
    config: Config,
}

impl Own {
    /// Loads what `--file` names.
    pub(super) fn load(cx: &Context<'_, '_>) -> Result<Self, Trouble> {
        let Some(file) = &cx.file else {
            return Err(Trouble::new(Exit::USAGE, "steps run from your own copy of the document, and none was named")
                .hint("name it with --file FILE or in PHASEGATE_FILE"));
        };
        Self::from(file, cx.load)
    }

    /// Loads this file.
    pub(crate) fn from(file: &Path, load: LoadDocument) -> Result<Self, Trouble> {
        Self::of(file, load(file).map_err(|errors| Trouble::new(Exit::USAGE, errors.to_string()))?)
    }

    /// What was loaded from this file.
    pub(super) fn of(file: &Path, config: Config) -> Result<Self, Trouble> {
        let absolute = std::path::absolute(file).map_err(|error| {
            Trouble::new(Exit::USAGE, format!("--file {}: {error}", file.display())).hint("name a readable document")
        })?;
        let folder = absolute.parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf);
        Ok(Self { file: file.to_owned(), folder, config })
    }

    /// Where it was loaded from, as it was named.
    pub(crate) const fn file(&self) -> &PathBuf {
        &self.file
    }

    /// The folder that the commands of a step run in.
    pub(crate) fn dir(&self, step: &StepSpec) -> PathBuf {
        step.dir.as_ref().map_or_else(|| self.folder.clone(), |dir| self.folder.join(dir))
    }

    /// The hash of its meaning.
    pub(crate) fn hash(&self) -> &str {
        &self.config.plan.hash
    }

    /// What the migration is called.
    pub(crate) fn migration(&self) -> &str {
        &self.config.plan.migration
    }

    /// The phases, in their order.
    pub(crate) fn phases(&self) -> impl Iterator<Item = &str> {
        self.config.plan.phases.iter().map(|phase| &*phase.name)
    }

    /// What the plan of a phase is, as far as this document and the journal of this machine tell.
    pub(crate) fn plan_from(&self, phase: &str, story: &Story) -> PlanBody {
        let plan = &self.config.plan;
        let steps = plan.phase(phase).map(|phase| phase.steps.as_slice()).unwrap_or_default();
        PlanBody {
            schema_version: SCHEMA_VERSION,
            migration: plan.migration.clone(),
            phase: phase.to_owned(),
            hash: String::new(),
            config_hash: plan.hash.clone(),
            phase_state: PhaseState::Active,
            switching: None,
            ponr_crossed: told_crossed(story)
                .or_else(|| steps.iter().filter(|step| step.ponr).find_map(|step| crossed(story.steps.get(&step.name)?))),
            going_back: false,
            steps: steps.iter().map(|step| step_from(step, story)).collect(),
            entry: Verdict::Unknown,
            entry_reason: "the verifier can not be reached".to_owned(),
            retires: Vec::new(),
            four_eyes: false,
            approved: None,
            lock: None,
        }
    }

    /// What is looked at, by name.
    pub(crate) fn targets(&self) -> &BTreeMap<String, Target> {
        &self.config.targets
    }

    /// What a phase breaks for a while, in words.
    pub(crate) fn breaks(&self, phase: &str) -> Option<&str> {
        self.config.breaks.get(phase).map(String::as_str)
    }

    /// How the steps of a phase are carried out.
    pub(crate) fn steps(&self, phase: &str) -> &[StepSpec] {
        self.config.steps.get(phase).map(Vec::as_slice).unwrap_or_default()
    }

    /// One step.
    pub(crate) fn step(&self, phase: &str, step: &str) -> Result<&StepSpec, Trouble> {
        self.steps(phase).iter().find(|spec| *spec.name == *step).ok_or_else(|| {
            let message = format!("{} has no step {step} in phase {phase}", self.file.display());
            Trouble::new(Exit::MOVED, message).hint("compare it with the verifier's document: `cutover plan`")
        })
    }

    /// Refuses a document that is not the one in force.
    pub(crate) fn must_be(&self, plan: &PlanBody) -> Result<(), Trouble> {
        if self.hash() == plan.config_hash {
            return Ok(());
        }
        let message = format!(
            "{} is not the document in force: its hash is {}, the verifier's {}",
            self.file.display(),
            self.hash(),
            plan.config_hash
        );
        Err(Trouble::new(Exit::MOVED, message).hint("reload the verifier with this file, or take the file that it has"))
    }
}

fn told_crossed(story: &Story) -> Option<StampBody> {
    story.crossed.clone().map(|(at, by)| StampBody { at, by })
}

/// That a step was started is all it takes to cross what it is.
fn crossed(local: &Local) -> Option<StampBody> {
    local.started.map(|at| StampBody { at, by: "this machine".to_owned() })
}

fn step_from(step: &StepPlan, story: &Story) -> StepBody {
    StepBody { state: story.steps.get(&step.name).map(|local| local.state), ..StepBody::from(step) }
}
