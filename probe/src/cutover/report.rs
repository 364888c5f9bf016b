//! `cutover report`: the verification checklist.

use super::render::Checklist;
use super::{Answer, Context, status};

/// Runs `cutover report`.
pub(crate) async fn run(cx: &mut Context<'_, '_>) -> Answer {
    let (status, trusted) = status::read(cx.client).await?;
    cx.io.show(&Checklist(&status));
    Ok(status::verdict_on(cx, trusted))
}
