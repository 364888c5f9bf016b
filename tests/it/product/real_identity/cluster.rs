//! `cutover` with a kubeconfig and nothing else: it finds the verifier through the API server of a real cluster, as whoever the login is.

use axum::Router;
use axum::response::Redirect;
use tokio::task::JoinSet;

use super::*;

/// What a verb leaves that asks for the verdict: the exit code, and the verdict itself.
type Verdict = (i32, Value);

fn spec(kubeconfig: &Path, line: &str) -> Spec {
    Spec::new("cutover", binary("cutover").unwrap()).args(line.split(' ')).env("KUBECONFIG", kubeconfig.display().to_string())
}

impl Bench {
    async fn cutover(&self, kubeconfig: &Path, line: &str) -> Output {
        self.world.run(spec(kubeconfig, line), PATIENCE).await.unwrap()
    }

    async fn direct(&self, line: &str) -> Output {
        let spec = Spec::new("cutover", binary("cutover").unwrap()).args(line.split(' '));
        let spec = spec.env("PHASEGATE_SERVER", self.url.as_str()).env("PHASEGATE_TOKEN", OF_FILE);
        self.world.run(spec, PATIENCE).await.unwrap()
    }

    /// It fails with this code, and says this.
    async fn fails(&self, what: &str, spec: Spec, code: i32, words: &[&str]) {
        let output = self.world.run(spec, PATIENCE).await.unwrap();
        assert_eq!(output.code, code, "{what}: {output:?}");
        for word in words {
            assert!(output.stderr.contains(word), "{what}: no {word:?} in {}", output.stderr);
        }
    }

    /// An override is made and ended, and these are the names under which that stands in the audit trail.
    async fn acts(&self, kubeconfig: &Path, flags: &str) -> (Output, String) {
        let made =
            self.cutover(kubeconfig, &format!("override create new-side --ttl 5m --reason try --yes -o json{flags}")).await;
        assert_eq!(made.code, 0, "{made:?}");
        let listed = self.cutover(kubeconfig, "override list -o json").await;
        let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
        let id = listed["overrides"][0]["id"].as_u64().unwrap_or_else(|| panic!("{listed}"));
        let ended = self.cutover(kubeconfig, &format!("override revoke {id}{flags}")).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        let by = listed["overrides"][0]["by"].as_str().unwrap_or_default().to_owned();
        (made, by)
    }
}

fn verdict(output: &Output) -> Verdict {
    let body: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.code, body["verdict"].clone())
}

#[tokio::test]
async fn a_real_kubeconfig_is_all_that_an_operator_needs_whatever_the_login() {
    let bench = Bench::start().await;
    // A pipeline: a service account that makes a token of itself.
    let pipeline = bench.cluster.kubeconfig_for_service_account(NAMESPACE, "phasegate-pipeline").await.unwrap();
    let (made, by) = bench.acts(&pipeline, "").await;
    assert_eq!(by, "kubernetes:system:serviceaccount:phasegate:phasegate-pipeline");
    assert!(made.stderr.contains("asked as the service account phasegate/phasegate-pipeline"), "{made:?}");

    // Another one that may operate, and may not make tokens: its own has to do.
    bench.kubectl("kubectl create rolebinding ci -n phasegate --clusterrole=phasegate-operator --serviceaccount=ci:runner").await;
    let runner = bench.cluster.kubeconfig_for_service_account("ci", "runner").await.unwrap();
    let (made, by) = bench.acts(&runner, "").await;
    assert_eq!(by, "kubernetes:system:serviceaccount:ci:runner");
    assert!(made.stderr.contains("asked as yourself, by the token of your own login"), "{made:?}");

    // A certificate has no token: it acts as the operators' service account, once it may.
    let ben = bench.cluster.kubeconfig_by_certificate("ben").await.unwrap();
    bench.fails("no way", spec(&ben, "status"), 4, &["may not reach the verifier", "--clusterrole=phasegate-operator"]).await;
    bench.kubectl("kubectl create rolebinding ben-way -n phasegate --clusterrole=phasegate-operator --user=ben").await;
    wait_until(SOON, "ben may look", async || {
        let looked = bench.cutover(&ben, "status").await;
        ensure!(looked.code == 0 && looked.stderr.is_empty(), "{looked:?}");
        Ok(())
    })
    .await
    .unwrap();
    let doctor = bench.cutover(&ben, "doctor").await;
    assert!(doctor.stdout.contains("no token for the verifier can be made of the service account phasegate/phasegate-operator"));
    let create = "override create new-side --ttl 5m --reason try --yes";
    let words = ["cannot create resource \"serviceaccounts/token\"", "--role=phasegate-operator-token --user=YOU"];
    bench.fails("no token", spec(&ben, create), 4, &words).await;
    bench.fails("no token of his own", spec(&ben, &format!("{create} --own-token")), 4, &["has no token"]).await;
    bench.kubectl("kubectl create rolebinding ben -n phasegate --role=phasegate-operator-token --user=ben").await;
    wait_until(SOON, "ben may act", async || {
        let asked = bench.cutover(&ben, "doctor -o json").await;
        ensure!(asked.stdout.contains("phasegate-operator's, with the role operate"), "{asked:?}");
        Ok(())
    })
    .await
    .unwrap();
    let (made, by) = bench.acts(&ben, "").await;
    assert_eq!(by, "kubernetes:system:serviceaccount:phasegate:phasegate-operator");
    assert!(made.stderr.contains("by a token for phasegate alone that is valid for 10m"), "{made:?}");

    // Somebody who may do everything acts as that account as well, or as themselves if they say so.
    let admin = bench.cluster.kubeconfig();
    assert_eq!(bench.acts(admin, "").await.1, "kubernetes:system:serviceaccount:phasegate:phasegate-operator");
    assert_eq!(bench.acts(admin, " --own-token").await.1, "kubernetes:admin");
    let both = spec(admin, &format!("{create} --own-token --service-account phasegate-operator"));
    bench.fails("both", both, 2, &["contradict each other"]).await;
    let approver = spec(admin, &format!("{create} --service-account phasegate-approver"));
    bench.fails("an approver", approver, 4, &["to operate the migration product", "phasegate-operator"]).await;
    let nobody = spec(admin, &format!("{create} --service-account nobody"));
    bench.fails("no account", nobody, 4, &["phasegate/nobody", "components/kubernetes-auth"]).await;
    // A token that was given comes first, and an address before any cluster.
    let given = spec(admin, create).env("PHASEGATE_TOKEN", "of-nobody-that-is-known");
    bench.fails("a wrong token", given, 4, &["known neither to the token file nor to Kubernetes"]).await;
    let elsewhere = spec(admin, "status").env("PHASEGATE_SERVER", "http://127.0.0.1:1");
    bench.fails("an address", elsewhere, 11, &["http://127.0.0.1:1 can not be reached"]).await;
    let two = spec(admin, "status --context tests --server http://127.0.0.1:1");
    bench.fails("an address and a context", two, 2, &["may lead to two verifiers"]).await;
}

#[tokio::test]
async fn the_verdict_is_the_same_through_the_real_api_server_and_trouble_is_never_a_yes() {
    let mut bench = Bench::start().await;
    let admin = bench.cluster.kubeconfig().to_owned();
    let check = "gate check move -o json";
    for verb in ["begin move --yes", "switch move --yes"] {
        wait_until(PATIENCE, verb, async || {
            let done = bench.cutover(&admin, verb).await;
            ensure!(done.code == 0, "{done:?}");
            Ok(())
        })
        .await
        .unwrap();
    }
    let both = async |bench: &Bench, expected: &str| {
        wait_until(PATIENCE, expected, async || {
            let (through, direct) = (bench.cutover(&admin, check).await, bench.direct(check).await);
            ensure!(verdict(&direct).1 == expected, "{direct:?}");
            ensure!(verdict(&through) == verdict(&direct), "{through:?} {direct:?}");
            Ok(direct.code)
        })
        .await
        .unwrap()
    };
    assert_eq!(both(&bench, "open").await, 0);
    drop(bench.target.take());
    assert_eq!(both(&bench, "closed").await, 1);
    let nowhere = [bench.cutover(&admin, "gate check nowhere").await, bench.direct("gate check nowhere").await];
    assert_eq!(nowhere.map(|output| output.code), [13, 13]);
    for line in ["report", "report -o json", "status -o json", "history --all", "audit verify"] {
        let (through, direct) = (bench.cutover(&admin, line).await, bench.direct(line).await);
        assert_eq!((through.code, through.stdout.is_empty()), (direct.code, false), "{line}: {through:?}");
    }
    // A frozen verifier is no verifier.
    bench.verifier.freeze().await.unwrap();
    bench.fails("frozen", spec(&admin, "gate check move --request-timeout 2s"), 11, &["gave no full answer within 2s"]).await;
    bench.verifier.thaw();

    // Wrong ways.
    let asks = |line: &str| spec(&admin, line);
    bench.fails("context", asks("gate check move --context nowhere"), 2, &["no context `nowhere`", "there is tests"]).await;
    let namespace = asks("gate check move -n elsewhere");
    bench.fails("namespace", namespace, 11, &["no service phasegate-verifier in namespace elsewhere", "--namespace"]).await;
    let missing = asks("gate check move").env("KUBECONFIG", "/nowhere");
    bench.fails("no file", missing, 2, &["KUBECONFIG names no file that exists: /nowhere"]).await;
    let none = asks("gate check move").env("KUBECONFIG", "");
    bench
        .fails("no kubeconfig", none, 11, &["http://127.0.0.1:9470 can not be reached", "PHASEGATE_SERVER", "~/.kube/config"])
        .await;
    let broken = bench.world.write("broken", "clusters: 7").unwrap();
    bench.fails("broken", spec(&broken, "gate check move"), 2, &["kubeconfig", "--server"]).await;
    let stranger = bench.cluster.kubeconfig_at("stranger", bench.cluster.authority(), "nobody's").unwrap();
    bench.fails("stranger", spec(&stranger, "gate check move"), 4, &["does not know you", "auth whoami"]).await;

    // A verifier that is not there, in each way.
    let mut serving = JoinSet::new();
    let listener = TcpListener::bind((Kubernetes::outward().unwrap(), 0)).await.unwrap();
    let elsewhere = listener.local_addr().unwrap().to_string();
    let app = Router::new().fallback(async || Redirect::temporary("https://open.example/v1/gates/move"));
    serving.spawn(async move { axum::serve(listener, app).await });
    let shut = format!("{}:1", Kubernetes::outward().unwrap());
    for (what, to, words) in [
        ("redirect", Some(elsewhere.as_str()), "answered with a redirect"),
        ("refused", Some(shut.as_str()), "does not get through to the verifier"),
        ("no endpoints", None, "leads to no pod"),
    ] {
        bench.publish(to).await;
        wait_until(PATIENCE, what, async || {
            let output = bench.cutover(&admin, check).await;
            assert_ne!(output.code, 0, "{what}: {output:?}");
            ensure!(output.code == 11 && output.stderr.contains(words), "{output:?}");
            Ok(())
        })
        .await
        .unwrap();
    }
    bench.cluster.kill().await.unwrap();
    bench
        .fails("API server", asks("gate check move"), 11, &["can not be reached", "phasegate/phasegate-verifier at https://"])
        .await;
    assert_eq!(bench.direct(check).await.code, 1, "the verifier itself goes on");
}

#[tokio::test]
async fn a_pod_finds_the_verifier_of_its_real_cluster_by_its_service_account() {
    let bench = Bench::start().await;
    let folder = bench.world.dir().join("account");
    std::fs::create_dir(&folder).unwrap();
    let token = bench.cluster.token(NAMESPACE, "phasegate-pipeline").await.unwrap();
    std::fs::write(folder.join("token"), token).unwrap();
    std::fs::write(folder.join("namespace"), NAMESPACE).unwrap();
    std::fs::copy(bench.cluster.ca(), folder.join("ca.crt")).unwrap();
    let (host, port) = bench.cluster.authority().split_once(':').unwrap();
    let (host, port) = (host.to_owned(), port.to_owned());
    // What is mounted into a pod, for this process alone.
    let script = format!(
        "mount -n -t tmpfs none /run && mkdir -p /run/secrets/kubernetes.io && ln -s {} /run/secrets/kubernetes.io/serviceaccount && exec \"$@\"",
        folder.display()
    );
    let line = "override create new-side --ttl 5m --reason try --yes -o json";
    let words = ["--mount", "--", "sh", "-c", &script, "sh"].map(str::to_owned);
    let spec = Spec::new("pod", "unshare")
        .args(words)
        .arg(binary("cutover").unwrap().display().to_string())
        .args(line.split(' '))
        .env("KUBERNETES_SERVICE_HOST", host)
        .env("KUBERNETES_SERVICE_PORT", port);
    let output = bench.world.run(spec, PATIENCE).await.unwrap();
    assert_eq!(output.code, 0, "{output:?}");
    assert!(bench.actors().await.contains(&"kubernetes:system:serviceaccount:phasegate:phasegate-pipeline".to_owned()));
}
