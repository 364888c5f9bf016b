//! What a token may see. Grafana leaves out of its lists what the asker may not see and answers 200 all the same, so a list proves
//! something only together with the permission to see all of it.

use std::collections::BTreeMap;

use crate::net::Budget;
use crate::outcome::Outcome;

use super::api::{Api, PERMISSION_MISSING};

/// A permission to see all of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    /// Like `dashboards:read`.
    pub(crate) action: &'static str,
    /// Scopes of which each means all of it. Some actions have none.
    pub(crate) scopes: &'static [&'static str],
    /// The least basic role that has it.
    pub(crate) role: &'static str,
}

/// All dashboards.
pub(crate) const DASHBOARDS: Need = Need { action: "dashboards:read", scopes: &["dashboards:*", "folders:*"], role: "Admin" };
/// All datasources, without their secrets.
pub(crate) const DATASOURCES: Need = Need { action: "datasources:read", scopes: &["datasources:*"], role: "Viewer" };

/// The permissions of a token.
#[derive(Debug)]
pub(crate) struct Access(BTreeMap<String, Vec<String>>);

impl Access {
    /// Asks Grafana itself; every version from 9 on can say it.
    pub(crate) async fn of(api: &Api<'_>, budget: Budget) -> Result<Self, Outcome> {
        let found = api.find(&["api", "access-control", "user", "permissions"], &[], budget).await?;
        let older = "GET /api/access-control/user/permissions: 404, so it can not be told what the token sees; Grafana 9 and later say it";
        found.map(Self).ok_or_else(|| PERMISSION_MISSING.because(older))
    }

    /// Whether the token sees all of it; if not, what is to be granted for which call.
    pub(crate) fn covers(&self, need: Need, call: &str) -> Result<(), Outcome> {
        let Need { action, scopes, role } = need;
        let held = self.0.get(action);
        let all = |scope: &String| scope == "*" || scopes.contains(&scope.as_str());
        if held.is_some_and(|held| scopes.is_empty() || held.iter().any(all)) {
            return Ok(());
        }
        let on = scopes.first().map(|scope| format!(" on {scope}")).unwrap_or_default();
        let has = match held {
            None => "the token has none of it".to_owned(),
            Some(held) => format!("the token has it on {} scopes of single things", held.len()),
        };
        Err(PERMISSION_MISSING.because(format!("{call} needs {action}{on}, as the role {role} has; {has}")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn access(held: serde_json::Value) -> Access {
        Access(serde_json::from_value(held).unwrap())
    }

    #[test]
    fn only_a_scope_that_means_all_of_it_is_enough() {
        for (held, enough) in [
            (json!({"dashboards:read": ["dashboards:uid:a", "folders:*"]}), true),
            (json!({"dashboards:read": ["dashboards:*"]}), true),
            (json!({"dashboards:read": ["*"]}), true),
            (json!({"dashboards:read": ["dashboards:uid:a", "folders:uid:general"]}), false),
            (json!({"dashboards:read": []}), false),
            (json!({"dashboards:write": ["dashboards:*"]}), false),
            (json!({}), false),
        ] {
            assert_eq!(access(held.clone()).covers(DASHBOARDS, "GET /api/search").is_ok(), enough, "{held}");
        }
    }

    #[test]
    fn the_evidence_says_what_to_grant_for_which_call() {
        let denied = access(json!({"dashboards:read": ["dashboards:uid:a"]})).covers(DASHBOARDS, "GET /api/search").unwrap_err();
        assert_eq!(denied.reason(), Some(&PERMISSION_MISSING.into()));
        assert_eq!(
            denied.evidence().as_str(),
            "GET /api/search needs dashboards:read on dashboards:*, as the role Admin has; the token has it on 1 scopes of single things"
        );
    }
}
