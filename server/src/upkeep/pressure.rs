//! How full memory is, for those who decide whether to take one more write.

use std::sync::atomic::{AtomicU8, Ordering};

use engine::Load;

/// Set by the driver between batches, read wherever a request comes in.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU8);

/// What a proposal would do to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Adds to it.
    Takes,
    /// Makes room in the end: deletes, compactions, revocations.
    Frees,
}

impl Gauge {
    /// Whether that is another load than before.
    pub(crate) fn set(&self, load: Load) -> bool {
        self.0.swap(load as u8, Ordering::Relaxed) != load as u8
    }

    /// Whether a proposal has to be refused because what came before it is not on disk yet.
    pub(crate) fn refuses(&self, demand: Demand) -> bool {
        let bound = match demand {
            Demand::Takes => Load::Full,
            Demand::Frees => Load::Overfull,
        };
        self.0.load(Ordering::Relaxed) >= bound as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_room_goes_on_for_longer() {
        let gauge = Gauge::default();
        let cases = [
            (Load::Normal, false, false),
            (Load::Pressed, false, false),
            (Load::Urgent, false, false),
            (Load::Full, true, false),
            (Load::Overfull, true, true),
        ];
        for (load, takes, frees) in cases {
            gauge.set(load);
            assert_eq!(
                (gauge.refuses(Demand::Takes), gauge.refuses(Demand::Frees)),
                (takes, frees),
                "{load:?}"
            );
        }
    }
}
