//! `cutover version` and `cutover completion`.

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::{Value, json};

use super::render::{Case, Show};
use super::{Answer, Cli, Context};
use crate::api::types::StatusBody;
use crate::exit::Exit;
use crate::gate::Verdict;

struct Versions {
    cutover: &'static str,
    verifier: Option<String>,
}

impl Show for Versions {
    fn body(&self) -> Value {
        json!({"cutover": self.cutover, "verifier": self.verifier})
    }

    fn lines(&self, _: bool) -> Vec<String> {
        let verifier = self.verifier.as_ref().map(|version| format!("verifier {version}"));
        [format!("cutover {}", self.cutover)].into_iter().chain(verifier).collect()
    }

    fn names(&self) -> Vec<String> {
        vec![self.cutover.to_owned()]
    }

    fn cases(&self) -> (String, Vec<Case>) {
        (
            "version".to_owned(),
            vec![Case { name: "version".to_owned(), grade: Verdict::Open, text: self.lines(false).join(", ") }],
        )
    }
}

/// Says both versions; the verifier's only if it answers.
pub(crate) async fn version(cx: &mut Context<'_, '_>) -> Answer {
    let asked = cx.client.get::<StatusBody>(&["status"]).await;
    let verifier = match asked {
        Ok(status) => Some(status.version),
        Err(trouble) => {
            cx.io.say(format!("verifier: {}", trouble.message));
            None
        }
    };
    cx.io.show(&Versions { cutover: env!("CARGO_PKG_VERSION"), verifier });
    Ok(Exit::OPEN)
}

/// Prints a shell's completion script.
pub(crate) fn completion(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cutover", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
