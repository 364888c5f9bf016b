//! Where a migration is marked.

use std::borrow::Cow;
use std::marker::PhantomData;

use checks::SecretRef;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// A Grafana in which a migration is marked, by organisation annotations.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct Annotation {
    /// Name of the target, of kind `grafana`.
    pub(in crate::config) grafana: String,
    /// Token of a service account of the role Editor, by reference. It is not the target's own, for which Viewer is enough.
    #[schemars(required)]
    pub(in crate::config) token: Option<SecretRef>,
    /// Tags that each annotation carries besides its own (`phasegate`, `migration:NAME`, `phase:NAME`, what happened, and one for
    /// each event); at most 200 characters in all.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub(in crate::config) tags: Option<Vec<String>>,
}

/// One, or a list of them. For the schema only.
pub(in crate::config) struct OneOrMore<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for OneOrMore<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMore{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}
