//! What the token allows, and who else can read it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Finding;
use crate::api::types::TokenBody;
use crate::cutover::Context;
use crate::cutover::client::{bearer, printable};
use crate::cutover::cluster::Cluster;
use crate::cutover::trouble::Trouble;
use crate::exit::Exit;

/// A token that can be sent, or why there is none.
pub(crate) fn usable(found: Result<Option<String>, Trouble>) -> (Option<String>, Option<Trouble>) {
    let checked = found.and_then(|token| token.as_deref().map(bearer).transpose().map(|_| token));
    match checked {
        Ok(token) => (token, None),
        Err(trouble) => (None, Some(trouble)),
    }
}

/// Asks the verifier who we are.
pub(super) async fn look(cx: &Context<'_, '_>, denied: Option<Trouble>, answers: bool, findings: &mut Vec<Finding>) {
    if let Some(path) = &cx.token_file {
        findings.extend(readable(path));
    }
    if let Some(trouble) = denied {
        return findings.push(Finding::trouble("token", &trouble));
    }
    if cx.token.is_none() && cx.client.cluster().is_none() {
        return findings.push(Finding::problem(
            "token",
            Exit::AUTH,
            "there is none: looking needs none, everything that changes something does",
            "give it with --token-file FILE or in PHASEGATE_TOKEN",
        ));
    }
    if !answers {
        return;
    }
    let asked = cx.client.whoami().await;
    if let Some(whose) = cx.client.cluster().and_then(Cluster::whose) {
        findings.push(Finding::fine("token", format!("the verifier is asked as {whose}")));
    }
    findings.push(match asked {
        Ok(token) => allows(&token),
        Err(trouble) if trouble.exit == Exit::NOT_FOUND => Finding::warning(
            "token",
            "this verifier is too old to tell what the token allows",
            "install the version of this cutover there, too: `cutover version`",
        ),
        Err(trouble) => Finding::trouble("token", &trouble),
    });
}

/// Which verbs it allows.
fn allows(token: &TokenBody) -> Finding {
    let who = format!("the token is {}'s, with the role {}", token.name, token.role);
    let covers = |role: &str| token.covers.iter().any(|covered| covered == role);
    match (covers("operate"), covers("approve")) {
        (true, _) => Finding::fine("token", format!("{who}: every verb, but `cutover approve`")),
        (false, true) => Finding::warning(
            "token",
            format!("{who}: `cutover approve` and looking, no verb that moves a phase"),
            "give an operator's token with --token-file FILE, unless you only approve",
        ),
        (false, false) => Finding::problem(
            "token",
            Exit::AUTH,
            format!("{who}: it moves no phase"),
            "give an operator's token with --token-file FILE or in PHASEGATE_TOKEN",
        ),
    }
}

fn readable(path: &Path) -> Option<Finding> {
    let shown = printable(&path.display().to_string());
    // Of a file that can not be read, the token says so.
    let mode = fs::metadata(path).map_or(0, |meta| meta.permissions().mode()) & 0o777;
    (mode & 0o077 != 0)
        .then(|| Finding::warning("token", format!("{shown} is open to others (mode {mode:o})"), format!("chmod 600 {shown}")))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_token_file_is_for_its_owner_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, open) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true), (0o620, true)] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(readable(file.path()).is_some(), open, "{mode:o}");
        }
        assert_eq!(readable(Path::new("/nowhere")), None);
    }

    #[test]
    fn only_an_operator_can_run_something() {
        for (role, covers, level) in [
            ("operate", &["read", "heartbeat", "operate"][..], Level::Fine),
            ("approve", &["read", "approve"], Level::Warning),
            ("heartbeat", &["read", "heartbeat"], Level::Problem(Exit::AUTH)),
            ("read", &["read"], Level::Problem(Exit::AUTH)),
            ("of_another_version", &[], Level::Problem(Exit::AUTH)),
        ] {
            let covers = covers.iter().map(|role| (*role).to_owned()).collect();
            let finding = allows(&TokenBody { name: "ann".to_owned(), role: role.to_owned(), covers });
            assert_eq!(finding.level, level, "{role}: {}", finding.text);
        }
    }

    #[test]
    fn a_whole_token_file_is_no_token() {
        let (token, denied) = usable(Ok(Some("ann operate an-operators-long-token".to_owned())));
        assert!(token.is_none() && denied.is_some_and(|trouble| !trouble.message.contains("long-token")));
        assert_eq!(usable(Ok(Some("an-operators-long-token".to_owned()))).1, None);
    }
}
