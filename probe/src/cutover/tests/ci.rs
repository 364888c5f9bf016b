//! What pipelines read.

use super::fixtures::gate;
use super::*;
use crate::gate::Verdict;

#[tokio::test]
async fn github_gets_annotations_a_summary_and_outputs() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve("GET", "/v1/gates/alloy", ok(&gate(Verdict::Closed))).await;
    let shell = Shell { collected: Some(dir.path().to_owned()), ..PLAIN };
    let ran = shell.run(&server.uri(), "gate check alloy -o github").await;
    assert_eq!(ran.exit, Exit::CLOSED);
    let read = |name| std::fs::read_to_string(dir.path().join(name)).unwrap();
    insta::assert_snapshot!("github", format!("{}--- summary\n{}--- output\n{}", ran.out, read("summary"), read("output")));
}

#[tokio::test]
async fn an_unwritable_output_file_is_no_open() {
    let server = serve("GET", "/v1/gates/alloy", ok(&gate(Verdict::Open))).await;
    let shell = Shell { collected: Some("/proc/no/such".into()), ..PLAIN };
    let ran = shell.run(&server.uri(), "gate check alloy -o github").await;
    assert_eq!(ran.exit, Exit::UNKNOWN);
    assert!(ran.err.contains("could not be written"), "{}", ran.err);
}

#[tokio::test]
async fn junit_has_a_case_per_probe() {
    for verdict in [Verdict::Open, Verdict::Closed, Verdict::Pending] {
        let mut body = gate(verdict);
        body.blockers.extend(body.blockers.clone());
        let server = serve("GET", "/v1/gates/alloy", ok(&body)).await;
        let ran = cutover(&server, "gate check alloy -o junit").await;
        insta::assert_snapshot!(format!("junit_{}", verdict.as_str()), ran.out);
    }
}
