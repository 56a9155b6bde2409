//! From values to places, and the ticks between.

use super::super::figure::Scale;

/// One axis: a range of values over a range of pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    /// Where `low` is.
    from: f64,
    /// Where `high` is; less than `from` for an axis that grows upwards.
    to: f64,
}

impl Axis {
    /// Around values, with bounds that are round. Without any value the axis is of no meaning, but drawn.
    pub(super) fn around(scale: Scale, values: impl IntoIterator<Item = f64>, from: f64, to: f64) -> Axis {
        let usable = |value: &f64| value.is_finite() && (scale == Scale::Linear || *value > 0.0);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.into_iter().filter(usable) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (1.0, 10.0);
        }
        let (low, high) = match scale {
            Scale::Linear => (low.min(0.0), if high > low.min(0.0) { high } else { low + 1.0 }),
            // At least a decade, in steps of 1, 2, 5.
            Scale::Log => {
                let low = step_below(low);
                (low, step_above(high).max(low * 10.0))
            }
        };
        Axis { scale, low, high, from, to }
    }

    /// Of exact bounds.
    pub(super) fn exact(scale: Scale, low: f64, high: f64, from: f64, to: f64) -> Axis {
        assert!(low < high, "an axis has a length: {low} to {high}");
        Axis { scale, low, high, from, to }
    }

    /// Ends a linear axis at a tick.
    pub(super) fn rounded(mut self, ticks: usize) -> Axis {
        if self.scale == Scale::Linear {
            let step = self.step(ticks);
            self.high = (self.high / step - 1e-9).ceil() * step;
        }
        self
    }

    /// Where a value is; values beyond the bounds are at the bounds, what is no number is nowhere.
    pub(super) fn place(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
        };
        if value.is_nan() {
            return f64::NAN;
        }
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    pub(super) fn low(&self) -> f64 {
        self.low
    }

    pub(super) fn high(&self) -> f64 {
        self.high
    }

    /// About so many round values.
    pub(super) fn ticks(&self, about: usize) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = self.step(about);
                let first = (self.low / step - 1e-9).ceil() as i64;
                let last = (self.high / step + 1e-9).floor() as i64;
                (first..=last).map(|number| number as f64 * step).collect()
            }
            Scale::Log => {
                let all: Vec<f64> = (self.low.log10().floor() as i32..=self.high.log10().ceil() as i32)
                    .flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(decade)))
                    .filter(|value| *value >= self.low * 0.999 && *value <= self.high * 1.001)
                    .collect();
                if all.len() <= about + 1 {
                    return all;
                }
                let decades: Vec<f64> = all
                    .into_iter()
                    .filter(|value| (value.log10() - value.log10().round()).abs() < 1e-9)
                    .collect();
                let step = decades.len().div_ceil(about.max(1)).max(1);
                decades.into_iter().step_by(step).collect()
            }
        }
    }

    fn step(&self, about: usize) -> f64 {
        let rough = (self.high - self.low) / about.max(1) as f64;
        let decade = 10f64.powf(rough.log10().floor());
        [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|digit| digit * decade)
            .find(|step| *step >= rough * 0.999)
            .unwrap_or(rough)
    }
}

fn step_below(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0]
        .into_iter()
        .map(|digit| digit * decade)
        .find(|step| *step <= value * 1.001)
        .unwrap_or(decade)
}

fn step_above(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|digit| digit * decade)
        .find(|step| *step >= value * 0.999)
        .unwrap_or(decade)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_ticks_are_round() {
        let axis = Axis::around(Scale::Linear, [3.0, 11_700.0], 0.0, 100.0).rounded(5);
        assert_eq!(axis.ticks(5), [0.0, 5_000.0, 10_000.0, 15_000.0]);
        assert_eq!(axis.place(0.0), 0.0);
        assert_eq!(axis.place(15_000.0), 100.0);
    }

    #[test]
    fn logarithmic_ticks_thin_out() {
        let narrow = Axis::around(Scale::Log, [120.0, 800.0], 100.0, 0.0);
        assert_eq!(narrow.ticks(6), [100.0, 200.0, 500.0, 1000.0]);
        let wide = Axis::around(Scale::Log, [3.0, 2e6], 100.0, 0.0);
        assert_eq!(wide.ticks(6), [10.0, 100.0, 1e3, 1e4, 1e5, 1e6]);
        assert_eq!(wide.place(wide.high()), 0.0, "it grows upwards");
    }

    #[test]
    fn nothing_to_show_is_no_panic() {
        for scale in [Scale::Linear, Scale::Log] {
            let axis = Axis::around(scale, [f64::NAN], 0.0, 10.0).rounded(4);
            assert!(axis.ticks(4).len() >= 2);
            assert!(axis.place(f64::NAN).is_nan());
        }
        assert!(Axis::around(Scale::Linear, [0.0], 0.0, 10.0).place(0.0).is_finite());
    }
}
