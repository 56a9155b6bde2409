//! Making the families of `names` and keeping them in one registry.

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, exponential_buckets,
};

/// What a line of the table can become.
pub(crate) trait Family: Collector + Clone + 'static {
    fn make(opts: Opts, labels: &[&str], buckets: Option<(f64, f64, usize)>) -> prometheus::Result<Self>;

    fn register(
        registry: &Registry,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: Option<(f64, f64, usize)>,
    ) -> Self {
        let family = Self::make(Opts::new(name, help), labels, buckets).expect("the table's names are valid");
        registry.register(Box::new(family.clone())).expect("the table names each metric once");
        family
    }
}

type Buckets = Option<(f64, f64, usize)>;

impl Family for IntCounter {
    fn make(opts: Opts, _: &[&str], _: Buckets) -> prometheus::Result<Self> {
        IntCounter::with_opts(opts)
    }
}

impl Family for IntGauge {
    fn make(opts: Opts, _: &[&str], _: Buckets) -> prometheus::Result<Self> {
        IntGauge::with_opts(opts)
    }
}

impl Family for IntCounterVec {
    fn make(opts: Opts, labels: &[&str], _: Buckets) -> prometheus::Result<Self> {
        IntCounterVec::new(opts, labels)
    }
}

impl Family for IntGaugeVec {
    fn make(opts: Opts, labels: &[&str], _: Buckets) -> prometheus::Result<Self> {
        IntGaugeVec::new(opts, labels)
    }
}

impl Family for GaugeVec {
    fn make(opts: Opts, labels: &[&str], _: Buckets) -> prometheus::Result<Self> {
        GaugeVec::new(opts, labels)
    }
}

impl Family for Histogram {
    fn make(opts: Opts, _: &[&str], buckets: Buckets) -> prometheus::Result<Self> {
        Histogram::with_opts(histogram(opts, buckets)?)
    }
}

impl Family for HistogramVec {
    fn make(opts: Opts, labels: &[&str], buckets: Buckets) -> prometheus::Result<Self> {
        HistogramVec::new(histogram(opts, buckets)?, labels)
    }
}

fn histogram(opts: Opts, buckets: Buckets) -> prometheus::Result<HistogramOpts> {
    let opts = HistogramOpts::from(opts);
    match buckets {
        Some((start, factor, count)) => Ok(opts.buckets(exponential_buckets(start, factor, count)?)),
        None => Ok(opts),
    }
}

macro_rules! families {
    ($($field:ident: $kind:ident $name:literal $help:literal [$($label:literal),*] $(($start:literal, $factor:literal, $count:literal))?;)+) => {
        /// Handles to all of them; cheap to clone one by one.
        pub struct Families {
            $(#[doc = $help] pub $field: prometheus::$kind,)+
        }

        impl Families {
            pub(crate) fn register(registry: &prometheus::Registry) -> Families {
                use super::registry::Family;
                Families {
                    $($field: <prometheus::$kind>::register(
                        registry,
                        $name,
                        $help,
                        &[$($label),*],
                        [$(($start, $factor, $count))?].first().copied(),
                    ),)+
                }
            }
        }
    };
}

pub(crate) use families;
