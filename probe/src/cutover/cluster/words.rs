//! What the API server says in place of the verifier, and what to do about it.

use serde::Deserialize;

use super::SERVICE;
use crate::cutover::client::printable;
use crate::cutover::trouble::Trouble;
use crate::exit::Exit;

/// Which verifier, and how it was found.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Address of the API server.
    pub(super) api: String,
    /// What leads there.
    pub(super) by: String,
    /// Namespace of the verifier.
    pub(super) namespace: String,
    /// Context of the kubeconfig, if it is one.
    pub(super) context: Option<String>,
}

/// `metav1.Status`. The verifier's own answers have no kind.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    api_version: String,
    kind: String,
    #[serde(default)]
    message: String,
}

impl Place {
    /// `kubectl`, for this cluster.
    pub(super) fn kubectl(&self) -> String {
        self.context.as_ref().map_or_else(|| "kubectl".to_owned(), |context| format!("kubectl --context {}", printable(context)))
    }

    pub(super) fn how_to_look(&self) -> String {
        format!(
            "`{} get pods,endpointslices -n {}` shows whether it runs; it was found by {}; --namespace, --context and --server lead elsewhere",
            self.kubectl(),
            self.namespace,
            self.by
        )
    }

    /// The API server does not know whoever asks.
    pub(super) fn stranger(&self, said: &str) -> Trouble {
        let message = format!("the API server {} does not know you ({}): {}", self.api, self.by, printable(said));
        Trouble::new(Exit::AUTH, message)
            .hint(format!("renew the login that the kubeconfig holds; `{} auth whoami` shows whether it counts", self.kubectl()))
    }
}

/// The trouble that such an answer is; none if it is not the API server's.
pub(super) fn said(status: u16, body: &[u8], place: &Place) -> Option<Trouble> {
    let said: Status = serde_json::from_slice(body).ok()?;
    if said.kind != "Status" || said.api_version != "v1" {
        return None;
    }
    let Place { api, namespace, .. } = place;
    let (kubectl, words) = (place.kubectl(), printable(&said.message));
    let unreachable = |message: String| Trouble::new(Exit::UNREACHABLE, message);
    Some(match status {
        401 => place.stranger(&words),
        403 => Trouble::new(Exit::AUTH, format!("you may not reach the verifier through the API server {api}: {words}")).hint(format!(
            "`{kubectl} create rolebinding YOU-phasegate-operator -n {namespace} --clusterrole=phasegate-operator --user=YOU` \
             (deploy/components/kubernetes-auth: get, create, update and delete on services/proxy)"
        )),
        404 => unreachable(format!("there is no service {SERVICE} in namespace {namespace} at {api}: {words}")).hint(format!(
            "is it another namespace or cluster? `{kubectl} get services -A` shows; --namespace and --context lead there ({})",
            place.by
        )),
        503 if words.contains("no endpoints") => {
            unreachable(format!("the verifier does not run: service {SERVICE} in namespace {namespace} leads to no pod"))
                .hint(format!("`{kubectl} get pods -n {namespace}`, and `{kubectl} describe` the pod that is not there or not started"))
        }
        _ => unreachable(format!("the API server {api} does not get through to the verifier ({status}): {words}"))
            .hint(place.how_to_look()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place(context: Option<&str>) -> Place {
        let text = str::to_owned;
        let (api, by) = (text("https://k3s:6443"), text("context home of ~/.kube/config"));
        Place { api, by, namespace: text("phasegate"), context: context.map(text) }
    }

    #[test]
    fn what_the_api_server_says_is_never_taken_for_the_verifiers_word() {
        let status =
            |message: &str| json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message}).to_string();
        for (code, message, exit, words, next) in [
            (401, "Unauthorized", Exit::AUTH, "does not know you", "kubectl auth whoami"),
            (403, "services \"x\" is forbidden", Exit::AUTH, "is forbidden", "--clusterrole=phasegate-operator"),
            (
                404,
                "services \"x\" not found",
                Exit::UNREACHABLE,
                "no service phasegate-verifier in namespace phasegate",
                "--namespace",
            ),
            (503, "no endpoints available for service", Exit::UNREACHABLE, "leads to no pod", "kubectl get pods -n phasegate"),
            (503, "error trying to reach service: refused", Exit::UNREACHABLE, "refused", "get pods"),
            (500, "etcd", Exit::UNREACHABLE, "(500): etcd", "get pods"),
            (200, "", Exit::UNREACHABLE, "(200)", "get pods"),
        ] {
            let trouble = said(code, status(message).as_bytes(), &place(None)).unwrap();
            assert_eq!(trouble.exit, exit, "{code} {message}");
            assert!(trouble.message.contains(words), "{}", trouble.message);
            assert!(trouble.hint.as_ref().is_some_and(|hint| hint.contains(next)), "{:?}", trouble.hint);
        }
        let elsewhere = said(503, status("no endpoints").as_bytes(), &place(Some("lab"))).unwrap();
        assert!(elsewhere.hint.unwrap().contains("kubectl --context lab get pods"));
        for own in [json!({"code": "not_found", "message": "no phase"}), json!({"kind": "gate", "gate": "x"}), json!([])] {
            assert_eq!(said(404, own.to_string().as_bytes(), &place(None)), None, "{own}");
        }
        assert_eq!(said(503, b"<html>", &place(None)), None);
    }
}
