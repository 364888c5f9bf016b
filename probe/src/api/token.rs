//! Who asks: so that somebody learns before a run, and not in the middle of it, what their token allows.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;

use super::problem::Problem;
use super::shared::Shared;
use super::types::{ErrorBody, TokenBody};

/// The name and the role of the token that asks
#[utoipa::path(get, path = "/v1/token", tag = "status", security(("bearer" = [])), responses(
    (status = 200, body = TokenBody), (status = 401, description = "No token, or none that is known", body = ErrorBody),
    (status = 403, description = "This verifier takes no changes, so it knows no token", body = ErrorBody)))]
pub(super) async fn token(State(shared): State<Shared>, headers: HeaderMap) -> Result<Json<TokenBody>, Problem> {
    let (name, role) = shared.app.auth.holder(&headers).await?;
    let covers = role.covered().map(|role| role.as_str().to_owned()).collect();
    Ok(Json(TokenBody { name, role: role.as_str().to_owned(), covers }))
}
