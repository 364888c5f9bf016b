//! What is compared, in the order in which it is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::outcome::ReasonSpec;

use super::{
    DIFFERS, EXTRA, MISSING, PRIVILEGE_DIFFERS, PRIVILEGE_MISSING, ROLE_DIFFERS, ROLE_MISSING, SETTING_DIFFERS, SETTING_MISSING,
};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// Roles with all they may do, and who is a member of which. Not their passwords.
    Roles,
    /// What `ALTER ROLE … SET` and `ALTER DATABASE … SET` have set.
    Settings,
    /// The database itself: encoding, locale, owner, connection limit.
    Database,
    /// Settings of the server that change what an application sees, like `TimeZone`.
    ServerSettings,
    /// Schemas and their owners.
    Schemas,
    /// Extensions and their versions.
    Extensions,
    /// Enumerations, domains, composite and range types.
    Types,
    /// Collations.
    Collations,
    /// Tables, partitions, views, sequences: owner, persistence, options, row security.
    Relations,
    /// Columns: type, default, identity, what they are generated from.
    Columns,
    /// Constraints, and whether they were validated.
    Constraints,
    /// Indexes, and whether they are valid.
    Indexes,
    /// How sequences count. Not how far they have counted.
    Sequences,
    /// What views select.
    Views,
    /// Functions, procedures and aggregates.
    Functions,
    /// Triggers, also those of events, and whether they fire.
    Triggers,
    /// Rules.
    Rules,
    /// Policies of row security.
    Policies,
    /// Who may do what with all of these.
    Privileges,
    /// What is granted on things that are made later.
    DefaultPrivileges,
    /// Operators, casts, operator classes, conversions, languages.
    Operators,
    /// Configurations and dictionaries of text search.
    TextSearch,
    /// Extended statistics.
    Statistics,
    /// Foreign servers and tables. Of their options only whether they are the same, of user mappings only that they are there.
    Foreign,
    /// Publications and subscriptions.
    Publications,
    /// How many large objects each role owns.
    LargeObjects,
    /// Comments.
    Comments,
}

impl Part {
    /// All of them.
    pub(super) const ALL: [Self; 27] = [
        Self::Roles,
        Self::Settings,
        Self::Database,
        Self::ServerSettings,
        Self::Schemas,
        Self::Extensions,
        Self::Types,
        Self::Collations,
        Self::Relations,
        Self::Columns,
        Self::Constraints,
        Self::Indexes,
        Self::Sequences,
        Self::Views,
        Self::Functions,
        Self::Triggers,
        Self::Rules,
        Self::Policies,
        Self::Privileges,
        Self::DefaultPrivileges,
        Self::Operators,
        Self::TextSearch,
        Self::Statistics,
        Self::Foreign,
        Self::Publications,
        Self::LargeObjects,
        Self::Comments,
    ];

    /// Its name among the parts of the outcome, and what its things are called.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Roles => ("roles", "roles and memberships"),
            Self::Settings => ("settings", "settings of roles and of the database"),
            Self::Database => ("database", "properties of the database"),
            Self::ServerSettings => ("serverSettings", "settings of the server"),
            Self::Schemas => ("schemas", "schemas"),
            Self::Extensions => ("extensions", "extensions"),
            Self::Types => ("types", "types and domains"),
            Self::Collations => ("collations", "collations"),
            Self::Relations => ("relations", "tables, views and sequences"),
            Self::Columns => ("columns", "columns"),
            Self::Constraints => ("constraints", "constraints"),
            Self::Indexes => ("indexes", "indexes"),
            Self::Sequences => ("sequences", "sequences"),
            Self::Views => ("views", "views"),
            Self::Functions => ("functions", "functions, procedures and aggregates"),
            Self::Triggers => ("triggers", "triggers"),
            Self::Rules => ("rules", "rules"),
            Self::Policies => ("policies", "policies"),
            Self::Privileges => ("privileges", "lists of privileges"),
            Self::DefaultPrivileges => ("defaultPrivileges", "default privileges"),
            Self::Operators => ("operators", "operators, casts and languages"),
            Self::TextSearch => ("textSearch", "objects of text search"),
            Self::Statistics => ("statistics", "statistics objects"),
            Self::Foreign => ("foreign", "foreign servers and tables"),
            Self::Publications => ("publications", "publications and subscriptions"),
            Self::LargeObjects => ("largeObjects", "owners of large objects"),
            Self::Comments => ("comments", "comments"),
        }
    }

    /// Its part of the outcome.
    pub(super) const fn name(self) -> &'static str {
        self.words().0
    }

    /// What its things are called.
    pub(super) const fn things(self) -> &'static str {
        self.words().1
    }

    /// What it is when things are missing, differ, or are too much: the way back depends on how they travel.
    pub(super) const fn reasons(self) -> [ReasonSpec; 3] {
        match self {
            Self::Roles => [ROLE_MISSING, ROLE_DIFFERS, EXTRA],
            Self::Settings | Self::Database | Self::ServerSettings => [SETTING_MISSING, SETTING_DIFFERS, EXTRA],
            Self::Privileges | Self::DefaultPrivileges => [PRIVILEGE_MISSING, PRIVILEGE_DIFFERS, EXTRA],
            Self::Schemas
            | Self::Extensions
            | Self::Types
            | Self::Collations
            | Self::Relations
            | Self::Columns
            | Self::Constraints
            | Self::Indexes
            | Self::Sequences
            | Self::Views
            | Self::Functions
            | Self::Triggers
            | Self::Rules
            | Self::Policies
            | Self::Operators
            | Self::TextSearch
            | Self::Statistics
            | Self::Foreign
            | Self::Publications
            | Self::LargeObjects
            | Self::Comments => [MISSING, DIFFERS, EXTRA],
        }
    }
}
