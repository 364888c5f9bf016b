//! The page at `/`: one document with its style and its script inside, so that a browser has all of it or nothing.

use std::sync::LazyLock;

use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::{Html, IntoResponse};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("../web/page.css");
const SCRIPT: &str = include_str!("../web/page.js");

static PAGE: LazyLock<String> =
    LazyLock::new(|| include_str!("../web/page.html").replacen("{style}", STYLE, 1).replacen("{script}", SCRIPT, 1));

/// This script and this style only, questions to its own server only, and no text may become markup.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'; trusted-types 'none'",
        source(SCRIPT),
        source(STYLE)
    )
});

/// The name by which a policy lets an inline text in.
fn source(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}

/// The page
pub(super) async fn page() -> impl IntoResponse {
    ([(CONTENT_SECURITY_POLICY, POLICY.as_str())], Html(PAGE.as_str()))
}
