//! Double-quoted string literals: the `%q` of `Printf` and what `strconv.Unquote` takes.

use std::fmt::Write;

/// `%q` of these bytes.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push_escaped(&mut out, c));
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}").expect("a string takes everything");
        }
    }
    out.push('"');
    out
}

fn push_escaped(out: &mut String, c: char) {
    let short = match c {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\x07' => "\\a",
        '\x08' => "\\b",
        '\x0c' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\x0b' => "\\v",
        _ => "",
    };
    if !short.is_empty() {
        out.push_str(short);
    } else if is_printable(c) {
        out.push(c);
    } else {
        let code = u32::from(c);
        match code {
            0..0x20 | 0x7f => write!(out, "\\x{code:02x}"),
            0..0x10000 => write!(out, "\\u{code:04x}"),
            _ => write!(out, "\\U{code:08x}"),
        }
        .expect("a string takes everything");
    }
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII space. Rust's `Debug` escapes what is not
/// printable or extends the character before it, which leaves the marks to be let through.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    if matches!(u32::from(c), 0x300..0x370) {
        return true;
    }
    !c.is_whitespace() && c.escape_debug().count() == 1
}

/// The bytes of a literal in double quotes or backquotes at the start of `text`, and what follows it.
///
/// `None`: there is no such literal, or it is malformed.
pub(crate) fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    match text.first()? {
        b'`' => {
            let end = text[1..].iter().position(|&b| b == b'`')? + 1;
            Some((text[1..end].iter().copied().filter(|&b| b != b'\r').collect(), &text[end + 1..]))
        }
        b'"' => unquote_double(&text[1..]),
        _ => None,
    }
}

fn unquote_double(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut out = Vec::new();
    loop {
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        match byte {
            b'"' => return Some((out, rest)),
            b'\n' => return None,
            b'\\' => rest = unescape(rest, &mut out)?,
            _ => out.push(byte),
        }
    }
}

/// One escape sequence, its backslash already taken.
fn unescape<'t>(text: &'t [u8], out: &mut Vec<u8>) -> Option<&'t [u8]> {
    let (&kind, rest) = text.split_first()?;
    let digits = |count: usize, radix: u32, from: &'t [u8]| -> Option<(u32, &'t [u8])> {
        let digits = std::str::from_utf8(from.get(..count)?).ok()?;
        digits.chars().all(|c| c.is_digit(radix)).then_some(())?;
        Some((u32::from_str_radix(digits, radix).ok()?, &from[count..]))
    };
    let mut push_char = |code: u32| -> Option<()> {
        let c = char::from_u32(code)?;
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        Some(())
    };
    let simple = match kind {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'\\' => b'\\',
        b'"' => b'"',
        b'u' | b'U' => {
            let (code, rest) = digits(if kind == b'u' { 4 } else { 8 }, 16, rest)?;
            push_char(code)?;
            return Some(rest);
        }
        b'x' => {
            let (code, rest) = digits(2, 16, rest)?;
            out.push(u8::try_from(code).ok()?);
            return Some(rest);
        }
        b'0'..=b'7' => {
            let (code, rest) = digits(3, 8, text)?;
            out.push(u8::try_from(code).ok()?);
            return Some(rest);
        }
        _ => return None,
    };
    out.push(simple);
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        for (bytes, expected) in [
            (&b"plain"[..], r#""plain""#),
            (b"a\"b\\", r#""a\"b\\""#),
            (b"\0\x01\n\t\x7f", r#""\x00\x01\n\t\x7f""#),
            (b"\xff\xc3\xa9", "\"\\xff\u{e9}\""),
            ("\u{a0}\u{200b}\u{feff}".as_bytes(), r#""\u00a0\u200b\ufeff""#),
            ("\u{65e5}\u{1f600}e\u{301}".as_bytes(), "\"\u{65e5}\u{1f600}e\u{301}\""),
            ("\u{e0001}".as_bytes(), r#""\U000e0001""#),
        ] {
            assert_eq!(quote(bytes), expected);
        }
    }

    #[test]
    fn unquotes_what_it_quoted_and_keeps_the_rest() {
        for bytes in [&b"plain"[..], b"", b"a\"b\\", b"\0\x01\xff\n"] {
            let text = quote(bytes) + ") tail";
            assert_eq!(unquote(text.as_bytes()), Some((bytes.to_vec(), &b") tail"[..])));
        }
        assert_eq!(unquote(br#""\x41\101\u0042\U00000043""#), Some((b"AABC".to_vec(), &b""[..])));
        assert_eq!(unquote(b"`a\\n`x"), Some((b"a\\n".to_vec(), &b"x"[..])));
    }

    #[test]
    fn refuses_malformed_literals() {
        for bad in [r#""open"#, r#""\'""#, r#""\x4""#, r#""\q""#, r#""\ud800""#, "bare", "", "\"a\nb\""] {
            assert_eq!(unquote(bad.as_bytes()), None, "{bad}");
        }
    }
}
