//! `endpoints`: a Service leads to enough Ready pods, and to the right ones.

use std::collections::BTreeSet;

use futures::future::{BoxFuture, join3};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::net::Budget;
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};

use super::kinds::endpoints::{Endpoint, Slices};
use super::kinds::{Pod, Pods};
use super::nodes::{self, Life};
use super::rule::{Reach, Rule};
use super::watch::{Scope, Sight};
use super::{NODES, SIGHT, bad_name};

/// Fewer than there should be.
const TOO_FEW_ENDPOINTS: ReasonSpec = ReasonSpec::fail(
    "too_few_endpoints",
    "see why the Service has fewer Ready addresses than `min`: its selector, and whether its pods are Ready; or correct its name",
);
/// It leads elsewhere.
const OTHER_PODS: ReasonSpec = ReasonSpec::fail(
    "other_pods",
    "correct the Service's selector, or `pods` in the document: it leads to addresses that are none of these pods",
);

/// A Service has at least `min` Ready addresses (1 by default), each of them a Ready pod on a node that lives, and each one of the
/// pods that the selector `pods` names.
///
/// It is a check of its own, since a Service's selector is none of the workload's business: it may lead to no pod, or to another
/// workload's. That packets get there is what `http` and `tcp` are for.
///
/// Fail: too few addresses, an address that is none of the pods, a node whose Lease stands still while others move. Waiting: a
/// node's Lease has not been seen renewed yet. Unknown: no cluster, the API server is silent or unreadable, a rule is missing, no
/// Lease moves at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoints {
    /// Its namespace.
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
    /// Selector by labels of the pods that it must lead to, like `app.kubernetes.io/name=loki`.
    pub pods: String,
    /// The least number of Ready addresses.
    #[serde(default = "one")]
    pub min: u32,
}

fn one() -> u32 {
    1
}

struct Seen {
    slices: Sight<Vec<Endpoint>>,
    pods: Sight<Pod>,
    life: Life,
}

impl Endpoints {
    async fn look(&self, cx: &Context, budget: Budget) -> Result<Seen, Outcome> {
        let (cluster, within) = (&cx.clients.cluster, || Scope::within(&self.namespace));
        let slices = within().labelled(&format!("kubernetes.io/service-name={}", self.service));
        let slices = cluster.see::<Slices>(cx, slices, budget);
        let pods = cluster.see::<Pods>(cx, within().labelled(&self.pods), budget);
        let (slices, pods, life) = join3(slices, pods, Life::see(cx, budget)).await;
        Ok(Seen { slices: slices?, pods: pods?, life: life? })
    }

    /// The outcome, and how many addresses count.
    fn judge(&self, seen: &Seen, min: u32) -> (Outcome, u32) {
        let ready: Vec<&Endpoint> = seen.slices.values().flat_map(|slice| slice.iter()).filter(|one| one.ready).collect();
        let (mut good, mut old, mut strangers) = (BTreeSet::new(), Vec::new(), Vec::new());
        for endpoint in ready {
            let pod = endpoint.pod.as_ref().and_then(|name| Some((name, seen.pods.get(name)?)));
            match pod {
                None => strangers.push(format!("{} ({})", endpoint.address, endpoint.pod.as_deref().unwrap_or("no pod"))),
                Some((name, pod)) if pod.ready && !pod.identity.deleted => {
                    match seen.life.of(pod.node.as_deref().unwrap_or_default()) {
                        Ok(()) => drop(good.insert(name.clone())),
                        Err(outcome) => old.push(outcome.of(name)),
                    }
                }
                // Not Ready any more, or on its way out: its slice will follow.
                Some(_) => {}
            }
        }
        let (name, count) = (&self.service, u32::try_from(good.len()).unwrap_or(u32::MAX));
        let led: Vec<&str> = good.iter().take(5).map(String::as_str).collect();
        let led = if led.is_empty() { String::new() } else { format!("; {}", led.join(", ")) };
        let words = format!("{name}: {count} Ready addresses of Ready pods, {min} wanted{led}");
        let outcome = if !strangers.is_empty() {
            strangers.truncate(5);
            OTHER_PODS.because(format!("{name} leads to {}", strangers.join(", ")))
        } else if count >= min {
            Outcome::pass(words)
        } else {
            let worst = old.into_iter().max_by_key(Outcome::rank);
            worst.unwrap_or_else(|| TOO_FEW_ENDPOINTS.because(words))
        };
        (outcome, count)
    }
}

impl Check for Endpoints {
    const META: Meta = Meta {
        kind: "endpoints",
        nature: Nature::Continuous,
        reasons: &[SIGHT, NODES, &[TOO_FEW_ENDPOINTS, OTHER_PODS]],
        control: TOO_FEW_ENDPOINTS,
        measures: &["ready_endpoints"],
        waivable: true,
        rules: &[
            Rule::watch("discovery.k8s.io", &["endpointslices"], Reach::Namespace),
            Rule::watch("", &["pods"], Reach::Namespace),
            nodes::RULE,
        ],
    };
    type Memory = ();

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong = |field, message: String, hint: &str| errors.push(FieldError { field, message, hint: hint.into() });
        for (field, name) in [("namespace", &self.namespace), ("service", &self.service)] {
            if let Some(message) = bad_name(name) {
                wrong(field, message, "write it as `kubectl get` shows it");
            }
        }
        if self.pods.trim().is_empty() {
            wrong("pods", "no selector".into(), "name the pods' labels, like app.kubernetes.io/name=loki");
        }
        if self.min == 0 {
            wrong("min", "none is always there".into(), "ask for 1 at least");
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Report<()>> {
        Box::pin(async move {
            match self.look(cx, Budget::start(cx.timeout)).await {
                Ok(seen) => {
                    let (outcome, count) = self.judge(&seen, self.min);
                    let measure = Measure { part: PartId::new(PartId::WHOLE), name: "ready_endpoints", value: f64::from(count) };
                    Report { measures: vec![measure], ..Report::new(Step::whole(outcome), ()) }
                }
                Err(outcome) => Report::new(Step::whole(outcome), ()),
            }
        })
    }

    /// Asks for one address more than there are.
    fn control<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            match self.look(cx, Budget::start(cx.timeout)).await {
                Ok(seen) => {
                    let (_, count) = self.judge(&seen, self.min);
                    self.judge(&seen, count.saturating_add(1)).0
                }
                Err(outcome) => outcome,
            }
        })
    }
}

#[cfg(test)]
mod tests;
