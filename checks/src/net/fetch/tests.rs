use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::json;
use wiremock::matchers::{body_json, header, method};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::testing::{Manner, Server, context};

fn written(name: &str, token: &str) -> (std::path::PathBuf, SecretRef) {
    let path = std::env::temp_dir().join(format!("phasegate-bearer-{}-{name}", std::process::id()));
    std::fs::write(&path, format!("{token}\n")).unwrap();
    (path.clone(), SecretRef::File(path))
}

async fn posted(url: &str, token: Option<&SecretRef>, timeout: Duration) -> Result<Reply, Outcome> {
    let (headers, secrets) = bearer(token).await?;
    let url = Url::parse(url).unwrap();
    let reply = post(&context().clients, &url, headers, &json!({"a": 1}), Budget::start(timeout)).await?;
    Ok(reply.hide(secrets))
}

#[tokio::test]
async fn a_question_is_posted_as_json_with_the_token() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(header("authorization", "Bearer glsa_1"))
        .and(header("content-type", "application/json"))
        .and(header("cache-control", "no-cache"))
        .and(body_json(json!({"a": 1})))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"b": 2})))
        .mount(&server)
        .await;
    let (path, token) = written("sent", "glsa_1");
    let reply = posted(&server.uri(), Some(&token), Duration::from_secs(20)).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.json()), (200, Ok(json!({"b": 2}))));
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_token_that_a_target_repeats_is_not_quoted() {
    let (path, token) = written("hidden", "hunter2-secret");
    let server = Server::http("500 Oops", "text/plain", "what is Bearer hunter2-secret?").await;
    let quote = posted(&server.url(), Some(&token), Duration::from_secs(20)).await.unwrap().quote();
    assert!(quote.ends_with("what is Bearer ***?"), "{quote}");
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_token_that_can_not_be_had_or_sent_is_unknown() {
    let (path, broken) = written("broken", "two\nlines");
    let unset = SecretRef::Env("PHASEGATE_NO_SUCH_TOKEN".into());
    for token in [broken, unset] {
        let outcome = bearer(Some(&token)).await.unwrap_err();
        assert_eq!(outcome.reason(), Some(&reasons::SECRET_MISSING.into()));
        assert!(!outcome.evidence().as_str().contains("two"), "{outcome:?}");
    }
    std::fs::remove_file(path).unwrap();
    assert_eq!(bearer(None).await, Ok((HeaderMap::new(), Vec::new())));
}

#[tokio::test]
async fn a_post_is_as_bounded_as_a_get() {
    let mute = Server::start(Manner::Hold(Vec::new())).await;
    let silence = posted(&mute.url(), None, Duration::from_millis(400)).await.unwrap_err();
    assert_eq!(silence.reason(), Some(&reasons::TIMEOUT.into()));
    let endless = Server::start(Manner::Repeat(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b' '; 64 * 1024])).await;
    let reply = posted(&endless.url(), None, Duration::from_secs(20)).await.unwrap();
    assert_eq!(reply.json().unwrap_err().reason(), Some(&TOO_LARGE.into()));
}
