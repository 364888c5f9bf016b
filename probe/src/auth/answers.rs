//! What the API server's answers say, as far as they may be believed: nobody is known or allowed but by an explicit yes.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};

use super::Role;

/// The longest name of a user that is written into the audit trail, in bytes.
const MAX_NAME: usize = 512;
/// Nobody is in more groups than this.
const MAX_GROUPS: usize = 1000;

/// Somebody whom Kubernetes vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    name: String,
    uid: Option<String>,
    groups: Vec<String>,
    extra: Option<BTreeMap<String, Vec<String>>>,
}

/// What a review of a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Vouched {
    /// It belongs to this user.
    For(User),
    /// It belongs to nobody, or is not meant for this audience.
    ForNobody,
    /// It is vouched for in a way that can not be used: why.
    Unusable(String),
}

/// Asks whose token this is. Without an audience: that of the API server itself.
pub(super) fn review(token: &str, audience: Option<&str>) -> TokenReview {
    let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: audience.map(|name| vec![name.to_owned()]) };
    TokenReview { spec, ..TokenReview::default() }
}

/// Whose token it is.
pub(super) fn vouched(review: TokenReview, audience: Option<&str>) -> Vouched {
    let Some(status) = review.status else { return Vouched::Unusable("its answer has no status".to_owned()) };
    if status.authenticated != Some(true) {
        return Vouched::ForNobody;
    }
    if let Some(error) = status.error.filter(|error| !error.is_empty()) {
        return Vouched::Unusable(format!("it vouches and errs at once: {}", line(&error)));
    }
    // A server that knows no audiences vouches for tokens that were made for somebody else.
    let audiences = status.audiences.unwrap_or_default();
    if audience.is_some_and(|audience| !audiences.iter().any(|one| one == audience)) {
        return Vouched::ForNobody;
    }
    match status.user.map(user) {
        Some(Ok(user)) => Vouched::For(user),
        Some(Err(why)) => Vouched::Unusable(why),
        None => Vouched::Unusable("it does not say for whom".to_owned()),
    }
}

fn user(info: UserInfo) -> Result<User, String> {
    let name = info.username.unwrap_or_default();
    let groups = info.groups.unwrap_or_default();
    if name.trim().is_empty() {
        return Err("it does not say for whom".to_owned());
    }
    if name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(format!("the user's name has more than {MAX_NAME} bytes, or control characters"));
    }
    if groups.len() > MAX_GROUPS {
        return Err(format!("the user is in {} groups, which are more than {MAX_GROUPS}", groups.len()));
    }
    Ok(User { name, uid: info.uid.filter(|uid| !uid.is_empty()), groups, extra: info.extra })
}

/// The text in one line of bounded length.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

impl User {
    /// The name in Kubernetes.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The name in the audit trail. No name of the token file has a colon, so none of them can be taken for this one.
    pub(super) fn actor(&self) -> String {
        format!("kubernetes:{}", self.name)
    }

    /// Asks whether this user may do with the Migration what takes this role.
    pub(super) fn ask(&self, role: Role, (namespace, migration): (&str, &str)) -> SubjectAccessReview {
        let attributes = ResourceAttributes {
            group: Some("phasegate.dev".to_owned()),
            resource: Some("migrations".to_owned()),
            name: Some(migration.to_owned()),
            namespace: Some(namespace.to_owned()),
            verb: Some(role.as_str().to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(self.name.clone()),
            uid: self.uid.clone(),
            groups: Some(self.groups.clone()),
            extra: self.extra.clone(),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        SubjectAccessReview { spec, ..SubjectAccessReview::default() }
    }
}

/// Whether the answer is yes, and nothing in it says no.
pub(super) fn allowed(status: Option<&SubjectAccessReviewStatus>) -> bool {
    status.is_some_and(|status| status.allowed && status.denied != Some(true))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answer(status: Value) -> TokenReview {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {}, "status": status});
        serde_json::from_value(review).unwrap()
    }

    #[test]
    fn only_an_explicit_yes_about_somebody_vouches() {
        let anna = json!({"username": "anna@example", "uid": "7", "groups": ["ops"], "extra": {"a": ["b"]}});
        let unusable = |vouched: Vouched| matches!(vouched, Vouched::Unusable(_));
        let many: Vec<_> = (0..=MAX_GROUPS).map(|number| number.to_string()).collect();
        for (status, audience, expected) in [
            (json!({"authenticated": true, "user": anna}), None, "anna"),
            (json!({"authenticated": true, "user": anna, "audiences": ["phasegate"]}), Some("phasegate"), "anna"),
            (json!({"authenticated": true, "user": anna}), Some("phasegate"), "nobody"),
            (json!({"authenticated": true, "user": anna, "audiences": ["vault"]}), Some("phasegate"), "nobody"),
            (json!({"authenticated": false, "user": anna}), None, "nobody"),
            (json!({"user": anna}), None, "nobody"),
            (json!({}), None, "nobody"),
            (json!({"authenticated": false, "error": "expired"}), None, "nobody"),
            (json!({"authenticated": true, "error": "no", "user": anna}), None, "unusable"),
            (json!({"authenticated": true}), None, "unusable"),
            (json!({"authenticated": true, "user": {}}), None, "unusable"),
            (json!({"authenticated": true, "user": {"username": " "}}), None, "unusable"),
            (json!({"authenticated": true, "user": {"username": "a\u{1b}[2J"}}), None, "unusable"),
            (json!({"authenticated": true, "user": {"username": "a".repeat(513)}}), None, "unusable"),
            (json!({"authenticated": true, "user": {"username": "a", "groups": many}}), None, "unusable"),
        ] {
            let vouched = vouched(answer(status.clone()), audience);
            let right = match expected {
                "anna" => matches!(&vouched, Vouched::For(user) if user.actor() == "kubernetes:anna@example"),
                "nobody" => vouched == Vouched::ForNobody,
                _ => unusable(vouched.clone()),
            };
            assert!(right, "{status} for {audience:?}: {vouched:?}");
        }
        assert!(unusable(vouched(TokenReview::default(), None)));
    }

    #[test]
    fn the_question_is_about_the_user_as_a_whole_and_this_migration_alone() {
        let anna = json!({"username": "anna", "uid": "7", "groups": ["ops"], "extra": {"a": ["b"]}});
        let Vouched::For(anna) = vouched(answer(json!({"authenticated": true, "user": anna})), None) else { panic!() };
        let asked = serde_json::to_value(anna.ask(Role::Operate, ("phasegate", "homelab"))).unwrap();
        let about = json!({
            "group": "phasegate.dev", "resource": "migrations", "name": "homelab", "namespace": "phasegate", "verb": "operate",
        });
        let expected = json!({"user": "anna", "uid": "7", "groups": ["ops"], "extra": {"a": ["b"]}, "resourceAttributes": about});
        assert_eq!(asked["spec"], expected);
        let asked = serde_json::to_value(review("secret", Some("phasegate"))).unwrap();
        assert_eq!(asked["spec"], json!({"token": "secret", "audiences": ["phasegate"]}));
        assert_eq!(serde_json::to_value(review("secret", None)).unwrap()["spec"], json!({"token": "secret"}));
    }

    #[test]
    fn what_is_not_allowed_explicitly_is_not_allowed() {
        let status = |value: Value| serde_json::from_value::<SubjectAccessReviewStatus>(value).unwrap();
        for (said, allows) in [
            (json!({"allowed": true}), true),
            (json!({"allowed": true, "reason": "RBAC: allowed"}), true),
            (json!({"allowed": true, "denied": true}), false),
            (json!({"allowed": false}), false),
            (json!({}), false),
        ] {
            assert_eq!(allowed(Some(&status(said.clone()))), allows, "{said}");
        }
        assert!(!allowed(None));
    }
}
