//! Numbers and truth values as Go's strconv takes them, with its error texts.

use super::quote;

/// `strconv.ParseInt(text, base, 64)`; base 0 reads the base from a prefix and allows underscores.
pub(crate) fn parse_int(text: &[u8], base: u32) -> Result<i64, String> {
    let error = |what: &str| format!("strconv.ParseInt: parsing {}: {what}", quote(text));
    let syntax = || error("invalid syntax");
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let (base, digits) =
        if base == 0 { detect_base(digits).ok_or_else(syntax)? } else { (base, digits.to_vec()) };
    if digits.is_empty() {
        return Err(syntax());
    }
    let mut value: i128 = 0;
    for digit in digits {
        let digit = char::from(digit).to_digit(base).ok_or_else(syntax)?;
        value = (value * i128::from(base) + i128::from(digit)).min(1 << 100);
    }
    i64::try_from(if negative { -value } else { value }).map_err(|_| error("value out of range"))
}

/// The base a prefix names, and the digits without prefix and underscores.
fn detect_base(digits: &[u8]) -> Option<(u32, Vec<u8>)> {
    let (base, rest) = match digits {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        [b'0', b'b' | b'B', rest @ ..] => (2, rest),
        [b'0', b'o' | b'O', rest @ ..] => (8, rest),
        [b'0', rest @ ..] if !rest.is_empty() => (8, rest),
        _ => return Some((10, underscore_free(digits, false)?)),
    };
    Some((base, underscore_free(rest, true)?))
}

/// Underscores may stand between digits, and after a prefix.
fn underscore_free(digits: &[u8], after_prefix: bool) -> Option<Vec<u8>> {
    let mut previous_is_digit = after_prefix;
    let mut out = Vec::new();
    for &digit in digits {
        if digit == b'_' {
            if !previous_is_digit {
                return None;
            }
            previous_is_digit = false;
        } else {
            previous_is_digit = true;
            out.push(digit);
        }
    }
    // A base prefix alone, or an underscore at the end, is malformed.
    (previous_is_digit && digits.contains(&b'_') || !digits.contains(&b'_')).then_some(out)
}

/// `strconv.ParseBool`.
pub(crate) fn parse_bool(text: &[u8]) -> Result<bool, String> {
    match text {
        b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True" => Ok(true),
        b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {}: invalid syntax", quote(text))),
    }
}

/// Bytes in powers of 1000, rounded as etcdctl shows them: `20 kB`, `2.1 GB`.
pub(crate) fn byte_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let exponent = bytes.ilog(1000) as usize;
    let unit = 1000_u64.pow(u32::try_from(exponent).expect("at most 6"));
    // The figure is for people: a rounding of the 53rd bit does not show.
    let value = (bytes as f64 / unit as f64 * 10.0 + 0.5).floor() / 10.0;
    if value < 10.0 {
        format!("{value:.1} {}", UNITS[exponent])
    } else {
        format!("{value:.0} {}", UNITS[exponent])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_in_a_named_and_in_a_detected_base() {
        for (text, base, value) in [
            ("0", 10, 0),
            ("-12", 10, -12),
            ("+7", 10, 7),
            ("7fffffffffffffff", 16, i64::MAX),
            ("-8000000000000000", 16, i64::MIN),
            ("0x1F", 0, 31),
            ("0b11", 0, 3),
            ("0o17", 0, 15),
            ("017", 0, 15),
            ("1_000", 0, 1000),
            ("0x_f", 0, 15),
            ("0", 0, 0),
        ] {
            assert_eq!(parse_int(text.as_bytes(), base), Ok(value), "{text}");
        }
    }

    #[test]
    fn errors_have_gos_text() {
        for (text, base) in [
            ("", 10),
            ("x", 10),
            ("1_0", 10),
            ("0x", 0),
            ("1__0", 0),
            ("_1", 0),
            ("1_", 0),
            ("09", 0),
            ("-", 0),
        ] {
            let expected = format!("strconv.ParseInt: parsing \"{text}\": invalid syntax");
            assert_eq!(parse_int(text.as_bytes(), base), Err(expected));
        }
        assert_eq!(
            parse_int(b"9223372036854775808", 10).unwrap_err(),
            "strconv.ParseInt: parsing \"9223372036854775808\": value out of range"
        );
        assert_eq!(parse_bool(b"yes").unwrap_err(), "strconv.ParseBool: parsing \"yes\": invalid syntax");
    }

    #[test]
    fn byte_sizes() {
        for (bytes, expected) in [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (20480, "20 kB"),
            (16384, "16 kB"),
            (2_147_483_648, "2.1 GB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(byte_size(bytes), expected);
        }
    }
}
