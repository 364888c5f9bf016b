//! What checks may ask Kubernetes, as `deploy/` grants it: all that they declare, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use checks::Reach;
use serde_json::{Value, json};

/// Where the examples move to.
const NAMESPACE: &str = "observability";
const FILE: &str = "deploy/components/cluster-checks/rights.yaml";

/// Resources, by their group and what may be done with them.
type Rules<'a> = BTreeMap<(&'a str, Vec<&'a str>), BTreeSet<&'a str>>;

/// A role and its binding for each place in which checks need something.
fn rights() -> Vec<Value> {
    let mut places: BTreeMap<Option<&str>, Rules<'_>> = BTreeMap::new();
    for rule in checks::registry().iter().flat_map(|entry| entry.meta.rules) {
        let place = match rule.scope {
            Reach::Namespace => Some(NAMESPACE),
            Reach::In(namespace) => Some(namespace),
            Reach::Cluster => None,
        };
        let rules = places.entry(place).or_default();
        rules.entry((rule.api_group, rule.verbs.to_vec())).or_default().extend(rule.resources);
    }
    let group = "rbac.authorization.k8s.io";
    let subject = json!({"kind": "ServiceAccount", "name": "phasegate-verifier", "namespace": "phasegate"});
    places
        .into_iter()
        .flat_map(|(namespace, rules)| {
            let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
            let mut metadata = json!({"name": "phasegate-checks", "labels": {"app.kubernetes.io/name": "phasegate-verifier"}});
            if let Some(namespace) = namespace {
                metadata["namespace"] = namespace.into();
            }
            let rules: Vec<_> = rules
                .into_iter()
                .map(|((group, verbs), resources)| json!({"apiGroups": [group], "resources": resources, "verbs": verbs}))
                .collect();
            let version = format!("{group}/v1");
            let role = json!({"apiVersion": version, "kind": kind, "metadata": metadata, "rules": rules});
            let named = json!({"apiGroup": group, "kind": kind, "name": "phasegate-checks"});
            let kind = format!("{kind}Binding");
            [role, json!({"apiVersion": version, "kind": kind, "metadata": metadata, "roleRef": named, "subjects": [subject]})]
        })
        .collect()
}

#[test]
fn the_rights_of_checks_are_those_that_they_declare() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(FILE);
    let documents: Vec<_> = rights().iter().map(|one| serde_saphyr::to_string(one).unwrap()).collect();
    let current = format!("# Generated: UPDATE=1 cargo test -p tests --test it -- rights::\n{}", documents.join("---\n"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, current, "run this test again with UPDATE=1, and commit {FILE}");
}
