//! Durations in Go's notation: `300ms`, `1m30s`, `1.5h`. Negative ones exist, so nanoseconds are signed.

use super::quote;

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Nanoseconds.
pub(crate) fn parse_duration(text: &[u8]) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (negative, mut rest) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    if rest == b"0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = leading_digits(rest);
        let (fraction, after) = match after.split_first() {
            Some((b'.', tail)) => leading_digits(tail),
            _ => (&b""[..], after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_end = after.iter().position(|b| *b == b'.' || b.is_ascii_digit()).unwrap_or(after.len());
        if unit_end == 0 {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let (name, tail) = after.split_at(unit_end);
        let unit = UNITS.iter().find(|(unit, _)| unit.as_bytes() == name).map(|(_, nanos)| *nanos);
        let Some(unit) = unit else {
            return Err(format!("time: unknown unit {} in duration {}", quote(name), quote(text)));
        };
        let part = value_of(whole, fraction, unit).and_then(|part| total.checked_add(part));
        total = part.filter(|&nanos| nanos <= 1 << 63).ok_or_else(invalid)?;
        rest = tail;
    }
    match (negative, i64::try_from(total)) {
        (true, Ok(nanos)) => Ok(-nanos),
        (true, Err(_)) => Ok(i64::MIN),
        (false, nanos) => nanos.map_err(|_| invalid()),
    }
}

fn leading_digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len()))
}

fn value_of(whole: &[u8], fraction: &[u8], unit: u64) -> Option<u64> {
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_u64, |n, d| n.checked_mul(10)?.checked_add(u64::from(d - b'0')))
    };
    let whole = number(whole)?.checked_mul(unit)?;
    // Digits beyond the 18th cannot matter to a nanosecond count.
    let fraction = &fraction[..fraction.len().min(18)];
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u128::from(number(fraction)?) * u128::from(unit) / scale;
    whole.checked_add(u64::try_from(part).ok()?)
}

/// Shortest exact form, as `Duration.String` gives it.
pub(crate) fn format_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let n = nanos.unsigned_abs();
    let text = match n {
        0 => return "0s".to_owned(),
        1..1_000 => format!("{n}ns"),
        1_000..1_000_000 => format!("{}\u{b5}s", decimal(n, 3)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(n, 6)),
        _ => {
            let (hours, minutes) = (n / 3_600_000_000_000, n / 60_000_000_000 % 60);
            let seconds = decimal(n % 60_000_000_000, 9);
            match (hours, minutes) {
                (0, 0) => format!("{seconds}s"),
                (0, _) => format!("{minutes}m{seconds}s"),
                _ => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{text}")
}

/// `n` / 10^places without trailing zeros.
fn decimal(n: u64, places: u32) -> String {
    let unit = 10_u64.pow(places);
    let fraction = format!("{:0width$}", n % unit, width = places as usize);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { (n / unit).to_string() } else { format!("{}.{fraction}", n / unit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        for (text, nanos, printed) in [
            ("5s", 5_000_000_000, "5s"),
            ("0", 0, "0s"),
            ("1.5h", 5_400_000_000_000, "1h30m0s"),
            ("90s", 90_000_000_000, "1m30s"),
            ("-300ms", -300_000_000, "-300ms"),
            ("1h2m3.004s", 3_723_004_000_000, "1h2m3.004s"),
            ("8503100ns", 8_503_100, "8.5031ms"),
            ("1.5us", 1_500, "1.5\u{b5}s"),
            (".5s", 500_000_000, "500ms"),
        ] {
            assert_eq!(parse_duration(text.as_bytes()), Ok(nanos), "{text}");
            assert_eq!(format_duration(nanos), printed);
        }
    }

    #[test]
    fn errors_have_gos_text() {
        for (text, expected) in [
            ("3", "time: missing unit in duration \"3\""),
            ("", "time: invalid duration \"\""),
            ("x", "time: invalid duration \"x\""),
            ("3x", "time: unknown unit \"x\" in duration \"3x\""),
            (".s", "time: invalid duration \".s\""),
            ("9999999999h", "time: invalid duration \"9999999999h\""),
        ] {
            assert_eq!(parse_duration(text.as_bytes()).unwrap_err(), expected);
        }
    }
}
