//! Writing families of metrics in either text format.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::histogram::Histogram;

/// A moment as Prometheus wants it: seconds since 1970.
pub(crate) fn seconds(utc: DateTime<Utc>) -> f64 {
    Duration::from_millis(u64::try_from(utc.timestamp_millis()).unwrap_or(0)).as_secs_f64()
}

/// Writes families in one of the two text formats.
pub(crate) struct Sheet<'s, 'e> {
    encoder: &'s mut DescriptorEncoder<'e>,
    classic: bool,
}

impl<'s, 'e> Sheet<'s, 'e> {
    pub(crate) fn new(encoder: &'s mut DescriptorEncoder<'e>, classic: bool) -> Self {
        Self { encoder, classic }
    }

    pub(crate) fn single(&mut self, name: &str, help: &str, value: &impl EncodeGaugeValue) -> fmt::Result {
        self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(value)
    }

    pub(crate) fn gauge<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        samples.into_iter().try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    pub(crate) fn single_counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let (name, classic) = (self.counter_name(name), self.classic);
        count(classic, self.encoder.encode_descriptor(&name, help, None, MetricType::Counter)?, value)
    }

    pub(crate) fn counter<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let (name, classic) = (self.counter_name(name), self.classic);
        let mut family = self.encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        samples.into_iter().try_for_each(|(labels, value)| count(classic, family.encode_family(&labels)?, value))
    }

    /// The classic format wants `_total` in the descriptor too.
    fn counter_name<'n>(&self, name: &'n str) -> Cow<'n, str> {
        if self.classic { format!("{name}_total").into() } else { name.into() }
    }

    pub(crate) fn single_histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        histogram.encode(self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?)
    }

    pub(crate) fn histogram<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, Histogram)>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        samples.into_iter().try_for_each(|(labels, histogram)| histogram.encode(family.encode_family(&labels)?))
    }
}

/// A gauge is written with the name as it stands, a counter with `_total` added to it.
fn count(classic: bool, mut encoder: MetricEncoder<'_>, value: u64) -> fmt::Result {
    if classic { encoder.encode_gauge(&value) } else { ConstCounter::new(value).encode(encoder) }
}
