//! Other ways to the same lines: through the gateway in front of Loki, and through Grafana.

use futures::future::BoxFuture;

use crate::check::Context;
use crate::grafana::query::through::Way;
use crate::grafana::query::window;
use crate::net::Budget;
use crate::outcome::Outcome;
use crate::target::{GrafanaTarget, LokiTarget};

use super::account::Found;
use super::hops::Station;
use super::line::Boot;
use super::trace::{InLoki, Source, Window, own};

impl Source for Way<'_> {
    fn window<'a>(
        &'a self,
        (node, boot): (&'a str, Boot),
        (start, end): (i64, i64),
        budget: Budget,
    ) -> BoxFuture<'a, Result<Option<Window>, Outcome>> {
        Box::pin(async move {
            let query = format!("{}\n|= \"{boot}\"", self.selector);
            let span = window::Window { start, end };
            let lines = Way { selector: &query, ..*self }.lines(span, budget).await?.lines;
            let read = lines.len();
            let found: Vec<Found> = lines.iter().filter_map(|(at, text)| own(text, *at, (node, boot))).collect();
            Ok((read < window::LIMIT).then_some(Window { own: found, read }))
        })
    }
}

/// One other way.
pub(crate) struct View<'a> {
    /// Its end.
    pub(crate) station: Station,
    /// The lines there.
    pub(crate) source: Box<dyn Source + Send + 'a>,
}

impl<'a> View<'a> {
    /// Through the gateway.
    pub(crate) fn gateway(cx: &'a Context, gateway: &'a LokiTarget, selector: &'a str) -> Self {
        Self { station: Station::Gateway, source: Box::new(InLoki { cx, loki: gateway, selector }) }
    }

    /// Through Grafana.
    pub(crate) fn grafana(cx: &'a Context, (grafana, datasource): (&'a GrafanaTarget, &'a str), selector: &'a str) -> Self {
        Self { station: Station::Grafana, source: Box::new(Way { cx, grafana, datasource, selector }) }
    }
}
