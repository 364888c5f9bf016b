//! The rights that `deploy/components/kubernetes-auth` gives: all of them are used, and what is missing is said.

use std::collections::BTreeSet;

use super::*;

const VERIFIER: &str = "system:serviceaccount:phasegate:phasegate-verifier";

#[tokio::test]
async fn the_verifier_of_a_real_cluster_needs_both_of_its_rights_and_no_other() {
    let bench = Bench::start().await;
    let token = bench.cluster.token_for(NAMESPACE, "phasegate-operator", Some("phasegate")).await.unwrap();
    assert_eq!(bench.records(&token, "a").await.0, 200);
    wait_until(PATIENCE, "the audit log has it", async || {
        let requests = bench.cluster.requests()?;
        let own: Vec<_> = requests.iter().filter(|one| one.user == VERIFIER).collect();
        let used: BTreeSet<_> = own.iter().map(|one| (one.verb.as_str(), one.resource.as_str(), one.code)).collect();
        let both = ["tokenreviews.authentication.k8s.io", "subjectaccessreviews.authorization.k8s.io"];
        ensure!(used == BTreeSet::from(both.map(|one| ("create", one, 201))), "{used:?}");
        Ok(())
    })
    .await
    .unwrap();

    let role = bench.cluster.object("/apis/rbac.authorization.k8s.io/v1/clusterroles/phasegate-auth").await.unwrap();
    let rules = role["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 2);
    for (left_out, resource) in [(0, "tokenreviews"), (1, "subjectaccessreviews")] {
        let mut less = role.clone();
        less["rules"] = json!([rules[1 - left_out]]);
        less["metadata"] = json!({"name": "phasegate-auth"});
        bench.cluster.apply(&less.to_string()).await.unwrap();
        let missing = wait_until(SOON * 2, resource, async || {
            let (status, body) = bench.records(&token, "b").await;
            ensure!(status == 503, "{status}: {body}");
            Ok(body)
        });
        let missing = missing.await.unwrap();
        assert!(missing["message"].as_str().unwrap().contains(&format!("cannot create resource \"{resource}\"")), "{missing}");
        assert!(missing["hint"].as_str().unwrap().contains("components/kubernetes-auth"), "{missing}");
    }
}

/// What each role is for can be done with it, through the API server, and nothing with less.
#[tokio::test]
async fn each_right_of_a_real_role_is_used_and_is_enough() {
    let bench = Bench::start().await;
    let proxy = format!("/api/v1/namespaces/{NAMESPACE}/services/http:{NAME}:9470/proxy");
    for (role, verbs) in [
        ("phasegate-operator", &["get", "create", "update", "delete"][..]),
        ("phasegate-approver", &["get", "create"]),
        ("phasegate-heartbeat", &[]),
    ] {
        let object = bench.cluster.object(&format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{role}")).await.unwrap();
        let granted = object["rules"].as_array().unwrap().iter().find(|rule| rule["resources"][0] == "services/proxy");
        let granted: Vec<&str> =
            granted.map(|rule| rule["verbs"].as_array().unwrap().iter().filter_map(Value::as_str).collect()).unwrap_or_default();
        assert_eq!(granted, verbs, "{role}");
        bench.kubectl(&format!("kubectl create serviceaccount {role}-bearer -n ci")).await;
        let subject = format!("--serviceaccount=ci:{role}-bearer");
        bench.kubectl(&format!("kubectl create rolebinding {role}-bearer -n {NAMESPACE} --clusterrole={role} {subject}")).await;
        let token = bench.cluster.token("ci", &format!("{role}-bearer")).await.unwrap();
        let reaches = async |method: Method, path: &str| {
            let path = format!("{proxy}{path}");
            bench.cluster.call(&token, method, &path, Some(&json!(1))).await.unwrap()
        };
        if verbs.is_empty() {
            assert_eq!(reaches(Method::GET, "/v1/status").await.status, 403);
        } else {
            wait_until(SOON, role, async || {
                let answer = reaches(Method::GET, "/v1/status").await;
                ensure!(answer.status == 200, "{}", answer.body);
                Ok(())
            })
            .await
            .unwrap();
            // The verifier's own word, and not that of the API server: it takes `Authorization` for itself.
            let answer = reaches(Method::POST, "/v1/overrides").await;
            assert!(answer.status == 401 && answer.body.contains("token_missing"), "{}", answer.body);
        }
        let (_, whoami) = bench.asks(&token, Method::GET, "/v1/token").await;
        let verb = role.strip_prefix("phasegate-").unwrap().replace("operator", "operate").replace("approver", "approve");
        assert_eq!(whoami["role"], verb, "{whoami}");
        for path in [format!("/api/v1/namespaces/{NAMESPACE}/secrets"), "/api/v1/nodes".to_owned()] {
            assert_eq!(bench.cluster.call(&token, Method::GET, &path, None).await.unwrap().status, 403, "{path}");
        }
    }
}
