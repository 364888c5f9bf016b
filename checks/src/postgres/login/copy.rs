//! Rows that go from one session into another as they come, so that no more than a few of them are kept here.

use std::pin::pin;

use futures::future::{Either, select};
use futures::{SinkExt, StreamExt};
use tokio::time::timeout_at;
use tokio_postgres::{Client, Error};

use crate::net::Budget;
use crate::postgres::Refusal;

use super::{Session, end_of, silence};

/// Whose words they are.
enum At {
    Source(Error),
    Sink(Error),
}

impl Session {
    /// Copies what `out`, a `COPY … TO STDOUT`, gives into `into`, a `COPY … FROM STDIN` of the other session, and says how many bytes
    /// have gone over each time some have. How many rows the other server took.
    pub(crate) async fn copy_to(
        &mut self,
        out: &str,
        (to, into): (&mut Self, &str),
        told: &mut (dyn FnMut(u64) + Send),
        budget: Budget,
    ) -> Result<u64, Refusal> {
        let Self { client, connection, seen, place, visit } = self;
        // What goes through is not kept, so it can not be too much.
        seen.lift();
        let talk = async {
            let pumped = pump((client, out), (&to.client, into), told);
            match select(pin!(pumped), select(connection, &mut to.connection)).await {
                Either::Left((done, _)) => done,
                Either::Right((Either::Left((Err(error), _)), _)) => Err(At::Source(error)),
                Either::Right((Either::Right((Err(error), _)), _)) => Err(At::Sink(error)),
                Either::Right((Either::Left((Ok(()), _)) | Either::Right((Ok(()), _)), pumped)) => pumped.await,
            }
        };
        match timeout_at(budget.end, talk).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(At::Source(error))) => {
                let refusal = Refusal::of(&error, seen, place);
                visit.failed(end_of(&refusal));
                Err(refusal)
            }
            Ok(Err(At::Sink(error))) => {
                let refusal = Refusal::of(&error, &to.seen, &to.place);
                to.visit.failed(end_of(&refusal));
                Err(refusal)
            }
            Err(_) => Err(silence(&format!("{place} → {}", to.place), budget)),
        }
    }
}

async fn pump((from, out): (&Client, &str), (to, into): (&Client, &str), told: &mut (dyn FnMut(u64) + Send)) -> Result<u64, At> {
    let rows = from.copy_out(out).await.map_err(At::Source)?;
    let sink = to.copy_in(into).await.map_err(At::Sink)?;
    let (mut rows, mut sink) = (pin!(rows), pin!(sink));
    let mut bytes = 0_u64;
    while let Some(row) = rows.next().await {
        let row = row.map_err(At::Source)?;
        bytes = bytes.saturating_add(u64::try_from(row.len()).unwrap_or(u64::MAX));
        told(bytes);
        // It waits until the other server has taken what came before.
        sink.feed(row).await.map_err(At::Sink)?;
    }
    sink.as_mut().finish().await.map_err(At::Sink)
}
