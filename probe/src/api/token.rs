//! Who asks: so that somebody learns before a run, and not in the middle of it, what their token allows.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;

use super::problem::Problem;
use super::shared::Shared;
use super::types::{ErrorBody, TokenBody};
use crate::auth::Role;

/// The name and the role of the token that asks
#[utoipa::path(get, path = "/v1/token", tag = "status", security(("bearer" = [])), responses(
    (status = 200, body = TokenBody), (status = 401, description = "No token, or none that is known", body = ErrorBody),
    (status = 403, description = "This verifier takes no changes, so it knows no token", body = ErrorBody),
    (status = 503, description = "Kubernetes would have to know it, and does not answer", body = ErrorBody)))]
pub(super) async fn token(State(shared): State<Shared>, headers: HeaderMap) -> Result<Json<TokenBody>, Problem> {
    let holder = shared.app.auth.holder(&headers).await?;
    let covers = holder.covered().map(|role| role.as_str().to_owned()).collect();
    Ok(Json(TokenBody { name: holder.name, role: holder.roles.first().unwrap_or(&Role::Read).as_str().to_owned(), covers }))
}
