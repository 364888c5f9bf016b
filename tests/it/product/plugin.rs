//! `kubectl cutover`: the command as kubectl's plugin, under the real kubectl.

use std::os::unix::fs::symlink;

use tests::{Output, Role, Spec, Verifier, World, binary};

use super::{AT_ONCE, PATIENCE, QUICK, Script, migration, opened, reaches};

struct Desk {
    world: World,
    verifier: Verifier,
    script: Script,
    path: String,
}

impl Desk {
    async fn new() -> Self {
        let world = World::new().unwrap();
        let script = Script::new(&world, "a");
        let document = migration(QUICK, "{}", AT_ONCE, &[&script.probe()]);
        let verifier = Verifier::start_scripted(&world, &document).await.unwrap();
        let bin = world.dir().join("bin");
        std::fs::create_dir(&bin).unwrap();
        for name in ["kubectl-cutover", "kubectl_complete-cutover"] {
            symlink(binary("cutover").unwrap(), bin.join(name)).unwrap();
        }
        let path = format!("PATH={}:{}", bin.display(), std::env::var("PATH").unwrap());
        Self { world, verifier, script, path }
    }

    async fn kubectl(&self, args: &[&str]) -> Output {
        let spec = Spec::new("kubectl", "/usr/bin/env")
            .args([self.path.as_str()])
            .args(args.iter().copied())
            .env("PHASEGATE_SERVER", self.verifier.url())
            .env("PHASEGATE_TOKEN", self.verifier.token(Role::Operate));
        self.world.run(spec, PATIENCE).await.unwrap()
    }
}

#[tokio::test]
async fn kubectl_finds_it_and_passes_words_and_exit_codes_on() {
    let desk = Desk::new().await;
    let listed = desk.kubectl(&["kubectl", "plugin", "list"]).await;
    assert!(listed.stdout.contains("bin/kubectl-cutover\n"), "tests/run --only packages installs kubectl: {listed:?}");
    let version = desk.kubectl(&["kubectl", "cutover", "version", "-o", "json"]).await;
    assert!(version.code == 0 && version.stdout.contains("\"verifier\""), "{version:?}");

    opened(&desk.verifier).await;
    let check = ["kubectl", "cutover", "gate", "check", "move"];
    assert_eq!(desk.kubectl(&check).await.code, 0);
    desk.script.says("fail");
    reaches(&desk.verifier, "closed").await;
    assert_eq!(desk.kubectl(&check).await.code, 1);
    let missing = desk.kubectl(&["kubectl", "cutover", "resume", "--yes"]).await;
    assert!(missing.code == 2 && missing.stderr.contains("hint: "), "{missing:?}");

    let help = desk.kubectl(&["kubectl", "cutover", "gate", "wait", "--help"]).await;
    assert!(help.stdout.contains("Usage: kubectl cutover gate wait"), "{help:?}");
    assert!(help.stdout.contains("\n  kubectl cutover gate wait "), "{help:?}");
    let wrong = desk.kubectl(&["kubectl", "cutover", "conquer"]).await;
    assert!(wrong.code == 2 && wrong.stderr.contains("Usage: kubectl cutover"), "{wrong:?}");
    let explained = desk.kubectl(&["kubectl", "cutover", "complete", "nowhere"]).await;
    assert_eq!(explained.code, 13, "{explained:?}");

    // As kubectl asks it: the words so far, the last of them unfinished.
    let completed = desk.kubectl(&["kubectl_complete-cutover", "gate", "w"]).await;
    assert_eq!(
        (completed.code, completed.stdout.as_str()),
        (0, "wait\tWait for a verdict; prints a line whenever something changes\n:4\n")
    );
}
