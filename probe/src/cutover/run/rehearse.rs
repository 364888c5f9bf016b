//! A rehearsal: the steps of a phase are run somewhere else, and how long they took is told where they count.

use std::collections::BTreeMap;
use std::path::PathBuf;

use checks::Target;
use clap::Args;

use super::verbs::begin_with_steps;
use crate::api::types::{PlanBody, Receipt, RehearsalRequest};
use crate::cutover::client::Client;
use crate::cutover::render::About;
use crate::cutover::trouble::Trouble;
use crate::cutover::{Answer, Context, Own, plan};
use crate::exit::Exit;

/// Where the rehearsal takes place.
#[derive(Debug, Clone, Args)]
pub(crate) struct RehearseArgs {
    /// Rehearse: run the steps of this document, of a scratch migration with the same steps and none of the same targets
    #[arg(long, value_name = "FILE", requires = "scratch_server", conflicts_with_all = ["plan", "dry_run"])]
    rehearse: Option<PathBuf>,
    /// Address of the scratch migration's own verifier
    #[arg(long, value_name = "URL", requires = "rehearse")]
    scratch_server: Option<String>,
}

impl RehearseArgs {
    /// The document and the verifier of the scratch migration, if there is one.
    pub(super) fn scratch(self) -> Option<(PathBuf, String)> {
        self.rehearse.zip(self.scratch_server)
    }
}

/// Runs the steps of a phase in a scratch migration, and tells the real one how long they took.
pub(super) async fn rehearse(
    cx: &mut Context<'_, '_>,
    phase: &str,
    (file, server): (PathBuf, String),
    confirm: Option<String>,
) -> Answer {
    let own = Own::load(cx)?;
    let real = plan::fetch(cx, phase).await?;
    own.must_be(&real)?;
    let scratch = Own::from(&file, cx.load)?;
    apart(&own, &scratch)?;
    let client = Client::new(&server, cx.token.as_deref(), cx.request_timeout)?;
    if client.server() == cx.client.server() {
        return Err(Trouble::new(Exit::USAGE, "--scratch-server is the real migration's verifier")
            .hint("start another one with the scratch document: `probe verifier --config.file … --web.listen-address …`"));
    }
    let mut there = Context {
        client: &client,
        io: &mut *cx.io,
        request_timeout: cx.request_timeout,
        yes: cx.yes,
        file: Some(file),
        token: cx.token.clone(),
        token_file: cx.token_file.clone(),
        verify_dir: cx.verify_dir,
        load: cx.load,
        now: cx.now,
        stop: cx.stop.clone(),
    };
    let plan = plan::fetch(&there, phase).await?;
    scratch.must_be(&plan)?;
    same_steps(&real, &plan)?;
    there.io.say(format!("rehearsing phase {phase} of {} in {}", own.migration(), scratch.migration()));
    let exit = Box::pin(begin_with_steps(&mut there, plan, confirm)).await?;
    if exit != Exit::OPEN {
        return Ok(exit);
    }
    let run = plan::fetch(&there, phase).await?;
    let took = run.steps.iter().filter_map(|step| Some((step.name.clone(), step.took_seconds?)));
    let request = RehearsalRequest { seconds: took.collect::<BTreeMap<_, _>>() };
    let receipt: Receipt = cx.client.post(&["phases", phase, "rehearsal"], &request).await?;
    cx.io.show(&About(phase, &receipt));
    cx.io.say(format!(
        "next: `cutover plan {phase}` quotes these times; `cutover rollback {phase} --server {server} --file {} --reason rehearsed` clears the scratch side",
        scratch.file().display()
    ));
    Ok(Exit::OPEN)
}

/// Nothing of the real migration may be touched by a rehearsal of it.
fn apart(own: &Own, scratch: &Own) -> Result<(), Trouble> {
    let refuse = |what: String| {
        Err(Trouble::new(Exit::USAGE, format!("{} is no scratch migration: {what}", scratch.file().display()))
            .hint("a rehearsal has a document of its own: another name, the same phases and steps, other targets"))
    };
    if own.migration() == scratch.migration() {
        return refuse(format!("it has the real one's name, {}", own.migration()));
    }
    let real: Vec<(String, &str)> = places(own.targets()).collect();
    let shared = places(scratch.targets()).find_map(|(place, name)| {
        let other = real.iter().find(|(other, _)| *other == place)?;
        Some(format!("its target {name} is the real {}", other.1))
    });
    shared.map_or(Ok(()), refuse)
}

/// Where the targets are, as far as the document tells: addresses, and where connection strings are found.
fn places(targets: &BTreeMap<String, Target>) -> impl Iterator<Item = (String, &str)> {
    targets.iter().flat_map(|(name, target)| {
        let host =
            |url: &url::Url| format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(0));
        let mut places: Vec<String> = target.urls().into_iter().map(|(_, url)| host(url)).collect();
        if let Some(pods) = target.pods() {
            places.push(format!("pods {} in namespace {} at port {}", pods.selector, pods.namespace, pods.port));
        }
        if let Target::Postgres(postgres) = target {
            places.push(format!("{}", postgres.dsn));
        }
        places.into_iter().map(|place| (place, name.as_str()))
    })
}

fn same_steps(real: &PlanBody, scratch: &PlanBody) -> Result<(), Trouble> {
    let names = |plan: &PlanBody| plan.steps.iter().map(|step| step.name.clone()).collect::<Vec<_>>();
    let (own, other) = (names(real), names(scratch));
    if own.is_empty() {
        return Err(Trouble::new(Exit::USAGE, format!("phase {} has no steps to rehearse", real.phase))
            .hint("add them to the document, see the README"));
    }
    if own == other {
        return Ok(());
    }
    let message =
        format!("the scratch migration has other steps: {}; phase {} has {}", other.join(", "), real.phase, own.join(", "));
    Err(Trouble::new(Exit::USAGE, message).hint("give it the same steps, by the same names, in the same order"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &str, targets: &str) -> Own {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("migration.yaml");
        let document = format!(
            "apiVersion: phasegate.dev/v1alpha1\nkind: Migration\nmetadata: {{name: {name}}}\nspec:\n  targets: {{{targets}}}\n  \
             phases:\n  - name: one\n    probes:\n    - {{name: beat, check: {{heartbeat: {{within: 10m}}}}}}\n"
        );
        std::fs::write(&file, document).unwrap();
        let config = crate::config::load(&file, &checks::registry()).unwrap();
        Own::of(&file, config).map_err(|trouble| trouble.message).unwrap()
    }

    fn refused(scratch: &Own) -> Option<String> {
        let real = own(
            "homelab",
            r#"old: {loki: {url: "http://192.0.2.10:3100"}}, pg: {postgres: {dsn: {env: PG_DSN}}}, alloy: {alloy: {urls: ["https://a.example"]}}"#,
        );
        apart(&real, scratch).err().map(|trouble| trouble.message.to_string())
    }

    #[test]
    fn a_scratch_migration_shares_nothing_with_the_real_one() {
        let other = r#"old: {loki: {url: "http://127.0.0.1:3100"}}, pg: {postgres: {dsn: {env: SCRATCH_DSN}}}"#;
        assert_eq!(refused(&own("scratch", other)), None);
        for (targets, words) in [
            (r#"a: {loki: {url: "http://192.0.2.10:3100/loki"}}"#, "its target a is the real old"),
            ("b: {postgres: {dsn: {env: PG_DSN}}}", "its target b is the real pg"),
            (r#"c: {grafana: {url: "https://a.example:443/grafana"}}"#, "its target c is the real alloy"),
        ] {
            let told = refused(&own("scratch", targets)).unwrap_or_default();
            assert!(told.contains(words), "{targets}: {told}");
        }
        assert!(refused(&own("homelab", other)).unwrap().contains("the real one's name"));
    }
}
