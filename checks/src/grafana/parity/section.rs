//! What is compared, and what a token must be allowed for its lists to be whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

use super::super::access::{Access, DASHBOARDS, DATASOURCES, Need};

/// The part that says where dashboards lead to; it is looked at together with them.
pub(super) const REFERENCES: &str = "references";

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Section {
    /// Dashboards, and the datasources that they refer to. Known by their uid.
    Dashboards,
    /// Folders with their permissions. Known by their uid.
    Folders,
    /// Teams with their members. Known by their name.
    Teams,
    /// Users of the organization with their roles. Known by their login.
    Users,
    /// Service accounts. Known by their login, without `sa-` and the number of the organization.
    ServiceAccounts,
    /// Plugins that do not come with Grafana. Known by their id.
    Plugins,
    /// Datasources, without their secrets. Known by their uid.
    Datasources,
    /// Alert rules of Grafana's own. Known by their uid.
    AlertRules,
    /// Contact points, without their settings, and notification policies. Known by `name (type)`.
    ContactPoints,
    /// How many annotations there are.
    Annotations,
}

const FOLDERS: Need = Need { action: "folders:read", scopes: &["folders:*"], role: "Admin" };
const FOLDER_PERMISSIONS: Need = Need { action: "folders.permissions:read", scopes: &["folders:*"], role: "Admin" };
const TEAMS: Need = Need { action: "teams:read", scopes: &["teams:*"], role: "Admin" };
const MEMBERS: Need = Need { action: "teams.permissions:read", scopes: &["teams:*"], role: "Admin" };
const USERS: Need = Need { action: "org.users:read", scopes: &["users:*"], role: "Admin" };
const SERVICE_ACCOUNTS: Need = Need { action: "serviceaccounts:read", scopes: &["serviceaccounts:*"], role: "Admin" };
/// Grafana shows a plugin that was installed only to those who may change its settings.
const PLUGINS: Need = Need { action: "plugins:write", scopes: &["plugins:*"], role: "Admin" };
const ALERTING: Need = Need { action: "alert.provisioning:read", scopes: &[], role: "Admin" };
const ANNOTATIONS: Need = Need { action: "annotations:read", scopes: &["annotations:*", "annotations:type:*"], role: "Admin" };
/// Later versions say it in two parts.
const OF_THE_ORGANIZATION: Need = Need { action: "annotations:read", scopes: &["annotations:type:organization"], role: "Admin" };
const OF_DASHBOARDS: Need =
    Need { action: "annotations:read", scopes: &["dashboards:*", "folders:*", "annotations:type:dashboard"], role: "Admin" };

impl Section {
    /// In the order in which they are compared.
    pub(super) const ALL: &[Self] = &[
        Self::Dashboards,
        Self::Folders,
        Self::Teams,
        Self::Users,
        Self::ServiceAccounts,
        Self::Plugins,
        Self::Datasources,
        Self::AlertRules,
        Self::ContactPoints,
        Self::Annotations,
    ];

    /// Its part of the outcome.
    pub(super) const fn part(self) -> &'static str {
        match self {
            Self::Dashboards => "dashboards",
            Self::Folders => "folders",
            Self::Teams => "teams",
            Self::Users => "users",
            Self::ServiceAccounts => "serviceAccounts",
            Self::Plugins => "plugins",
            Self::Datasources => "datasources",
            Self::AlertRules => "alertRules",
            Self::ContactPoints => "contactPoints",
            Self::Annotations => "annotations",
        }
    }

    /// All parts that it stands for.
    pub(super) const fn parts(self) -> &'static [&'static str] {
        match self {
            Self::Dashboards => &["dashboards", REFERENCES],
            Self::Folders => &["folders"],
            Self::Teams => &["teams"],
            Self::Users => &["users"],
            Self::ServiceAccounts => &["serviceAccounts"],
            Self::Plugins => &["plugins"],
            Self::Datasources => &["datasources"],
            Self::AlertRules => &["alertRules"],
            Self::ContactPoints => &["contactPoints"],
            Self::Annotations => &["annotations"],
        }
    }

    /// What its things are called.
    pub(super) const fn things(self) -> &'static str {
        match self {
            Self::Dashboards => "dashboards",
            Self::Folders => "folders with their permissions",
            Self::Teams => "teams with their members",
            Self::Users => "users with their roles",
            Self::ServiceAccounts => "service accounts",
            Self::Plugins => "installed plugins",
            Self::Datasources => "datasources",
            Self::AlertRules => "alert rules",
            Self::ContactPoints => "contact points and notification policies",
            Self::Annotations => "annotations",
        }
    }

    /// Whether its things are asked for one by one.
    pub(super) const fn one_by_one(self) -> bool {
        matches!(self, Self::Dashboards | Self::Folders | Self::Teams)
    }

    /// Whether a token sees all of it; if not, what is to be granted.
    pub(super) fn seen_with(self, access: &Access) -> Result<(), Outcome> {
        let covers = |need, call| access.covers(need, call);
        match self {
            Self::Dashboards => covers(DASHBOARDS, "GET /api/search").and_then(|()| covers(DATASOURCES, "GET /api/datasources")),
            Self::Folders => {
                covers(FOLDERS, "GET /api/search").and_then(|()| covers(FOLDER_PERMISSIONS, "GET /api/folders/…/permissions"))
            }
            Self::Teams => covers(TEAMS, "GET /api/teams/search").and_then(|()| covers(MEMBERS, "GET /api/teams/…/members")),
            Self::Users => covers(USERS, "GET /api/org/users"),
            Self::ServiceAccounts => covers(SERVICE_ACCOUNTS, "GET /api/serviceaccounts/search"),
            Self::Plugins => covers(PLUGINS, "GET /api/plugins"),
            Self::Datasources => covers(DATASOURCES, "GET /api/datasources"),
            Self::AlertRules => covers(ALERTING, "GET /api/v1/provisioning/alert-rules"),
            Self::ContactPoints => covers(ALERTING, "GET /api/v1/provisioning/contact-points"),
            Self::Annotations => {
                let call = "GET /api/annotations";
                let in_parts = || covers(OF_THE_ORGANIZATION, call).and_then(|()| covers(OF_DASHBOARDS, call));
                covers(ANNOTATIONS, call).or_else(|denied| in_parts().map_err(|_| denied))
            }
        }
    }
}
