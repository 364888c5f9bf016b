//! Every command of the README is run, in its order, as somebody would who has nothing else at hand.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tests::standin::StandinLoki;
use tests::{Output, Spec, World, binary, wait_until};

const PATIENCE: Duration = Duration::from_mins(1);

/// What the reader writes when the README says "edit it".
fn edited(loki: &StandinLoki) -> String {
    format!(
        "apiVersion: phasegate.dev/v1alpha1\nkind: Migration\nmetadata: {{name: homelab}}\nspec:\n  \
         defaults: {{every: 500ms, timeout: 450ms, maxAge: 5s}}\n  targets: {{loki: {{loki: {{url: \"{}\"}}}}}}\n  phases:\n  \
         - {{name: alloy, gate: {{soak: 1s, minSamples: 1, unknownBudget: 1s}}, probes: [{{name: old, check: {{lokiReady: {{loki: loki}}}}}}]}}\n  \
         - {{name: loki, probes: [{{name: new, check: {{lokiReady: {{loki: loki}}}}}}]}}\n",
        loki.url()
    )
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The fenced blocks of this language, in their order.
fn blocks(readme: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    readme.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// A folder in which the README's commands find what they name.
struct Desk {
    world: World,
    path: String,
    server: String,
}

impl Desk {
    fn new() -> Self {
        let world = World::new().unwrap();
        let built = binary("probe").unwrap();
        let shims = world.dir().join("shims");
        let scripts = world.dir().join("tests");
        for folder in [&shims, &scripts] {
            fs::create_dir(folder).unwrap();
        }
        let script = |file: &Path, text: String| {
            fs::write(file, format!("#!/bin/sh\n{text}\n")).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(file, mode).unwrap();
        };
        // What is built is what is tested; the two long ones are steps of `tests/run` themselves, so here their flags count.
        script(&shims.join("cargo"), "[ \"$*\" = 'build --release' ]".to_owned());
        script(&scripts.join("rehearse"), format!("exec {} \"$@\" --help", binary("rehearse").unwrap().display()));
        script(&scripts.join("run"), format!("exec {} \"$@\" --help", root().join("tests/run").display()));
        let path = format!("{}:{}:{}", shims.display(), built.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let server = format!("127.0.0.1:{}", world.port().unwrap());
        Self { world, path, server }
    }

    fn bash(&self, script: &str) -> Spec {
        let script = script.replace("verifier:9470", &self.server);
        Spec::new("bash", "bash")
            .args(["-c", &format!("cd '{}'\n{script}", self.world.dir().display())])
            .env("PATH", self.path.as_str())
            .env("PHASEGATE_SERVER", format!("http://{}", self.server))
    }

    /// Runs a block line by line, and says the exit code of each.
    async fn run(&self, block: &str) -> (Vec<i32>, Output) {
        let coded = block.lines().map(|line| format!("{line}\necho $? >> codes\n")).collect::<Vec<_>>().concat();
        let output = self.world.run(self.bash(&format!("rm -f codes\n{coded}")), PATIENCE).await.unwrap();
        let codes = fs::read_to_string(self.world.dir().join("codes")).unwrap();
        (codes.lines().map(|code| code.parse().unwrap()).collect(), output)
    }

    async fn answers(&self, url: &str) {
        let look = async || Ok(self.world.http().get(url).send().await?.error_for_status()?);
        wait_until(PATIENCE, url, look).await.unwrap();
    }
}

#[tokio::test]
async fn every_command_of_the_readme_does_what_it_says() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = blocks(&readme, "sh");
    let [see, prepare, agent, look, migrate, steps, compare, ask, test] = blocks.as_slice() else {
        panic!("{} blocks of commands", blocks.len())
    };
    let desk = Desk::new();

    for block in [see, test, prepare] {
        let (codes, output) = desk.run(block).await;
        assert!(!codes.is_empty() && codes.iter().all(|code| *code == 0), "{block}{codes:?}{output:?}");
    }
    let (codes, output) = desk.run(compare).await;
    assert_eq!(codes, [2], "{output:?}");
    assert!(output.stderr.contains("environment variable PG_OLD: is not set"), "{output:?}");
    let file = desk.world.dir().join("migration.yaml");
    let example = fs::read_to_string(&file).unwrap();
    assert!(example.contains("name: postgres"), "the example has all four phases");
    assert!(fs::metadata(desk.world.dir().join("migration.schema.json")).unwrap().len() > 1000);

    let port = desk.world.port().unwrap();
    let agent = agent.replace("9471", &port.to_string());
    desk.world.start(desk.bash(&format!("exec {agent}"))).unwrap();
    desk.answers(&format!("http://127.0.0.1:{port}/v1/head")).await;

    let loki = StandinLoki::start().unwrap();
    fs::write(&file, edited(&loki)).unwrap();
    let (once, verifier) = look.split_once('\n').unwrap();
    let (codes, output) = desk.run(once).await;
    assert_eq!(codes, [0], "{output:?}");
    let verifier = format!("exec {} --web.listen-address {}", verifier.trim(), desk.server);
    desk.world.start(desk.bash(&verifier)).unwrap();
    desk.answers(&format!("http://{}/v1/gates/alloy/entry/check", desk.server)).await;

    let (codes, output) = desk.run(migrate).await;
    // `explain` speaks of phase loki, which has not switched: closed.
    assert_eq!(codes, [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], "{migrate}{output:?}");
    assert!(fs::read_to_string(desk.world.dir().join("checklist.md")).unwrap().contains("- [x] old (lokiReady): GREEN"));
    // The edited document has no steps; what each of these commands does with some is shown by `product::runs`.
    let (codes, output) = desk.run(steps).await;
    assert_eq!(codes, [0, 0, 1, 13, 13], "{steps}{output:?}");
    let (codes, output) = desk.run(ask).await;
    assert_eq!(codes, [0, 0, 0], "{ask}{output:?}");
    assert!(fs::read_to_string(desk.world.dir().join("gate.json")).unwrap().contains("\"verdict\":\"open\""));

    let pipelines = self::blocks(&readme, "yaml").concat();
    let run = pipelines.lines().find_map(|line| line.trim().strip_prefix("- run: ")).unwrap();
    let script = pipelines.lines().find_map(|line| line.trim().strip_prefix("script: [\"")?.strip_suffix("\"]")).unwrap();
    let (codes, output) = desk.run(&format!("{run}\n{script}\n")).await;
    assert_eq!(codes, [0, 0], "{output:?}");
    assert!(fs::read_to_string(desk.world.dir().join("gate.xml")).unwrap().contains("<testsuite"));
}
