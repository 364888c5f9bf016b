use checks::{Check, Context, Entry, Measure, Meta, Nature, Outcome, PartId, Progress, ReasonSpec, Report, Step};
use clap::Parser;
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;

const WRONG: ReasonSpec = ReasonSpec::fail("wrong", "correct it");
const BLIND: ReasonSpec = ReasonSpec::unknown("blind", "let it look");
const EARLY: ReasonSpec = ReasonSpec::waiting("early", "wait for it");
const CONTROL: ReasonSpec = ReasonSpec::fail("control_failed", "nothing to do");

/// Says these words, one for each look.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Says {
    /// What each look comes to.
    looks: Vec<String>,
    /// What its control comes to.
    #[serde(default)]
    control: Option<String>,
}

fn outcome(word: &str, cx: &Context) -> Outcome {
    match word {
        "pass" => Outcome::pass("all is well"),
        "fail" => WRONG.because("it is 7, not 8"),
        "unknown" => BLIND.because("no light"),
        "early" => EARLY.until(cx.now + chrono::TimeDelta::hours(1), "not due yet"),
        "late" => EARLY.until(cx.now - chrono::TimeDelta::hours(1), "was due"),
        "control" => CONTROL.because("as it should"),
        word => panic!("told to {word}"),
    }
}

impl Check for Says {
    const META: Meta = Meta {
        kind: "says",
        nature: Nature::Continuous,
        reasons: &[&[WRONG, BLIND, EARLY, CONTROL]],
        control: CONTROL,
        measures: &["answer"],
        waivable: true,
        rules: &[],
    };
    type Memory = usize;

    fn run<'a>(&'a self, cx: &'a Context, looks: usize) -> BoxFuture<'a, Report<usize>> {
        Box::pin(async move {
            assert!(cx.by_hand, "a check knows that a person looks");
            let word = self.looks[looks.min(self.looks.len() - 1)].as_str();
            let step = match word {
                "hang" => std::future::pending().await,
                "none" => Step::Done(std::collections::BTreeMap::new()),
                "more" => Step::More(Progress { done: 1, total: 2, note: "half way".into() }),
                "parts" => {
                    let part = |name: &str, word: &str| (PartId::new(name), outcome(word, cx));
                    Step::Done([part("node-1", "pass"), part("node-2", "fail")].into())
                }
                "flood" => Step::Done((0..2000).map(|n| (PartId::new(n.to_string()), Outcome::pass("x"))).collect()),
                word => Step::whole(outcome(word, cx)),
            };
            let part = PartId::new(PartId::WHOLE);
            let measures = [42.0, f64::NAN].map(|value| Measure { part: part.clone(), name: "answer", value }).to_vec();
            let mut report = Report { measures, ..Report::new(step, looks + 1) };
            report.identities.insert("there".into(), "7".into());
            report
        })
    }

    fn control<'a>(&'a self, cx: &'a Context, _: usize) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { outcome(self.control.as_deref().unwrap_or("control"), cx) })
    }
}

fn registry() -> Registry {
    checks::registry().with(Entry::of::<Says>())
}

#[derive(Debug, Parser)]
#[command(name = "probe check", about = None::<&str>)]
struct Cli {
    #[command(flatten)]
    args: CheckArgs,
}

/// What a command line came to.
struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

impl Ran {
    fn whole(&self) -> String {
        format!("{}--- stderr\n{}--- exit {}", self.out, self.err, self.exit.code)
    }
}

/// Runs a command line on a document of two phases with these probes, each `name: {looks: …}`.
async fn check(probes: &[(&str, &str)], line: &str) -> Ran {
    let probe = |(name, says): &(&str, &str)| format!("    - {{name: {name}, check: {{says: {says}}}}}\n");
    let text = format!(
        "apiVersion: phasegate.dev/v1alpha1\nkind: Migration\nmetadata: {{name: homelab}}\nspec:\n  phases:\n  - name: one\n    \
         probes:\n{}  - name: two\n    probes:\n    - {{name: last, check: {{says: {{looks: [pass]}}}}}}\n",
        probes.iter().map(probe).collect::<String>()
    );
    let config = config::parse("migration.yaml", text.as_bytes(), &registry());
    let config = config.map_err(|errors| Trouble { exit: Exit::USAGE, message: errors.to_string(), hint: None });
    let words = ["check", "--config.file", "migration.yaml"].into_iter().chain(line.split_whitespace());
    let args = Cli::try_parse_from(words).unwrap().args;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let io = &mut Io { out: &mut out, err: &mut err, live: false };
    let exit = told(&args, &registry(), config, &Handle::current(), io).await;
    let text = |bytes| anstream::adapter::strip_str(&String::from_utf8(bytes).unwrap()).to_string();
    Ran { exit, out: text(out), err: text(err) }
}

const ALL: &[(&str, &str)] = &[
    ("good", "{looks: [pass]}"),
    ("bad", "{looks: [fail]}"),
    ("blind", "{looks: [unknown]}"),
    ("early", "{looks: [early]}"),
    ("unfinished", "{looks: [more]}"),
    ("nodes", "{looks: [parts]}"),
    ("panics", "{looks: [explode]}"),
    ("hangs", "{looks: [hang]}"),
    ("empty", "{looks: [none]}"),
    ("floods", "{looks: [flood]}"),
];

/// Moments are real, so they are left out.
fn snapshot(name: &str, ran: &Ran) {
    let filters = [(r"due \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "due …"), (r#""due": "[^"]+""#, "\"due\": \"…\"")];
    insta::with_settings!({ filters => filters }, { insta::assert_snapshot!(name, ran.whole()) });
}

#[tokio::test(start_paused = true)]
async fn each_part_shows_what_was_seen_and_what_to_do_next() {
    snapshot("table", &check(ALL, "").await);
    let few = &ALL[..6];
    snapshot("json", &check(few, "-o json --control").await);
}

#[tokio::test(start_paused = true)]
async fn a_control_has_to_fail_with_its_own_reason() {
    let probes = [
        ("trusted", "{looks: [pass]}"),
        ("gullible", "{looks: [pass], control: pass}"),
        ("other", "{looks: [pass], control: fail}"),
        ("broken", "{looks: [pass], control: explode}"),
    ];
    let ran = check(&probes, "--control").await;
    snapshot("controls", &ran);
    assert_eq!(ran.exit, Exit::UNKNOWN);
    assert_eq!(check(&probes[..1], "--control").await.exit, Exit::OPEN);
    for probe in &probes[1..] {
        assert_eq!(check(&[*probe], "--control").await.exit, Exit::UNKNOWN, "{probe:?}");
        assert_eq!(check(&[*probe], "").await.exit, Exit::OPEN, "{probe:?}: it was not asked for");
    }
}

#[tokio::test(start_paused = true)]
async fn the_exit_code_is_the_worst_outcome_in_each_format() {
    for (word, exit) in [
        ("pass", Exit::OPEN),
        ("fail", Exit::CLOSED),
        ("parts", Exit::CLOSED),
        ("unknown", Exit::UNKNOWN),
        ("early", Exit::PENDING),
        ("late", Exit::UNKNOWN),
        ("more", Exit::PENDING),
        ("none", Exit::UNKNOWN),
        ("hang", Exit::UNKNOWN),
        ("explode", Exit::UNKNOWN),
        ("flood", Exit::UNKNOWN),
    ] {
        let says = format!("{{looks: [{word}]}}");
        for format in ["table", "json"] {
            let ran = check(&[("one", &says)], &format!("one -o {format}")).await;
            assert_eq!(ran.exit, exit, "{word} {format}: {}", ran.whole());
            assert!(ran.err.contains("One look opens no gate"), "{}", ran.err);
        }
    }
    let two = |a: &'static str, b: &'static str| [("a", a), ("b", b)];
    for (probes, exit) in [
        (two("{looks: [fail]}", "{looks: [unknown]}"), Exit::CLOSED),
        (two("{looks: [unknown]}", "{looks: [early]}"), Exit::UNKNOWN),
        (two("{looks: [early]}", "{looks: [pass]}"), Exit::PENDING),
    ] {
        assert_eq!(check(&probes, "").await.exit, exit);
    }
}

#[tokio::test(start_paused = true)]
async fn probes_are_chosen_by_name_or_by_phase() {
    let names = async |line: &str| {
        let ran = check(ALL, &format!("{line} -o json")).await;
        let body: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let names = body["probes"].as_array().unwrap().iter().map(|probe| probe["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("last good").await, "good last", "in the document's order");
    assert_eq!(names("--phase two").await, "last");
    assert_eq!(names("").await.split(' ').count(), ALL.len() + 1);
    for (line, hint) in [("god", "did you mean `good`?"), ("--phase three", "known phases: `one`, `two`")] {
        let ran = check(ALL, line).await;
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::NOT_FOUND, ""));
        assert!(ran.err.contains(hint), "{}", ran.err);
        let body: serde_json::Value = serde_json::from_str(&check(ALL, &format!("{line} -o json")).await.out).unwrap();
        assert_eq!((&body["error"]["exit"], &body["error"]["code"]), (&13.into(), &"not_found".into()));
    }
    assert!(Cli::try_parse_from(["check", "--config.file", "x", "a", "--phase", "b"]).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_document_with_errors_is_shown_as_by_config_check() {
    let ran = check(&[("good", "{looks: 7}")], "").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::USAGE, ""));
    assert!(ran.err.starts_with("error: ") && ran.err.contains("= hint: "), "{}", ran.err);
}

#[tokio::test(start_paused = true)]
async fn looks_hand_on_what_they_remember_and_the_last_one_counts() {
    let says = "{looks: [unknown, pass]}";
    let begun = tokio::time::Instant::now();
    let ran = check(&[("counter", says)], "counter --times 2").await;
    assert_eq!(begun.elapsed(), Duration::from_secs(5), "the probe's own cadence");
    assert_eq!(ran.exit, Exit::OPEN);
    assert!(ran.out.contains("looks: unknown, pass"), "{}", ran.out);
    let begun = tokio::time::Instant::now();
    assert_eq!(check(&[("counter", says)], "counter --times 3 --pause 1s").await.exit, Exit::OPEN);
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    assert_eq!(check(&[("counter", says)], "counter").await.exit, Exit::UNKNOWN);
}

#[tokio::test(start_paused = true)]
async fn a_hang_takes_no_longer_than_its_timeout() {
    let begun = tokio::time::Instant::now();
    let ran = check(ALL, "hangs --timeout 1s").await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(ran.out.contains("hung: the check did not return within its timeout of 1s"), "{}", ran.out);
}

#[tokio::test(start_paused = true)]
async fn more_probes_than_look_at_a_time_all_have_their_turn() {
    let names: Vec<String> = (0..30).map(|n| format!("p{n}")).collect();
    let probes: Vec<_> = names.iter().map(|name| (name.as_str(), "{looks: [hang]}")).collect();
    let ran = check(&probes, "").await;
    assert!(ran.err.starts_with("31 probes: 1 pass, 30 unknown"), "{}", ran.err);
}

/// Takes nothing.
struct Shut(io::ErrorKind);

impl Write for Shut {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_answer_that_could_not_be_written_is_no_pass() {
    for (kind, given, exit) in [
        (io::ErrorKind::StorageFull, Exit::OPEN, Exit::UNKNOWN),
        (io::ErrorKind::StorageFull, Exit::CLOSED, Exit::CLOSED),
        (io::ErrorKind::BrokenPipe, Exit::OPEN, Exit::OPEN),
    ] {
        let io = &mut Io { out: &mut Shut(kind), err: &mut Vec::new(), live: false };
        assert_eq!(settle(io, "text", given), exit);
    }
}

#[test]
fn its_help_says_what_the_exit_codes_mean() {
    use clap::CommandFactory;
    let help = Cli::command().render_long_help().to_string();
    insta::assert_snapshot!("help", help);
}
