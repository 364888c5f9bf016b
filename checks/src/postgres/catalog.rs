//! `postgresCatalog`: what the old database consists of, the new one has as well.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::counter::{number, words};
use crate::net::{Budget, reasons};
use crate::outcome::{Measure, Outcome, PartId, Progress, ReasonSpec, Step};
use crate::proof::Rest;
use crate::target::{TargetKind, TargetUse};

use super::pair::PAIR;
use look::may_pass_away;
pub use part::Part;
use scan::{Counts, Scan};
use sides::Sides;

mod ask;
mod compare;
mod look;
mod part;
mod questions;
mod scan;
mod sides;
mod told;

/// Something is not there.
const MISSING: ReasonSpec = ReasonSpec::fail(
    "missing",
    "create in the new database what the evidence names, as `pg_dump --schema-only` of the old one writes it, or restore again and read \
     the errors of `pg_restore`; or name what is meant to be gone in `except`",
);
/// Something is another.
const DIFFERS: ReasonSpec = ReasonSpec::fail(
    "differs",
    "make what the evidence names the same on both sides: somebody changed one of them after the dump, or the restore did not get to it (an \
     index that is not valid is built again by REINDEX, an owner is lost with `--no-owner`); or name it in `except`",
);
/// Something is there that was not, and it refuses, changes or allows something.
const EXTRA: ReasonSpec = ReasonSpec::fail(
    "extra",
    "drop or revoke what the evidence names in the new database, or name it in `except` if it is meant to be there: the application meets it \
     for the first time",
);
/// A role is not there, or a membership.
const ROLE_MISSING: ReasonSpec = ReasonSpec::fail(
    "role_missing",
    "carry it over with `pg_dumpall --globals-only`: roles and memberships are no part of a dump of one database. What it owns or may do has \
     to be restored once more after that",
);
/// A role may do more, or less.
const ROLE_DIFFERS: ReasonSpec = ReasonSpec::fail(
    "role_differs",
    "say ALTER ROLE or GRANT on the new side until both are the same; a role that was closed on the old side as a fence (NOLOGIN, CONNECTION \
     LIMIT) is not excused: fence with `cutover postgres fence` instead, or name the role in `except`",
);
/// A setting is not there.
const SETTING_MISSING: ReasonSpec = ReasonSpec::fail(
    "setting_missing",
    "set it on the new side: ALTER ROLE … SET and ALTER DATABASE … SET are only carried by `pg_dumpall`, or by `pg_dump --create`",
);
/// A setting has another value.
const SETTING_DIFFERS: ReasonSpec = ReasonSpec::fail(
    "setting_differs",
    "set the same value on the new side (ALTER SYSTEM, ALTER DATABASE or ALTER ROLE … SET), or name it in `except` if it is meant to be \
     another; encoding and locale are chosen when a database is created",
);
/// Somebody may not do any more what they could.
const PRIVILEGE_MISSING: ReasonSpec = ReasonSpec::fail(
    "privilege_missing",
    "grant what the evidence names: a restore loses it when the role is missing, or with `--no-privileges`",
);
/// Somebody may do more, or less.
const PRIVILEGE_DIFFERS: ReasonSpec = ReasonSpec::fail(
    "privilege_differs",
    "say GRANT or REVOKE in the new database until both are the same; a restore that ran before a role was there has lost what was granted to it",
);
/// There is nothing to be compared.
const NOTHING: ReasonSpec = ReasonSpec::fail(
    "nothing_to_compare",
    "correct the database in the connection string of the target `old`: it has nothing of what is to be compared",
);
/// Our own login covers what the server says.
const HIDDEN_SETTING: ReasonSpec = ReasonSpec::unknown(
    "hidden_setting",
    "take the setting that the evidence names from the verifier's own role (ALTER ROLE … RESET) or connection string: it covers the server's",
);
/// Nobody has tried this version.
const TOO_OLD: ReasonSpec = ReasonSpec::unknown(
    "too_old",
    "compare by hand (`pg_dump --schema-only`): catalogs before PostgreSQL 15 are not known to this check",
);

/// What the old database consists of, the new one has as well, and the same: tables, columns, constraints, indexes, sequences, views,
/// functions, triggers, rules, policies, types, extensions, privileges, and what a dump leaves behind: roles, settings, the database itself. A
/// proof: it takes its time, shows how far it has come, and says what it has compared.
///
/// Each of the `parts` is one of the outcome. Things are compared as the server itself defines them, over versions 15 to 18: what only a later
/// version knows (the privilege `MAINTAIN`, constraints that are only `NOT NULL`, options of memberships) is compared when both know it. Left
/// out are grantors, what belongs to an extension, schemas of the server and of `TimescaleDB`, the schema `phasegate`, the roles of
/// `deploy/postgres` and the logins of the two targets, unless these own something or may write; and passwords are never read. That the old
/// server is in the fence of `cutover postgres fence` is no difference; a role that was closed instead, by `NOLOGIN` or a limit, is. A newer
/// version of an extension and more large objects are named and no failure. Nor is what the new side has beyond the old one, unless the
/// application meets it: a trigger, rule, policy, constraint, unique index, privilege, membership, setting, superuser, column that must be filled.
///
/// Digests are compared first, and only what differs is read, twice. What is long or may hold a secret (bodies, comments, options, settings
/// that an application makes up) is compared and not shown. `except` names what is meant to differ, as the evidence does, with `*` for anything:
/// `["table public.tmp_*", "comment on *"]`; how much that leaves out is said. A server that does not answer is waited for two minutes. After
/// a Pass the next comparison begins when `rest` (15 m by default) is over.
///
/// Fail: something missing, different, or extra as above; no table in the old database; both targets the same server; one of the two
/// refuses, is silent, is no PostgreSQL. Unknown: the verifier's own role is refused, may not see a catalog (the evidence says the GRANT) or
/// covers a setting; a server before version 15; our own resolver or network; an answer that is too large or can not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresCatalog {
    /// Name of the target that is left, of kind `postgres`, with the verifier's own role.
    pub old: String,
    /// Name of the target that it moves to, of kind `postgres`, with the verifier's own role.
    pub new: String,
    /// What is compared; everything by default.
    #[serde(default = "everything")]
    pub parts: BTreeSet<Part>,
    /// What is meant to differ, by the name that the evidence gives to it; `*` stands for anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// How long after a Pass the next comparison begins, like `15m`.
    #[serde(default = "a_quarter_of_an_hour", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub rest: Duration,
}

/// The longest rest after a Pass.
const LONGEST_REST: Duration = Duration::from_hours(7 * 24);
/// Most patterns, and the longest of them.
const PATTERNS: (usize, usize) = (100, 300);

fn everything() -> BTreeSet<Part> {
    Part::ALL.into_iter().collect()
}

fn a_quarter_of_an_hour() -> Duration {
    Duration::from_mins(15)
}

/// What is remembered between Runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    scan: Option<Scan>,
    /// When the next comparison begins.
    #[serde(default)]
    rests_until: Rest,
}

/// What a Run came to.
enum Came {
    /// To the end of the comparison.
    ToTheEnd,
    /// Not so far.
    OnTheWay(Progress),
    /// There was no answer, and not for the first time.
    Nowhere(Outcome),
}

impl PostgresCatalog {
    /// Goes on with the comparison, as long as this Run's share lasts.
    async fn advance(&self, cx: &Context, scan: &mut Scan, identities: &mut BTreeMap<String, String>) -> Came {
        let budget = Budget::start(cx.timeout);
        let trouble = match Box::pin(Sides::enter(cx, self, budget)).await {
            Ok(mut sides) => {
                *identities = sides.pair.identities(&self.old, &self.new);
                if scan.identities != *identities {
                    *scan = Scan::begin(identities.clone());
                }
                let came = Box::pin(self.look(&mut sides, scan, budget)).await;
                sides.pair.leave(budget).await;
                match came {
                    Ok(came) => return came,
                    Err(trouble) => trouble,
                }
            }
            Err(trouble) => trouble,
        };
        if !may_pass_away(&trouble) || !scan.waits_out(cx.now) {
            return Came::Nowhere(trouble);
        }
        let progress = told::progress(scan, &self.parts);
        let note = format!("no answer, asked again with the next run: {}; {}", trouble.evidence(), progress.note);
        Came::OnTheWay(Progress { note: note.into(), ..progress })
    }

    /// All parts, those that are not finished with what kept them from it.
    fn parts(&self, scan: &Scan, trouble: Option<&Outcome>) -> Step {
        let outcome = |part: &Part| scan.done.get(part).map(|finished| &finished.outcome).or(trouble).cloned();
        Step::Done(self.parts.iter().filter_map(|part| Some((PartId::new(part.name()), outcome(part)?))).collect())
    }

    fn report(&self, cx: &Context, mut scan: Scan, came: Came) -> Report<Memory> {
        let measures = measures(&scan);
        let (step, memory) = match came {
            Came::OnTheWay(progress) => (Step::More(progress), Memory { scan: Some(scan), rests_until: Rest::default() }),
            Came::Nowhere(outcome) => {
                let parts = self.parts(&scan, Some(&outcome));
                scan.start_over();
                (parts, Memory { scan: Some(scan), rests_until: Rest::default() })
            }
            Came::ToTheEnd => {
                let passed = scan.done.values().all(|finished| matches!(finished.outcome, Outcome::Pass { .. }));
                (self.parts(&scan, None), Memory { scan: None, rests_until: Rest::after(passed, cx.now, self.rest) })
            }
        };
        Report { measures, ..Report::new(step, memory) }
    }

    async fn look_at_less(&self, cx: &Context) -> Result<Outcome, Outcome> {
        let budget = Budget::start(cx.timeout);
        let mut sides = Box::pin(Sides::enter(cx, self, budget)).await?;
        let seen = self.look_wrong(&mut sides, budget).await;
        sides.pair.leave(budget).await;
        seen
    }
}

fn measures(scan: &Scan) -> Vec<Measure> {
    let of_part = |(part, finished): (&Part, &scan::Finished)| {
        let Counts { total, missing, changed, extra, .. } = finished.counts;
        let part = PartId::new(part.name());
        let counts = [("objects_total", total), ("missing", missing), ("changed", changed), ("extra", extra)];
        counts.map(|(name, count)| Measure { part: part.clone(), name, value: number(count) })
    };
    scan.done.iter().flat_map(of_part).collect()
}

impl Check for PostgresCatalog {
    const META: Meta = Meta {
        kind: "postgresCatalog",
        nature: Nature::Proof,
        reasons: &[
            reasons::NETWORK,
            super::LOGIN,
            PAIR,
            &[MISSING, DIFFERS, EXTRA, ROLE_MISSING, ROLE_DIFFERS, SETTING_MISSING, SETTING_DIFFERS],
            &[PRIVILEGE_MISSING, PRIVILEGE_DIFFERS, NOTHING, HIDDEN_SETTING, TOO_OLD],
        ],
        control: MISSING,
        measures: &["objects_total", "missing", "changed", "extra"],
        waivable: true,
        rules: &[],
    };
    type Memory = Memory;

    fn targets(&self) -> Vec<TargetUse> {
        let of = |field, name: &String| TargetUse { field, kind: Some(TargetKind::Postgres), name: name.clone() };
        vec![of("old", &self.old), of("new", &self.new)]
    }

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong = |field, message: String, hint: &str| errors.push(FieldError { field, message, hint: hint.to_owned() });
        if self.old == self.new {
            wrong("new", "this is the old one as well".to_owned(), "name the server that the data moves to");
        }
        if self.rest > LONGEST_REST {
            wrong("rest", format!("{} is too long", words(self.rest)), "seven days at most");
        }
        if self.parts.is_empty() {
            wrong("parts", "nothing is compared".to_owned(), "leave it out to compare everything");
        }
        let (most, longest) = PATTERNS;
        if self.except.len() > most {
            wrong("except", format!("{} patterns are too many", self.except.len()), "100 at most; `*` stands for anything");
        }
        for pattern in &self.except {
            let plain = pattern.replace('*', "");
            if plain.trim().len() < 3 || pattern.len() > longest || pattern.contains(char::is_control) {
                let hint = "write it as the evidence does, kind and name: `table public.tmp_*`; to compare less, name `parts`";
                wrong("except", format!("{pattern:?} names nothing, or too much"), hint);
            }
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, memory: Memory) -> BoxFuture<'a, Report<Memory>> {
        Box::pin(async move {
            if let Some(step) = memory.rests_until.holds(cx.now) {
                return Report::new(step, memory);
            }
            let mut scan = memory.scan.unwrap_or_else(|| Scan::begin(BTreeMap::new()));
            let mut identities = BTreeMap::new();
            let came = self.advance(cx, &mut scan, &mut identities).await;
            Report { identities, ..self.report(cx, scan, came) }
        })
    }

    fn control<'a>(&'a self, cx: &'a Context, _memory: Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { self.look_at_less(cx).await.unwrap_or_else(|outcome| outcome) })
    }
}

#[cfg(test)]
mod tests;
