//! What is kept of a Service's endpoints.

use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::Kind;

/// `EndpointSlices`.
pub(crate) struct Slices;

/// One address of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: String,
    pub(crate) ready: bool,
    /// The pod behind it, if it is one.
    pub(crate) pod: Option<String>,
}

impl Kind for Slices {
    type Object = EndpointSlice;
    type Kept = Vec<Endpoint>;

    fn keep(object: EndpointSlice, _: Option<&Vec<Endpoint>>) -> Vec<Endpoint> {
        let endpoint = |endpoint: k8s_openapi::api::discovery::v1::Endpoint| {
            let pod = endpoint.target_ref.filter(|target| target.kind.as_deref() == Some("Pod")).and_then(|target| target.name);
            // Unset stands for ready, by the API's own word.
            let ready = endpoint.conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
            Endpoint { address: endpoint.addresses.into_iter().next().unwrap_or_default(), ready, pod }
        };
        object.endpoints.into_iter().map(endpoint).collect()
    }
}
