//! Numbers as people write them: three digits that matter, the unit that fits.

/// Three digits that matter; whole numbers in groups of three.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 {
        let digits = format!("{size:.0}");
        let mut text = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        return if value < 0.0 { format!("-{text}") } else { text };
    }
    let decimals = match size {
        10.0.. => 1,
        0.1.. => 2,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    match text.trim_end_matches('0').trim_end_matches('.') {
        "" | "-" | "-0" => "0".to_owned(),
        short if text.contains('.') => short.to_owned(),
        _ => text,
    }
}

/// A rate or count: beyond ten thousand, digits after the third are noise.
pub fn rounded(value: f64) -> String {
    if value.abs() < 10_000.0 {
        return number(value);
    }
    let scale = 10f64.powi(value.abs().log10().floor() as i32 - 2);
    number((value / scale).round() * scale)
}

/// A latency in the unit that fits: `850 us`, `1.25 ms`, `3.2 s`.
pub fn micros(value: f64) -> String {
    // Bounds a little below the next unit, so that nothing is rounded to `1,000 us`.
    let (value, unit) = match value.abs() {
        999_500.0.. => (value / 1e6, "s"),
        999.5.. => (value / 1e3, "ms"),
        0.9995.. => (value, "us"),
        0.0 => (value, "us"),
        _ => (value * 1e3, "ns"),
    };
    format!("{} {unit}", number(value))
}

/// A length of time: `400 ms`, `12.5 s`, `3 min 20 s`, `2 h 5 min`.
pub fn seconds(value: f64) -> String {
    let whole = value.round() as u64;
    match whole {
        0..=119 => micros(value * 1e6),
        120..=7199 if whole.is_multiple_of(60) => format!("{} min", whole / 60),
        120..=7199 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A size in binary units: `512 B`, `8 KiB`, `1.5 GiB`.
pub fn bytes(value: u64) -> String {
    let mut size = value as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].into_iter().peekable();
    while let Some(unit) = units.next() {
        if size < 1023.5 || units.peek().is_none() {
            return format!("{} {unit}", number(size));
        }
        size /= 1024.0;
    }
    unreachable!("the last unit takes everything")
}

/// A share of one: `12 %`.
pub fn percent(share: f64) -> String {
    format!("{} %", number(share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_write_them() {
        let written =
            [0.0, 0.004, 0.5, 1.25, 9.999, 12.34, 100.0, 1234.0, 400_000.0, 5e6, -1500.0].map(number);
        let expected =
            ["0", "0.004", "0.5", "1.25", "10", "12.3", "100", "1,234", "400,000", "5,000,000", "-1,500"];
        assert_eq!(written, expected);
        assert_eq!([9_876.0, 12_345.0, 987_654.0].map(rounded), ["9,876", "12,300", "988,000"]);
    }

    #[test]
    fn latencies_have_the_unit_that_fits() {
        let written = [0.0, 0.25, 1.0, 850.4, 999.7, 1250.0, 12_345.0, 999_600.0, 3.2e6].map(micros);
        let expected = ["0 us", "250 ns", "1 us", "850 us", "1 ms", "1.25 ms", "12.3 ms", "1 s", "3.2 s"];
        assert_eq!(written, expected);
        assert_eq!(
            [0.4, 12.5, 200.0, 240.0, 7500.0].map(seconds),
            ["400 ms", "12.5 s", "3 min 20 s", "4 min", "2 h 5 min"]
        );
    }

    #[test]
    fn sizes_and_shares() {
        let written = [0, 512, 1023, 1024, 8192, 3 << 29, u64::MAX].map(bytes);
        assert_eq!(written, ["0 B", "512 B", "1,023 B", "1 KiB", "8 KiB", "1.5 GiB", "16,384 PiB"]);
        assert_eq!(percent(0.1234), "12.3 %");
    }
}
