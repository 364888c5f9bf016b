//! What is missing to somebody whom Kubernetes knows, in words that can be typed.

use super::Role;

/// Longest name that is made up for a binding.
const MAX_BINDING: usize = 50;

/// Somebody whom Kubernetes knows may not do this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The user's name in Kubernetes.
    pub user: String,
    /// The role that it takes.
    pub needs: Role,
    /// The verifier's namespace.
    pub namespace: String,
    /// The Migration.
    pub migration: String,
}

impl Missing {
    /// Who may not do what.
    pub fn message(&self) -> String {
        let Self { user, needs, namespace, migration } = self;
        format!("Kubernetes does not allow {user} to {} the migration {migration} in namespace {namespace}", needs.as_str())
    }

    /// The command that gives it, and the rule, where less is to be given.
    pub fn hint(&self) -> String {
        let Self { user, needs, namespace, migration } = self;
        let account = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
        let (subject, name) = match account {
            Some((of, name)) => (format!("--serviceaccount={}", word(&format!("{of}:{name}"))), name),
            None => (format!("--user={}", word(user)), user.as_str()),
        };
        let (bearer, verb) = (needs.bearer(), needs.as_str());
        format!(
            "`kubectl create rolebinding {} -n {namespace} --clusterrole=phasegate-{bearer} {subject}`; for this migration alone: \
             a Role with {{apiGroups: [phasegate.dev], resources: [migrations], resourceNames: [{migration}], verbs: [{verb}]}}",
            binding(name, bearer),
        )
    }
}

/// A name for the binding.
fn binding(name: &str, bearer: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let plain: String = name.chars().map(plain).take(MAX_BINDING).collect();
    match plain.trim_matches('-') {
        "" => format!("phasegate-{bearer}"),
        plain => format!("{plain}-phasegate-{bearer}"),
    }
}

/// A word for a shell.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:@/".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_can_be_typed() {
        for (user, needs, command) in [
            (
                "system:serviceaccount:ci:runner",
                Role::Operate,
                "kubectl create rolebinding runner-phasegate-operator -n phasegate --clusterrole=phasegate-operator --serviceaccount=ci:runner",
            ),
            (
                "anna@example",
                Role::Approve,
                "kubectl create rolebinding anna-example-phasegate-approver -n phasegate --clusterrole=phasegate-approver --user=anna@example",
            ),
            (
                "it's $(me)",
                Role::Heartbeat,
                r"kubectl create rolebinding it-s---me-phasegate-heartbeat -n phasegate --clusterrole=phasegate-heartbeat --user='it'\''s $(me)'",
            ),
        ] {
            let migration = "homelab".to_owned();
            let missing = Missing { user: user.to_owned(), needs, namespace: "phasegate".to_owned(), migration };
            let hint = missing.hint();
            assert!(hint.starts_with(&format!("`{command}`")), "{hint}");
            assert!(hint.ends_with(&format!("resourceNames: [homelab], verbs: [{}]}}", needs.as_str())), "{hint}");
            assert!(missing.message().contains(user) && missing.message().contains("namespace phasegate"));
        }
    }
}
