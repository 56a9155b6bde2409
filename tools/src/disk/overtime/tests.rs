//! Series made from a seed, with something planted or with nothing.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

const SEEDS: u64 = 20;
const QUIET_US: f64 = 90.0;

/// A run on a plain disk of a noisy machine: medians that wander by tens of percent, tails of a millisecond in some seconds,
/// now and then a write of tens of milliseconds.
struct Run {
    rng: ChaCha8Rng,
    seconds: Vec<Second>,
    long: Vec<LongWrite>,
}

impl Run {
    fn plain(seed: u64, length: u32) -> Run {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut seconds, mut long) = (Vec::new(), Vec::new());
        let mut wander: f64 = 0.0;
        for at in 0..length {
            wander = 0.8 * wander + rng.random_range(-0.12..0.12);
            let p50_us = QUIET_US * wander.exp() * rng.random_range(0.9..1.25);
            let noisy: f64 = if rng.random_bool(0.15) { rng.random_range(5.0..25.0) } else { 1.6 };
            seconds.push(Second {
                at,
                syncs: 5_000,
                p10_us: p50_us * 0.85,
                p50_us,
                p99_us: p50_us * noisy,
                max_us: 4e3,
                doubt: None,
            });
            if rng.random_bool(0.05) {
                let at = f64::from(at) + rng.random_range(0.0..1.0);
                long.push(LongWrite { at, ms: rng.random_range(10.0..120.0), cpu_ms: 0.0 });
            }
        }
        Run { rng, seconds, long }
    }

    fn scale(&mut self, from: u32, factor: impl Fn(u32) -> f64) {
        for second in self.seconds.iter_mut().filter(|second| second.at >= from) {
            let factor = factor(second.at);
            second.p10_us *= factor;
            second.p50_us *= factor;
            second.p99_us *= factor;
        }
    }

    fn stall(&mut self, at: f64, ms: f64) {
        self.long.push(LongWrite { at, ms, cpu_ms: 0.1 });
        self.long.sort_by(|one, other| one.at.total_cmp(&other.at));
        if let Some(second) = self.seconds.get_mut((at + ms / 1e3) as usize) {
            second.max_us = ms * 1e3;
        }
    }

    fn findings(&self) -> Vec<Finding> {
        findings(&self.seconds, &self.long)
    }
}

fn each(length: u32, mut test: impl FnMut(u64, Run)) {
    (0..SEEDS).for_each(|seed| test(seed, Run::plain(seed, length)));
}

#[test]
fn a_plain_disk_has_no_findings() {
    for length in [20, 60, 200, 600] {
        each(length, |seed, run| assert_eq!(run.findings(), [], "seed {seed}, {length} s"));
    }
    assert_eq!(findings(&[], &[]), []);
}

#[test]
fn burst_credits_that_end_are_named_with_the_second_and_both_levels() {
    for (factor, at) in [(2.6, 30), (10.0, 45), (100.0, 10)] {
        each(60, |seed, mut run| {
            run.scale(at, |_| factor);
            let found = run.findings();
            let Some(Finding::Fall { at: named, before_us, after_us }) = found.first() else {
                panic!("seed {seed}, times {factor} at {at}: {found:?}");
            };
            assert!(named.abs_diff(at) <= 2, "seed {seed}: {named} for {at}");
            assert!((60.0..150.0).contains(before_us), "seed {seed}: {before_us}");
            let ratio = after_us / before_us / factor;
            assert!((0.6..1.7).contains(&ratio), "seed {seed}: {ratio}");
            assert_eq!(found.len(), 1, "seed {seed}: {found:?}");
        });
    }
}

#[test]
fn a_slow_while_that_ends_is_no_fall() {
    each(60, |seed, mut run| {
        run.scale(20, |at| if at < 32 { 5.0 } else { 1.0 });
        assert!(
            !run.findings()
                .iter()
                .any(|finding| matches!(finding, Finding::Fall { .. } | Finding::Drift { .. })),
            "seed {seed}"
        );
    });
}

#[test]
fn stalls_on_a_beat_are_named_with_period_and_length() {
    for (period, ms, length) in
        [(10.0, 300.0, 60), (10.0, 1000.0, 200), (5.0, 150.0, 40), (30.0, 2000.0, 200)]
    {
        each(length, |seed, mut run| {
            let mut at = 3.3;
            while at < f64::from(length) - 2.0 {
                let jitter = run.rng.random_range(0.0..0.1);
                run.stall(at + jitter, ms);
                at += period;
            }
            let found = run.findings();
            let Some(Finding::PeriodicStalls { period_s, length_ms, count }) = found.first() else {
                panic!("seed {seed}, every {period} s: {found:?}");
            };
            assert!((period_s / period - 1.0).abs() < 0.03, "seed {seed}: {period_s} for {period}");
            assert!((length_ms / ms - 1.0).abs() < 0.3, "seed {seed}: {length_ms} for {ms}");
            assert!(*count >= 4 && found.len() == 1, "seed {seed}: {found:?}");
        });
    }
}

#[test]
fn a_beat_is_found_across_seconds_that_say_nothing() {
    each(120, |seed, mut run| {
        for beat in 0..12 {
            let at = 4.0 + 10.0 * f64::from(beat);
            let second = &mut run.seconds[at as usize];
            // Some beats fall into a disturbed phase; what is seen there is not the disk's own.
            if (40..70).contains(&second.at) {
                continue;
            }
            run.stall(at, 400.0);
        }
        for second in &mut run.seconds[40..70] {
            second.doubt = Some(Doubt::Disturbed);
        }
        let found = run.findings();
        assert!(
            matches!(found[..], [Finding::PeriodicStalls { period_s, .. }] if (9.8..10.2).contains(&period_s)),
            "seed {seed}: {found:?}"
        );
    });
}

#[test]
fn one_stall_is_named_once_and_one_of_the_cpu_is_not() {
    each(60, |seed, mut run| {
        run.stall(31.5, 1000.0);
        let found = run.findings();
        assert_eq!(found, [Finding::Stall { at: 31.5, length_ms: 1000.0 }], "seed {seed}");
        run.long.iter_mut().for_each(|write| write.cpu_ms = write.ms * 0.9);
        assert_eq!(run.findings(), [], "seed {seed}");
    });
}

#[test]
fn seconds_without_cpu_accuse_nobody() {
    each(60, |seed, mut run| {
        run.scale(30, |_| 40.0);
        run.stall(35.5, 2000.0);
        for second in &mut run.seconds[30..] {
            second.doubt = Some(Doubt::CpuMissing);
        }
        assert_eq!(run.findings(), [], "seed {seed}");
    });
}

#[test]
fn a_neighbors_syncs_are_named() {
    each(60, |seed, mut run| {
        for second in &mut run.seconds {
            if run.rng.random_bool(0.7) {
                second.p50_us *= run.rng.random_range(1.0..30.0);
                second.p99_us = run.rng.random_range(3_000.0..40_000.0);
            }
        }
        let found = run.findings();
        assert!(
            matches!(found[..], [Finding::Neighbor { share, p99_us, .. }]
                if (0.4..0.9).contains(&share) && (3_000.0..40_000.0).contains(&p99_us)),
            "seed {seed}: {found:?}"
        );
    });
}

#[test]
fn drift_is_no_fall() {
    each(120, |seed, mut run| {
        run.scale(0, |at| (f64::from(at) / 120.0 * 4f64.ln()).exp());
        let found = run.findings();
        assert!(
            matches!(found[..], [Finding::Drift { from_us, to_us, .. }] if (2.0..8.0).contains(&(to_us / from_us))),
            "seed {seed}: {found:?}"
        );
    });
}

#[test]
fn the_longest_write_is_known_also_where_it_is_not_among_those_kept() {
    let second =
        |at: u32, max_ms: f64, doubt| Second { at, max_us: max_ms * 1e3, doubt, ..Second::default() };
    let write = |at: f64, ms: f64, cpu_ms: f64| LongWrite { at, ms, cpu_ms };
    let mut time = OverTime {
        rate: 1.0,
        achieved: 1.0,
        steady: measure::Timeline::new(),
        sync: measure::Latencies::new(),
        syncs: measure::Timeline::new(),
        spans: Vec::new(),
        seconds: vec![
            second(0, 3_000.0, Some(Doubt::Disturbed)),
            second(1, 80.0, None),
            second(2, 700.0, None),
            second(3, 900.0, Some(Doubt::OthersWrote)),
        ],
        // As many as are kept, and all of them longer than what matters.
        long: vec![write(0.1, 3_000.0, 0.0), write(2.1, 700.0, 650.0)],
        findings: Vec::new(),
    };
    assert_eq!(time.longest_ms(), 80.0, "neither what was disturbed, nor what waited for a CPU");
    time.seconds.push(second(4, 450.0, None));
    assert_eq!(time.longest_ms(), 450.0);
    time.long.push(write(1.5, 500.0, 1.0));
    assert_eq!(time.longest_ms(), 500.0);
}

#[test]
fn every_finding_says_what_it_means() {
    let findings = [
        Finding::Fall { at: 30, before_us: 90.0, after_us: 9_000.0 },
        Finding::PeriodicStalls { period_s: 10.0, length_ms: 400.0, count: 6 },
        Finding::Stall { at: 12.0, length_ms: 1000.0 },
        Finding::Neighbor { share: 0.6, quiet_us: 90.0, p99_us: 9_000.0 },
        Finding::Drift { from_us: 90.0, to_us: 300.0, seconds: 60 },
    ];
    let texts: Vec<String> = findings.iter().map(Finding::text).collect();
    assert!(
        texts[0].contains("after 30 s") && texts[0].contains("11111 against 111 a second"),
        "{}",
        texts[0]
    );
    assert!(texts[1].contains("every 10.0 s") && texts[1].contains("400 ms"), "{}", texts[1]);
    assert!(texts[2].contains("1.00 s"), "{}", texts[2]);
    assert!(texts[3].contains("60 %") && texts[3].contains("9.00 ms"), "{}", texts[3]);
    for (finding, text) in findings.iter().zip(texts) {
        let json = serde_json::to_string(finding).unwrap();
        assert_eq!(&serde_json::from_str::<Finding>(&json).unwrap(), finding, "{text}");
    }
}
