//! A line of an interactive command split into words, with single and double quotes.

use super::go::unquote;

/// Words are separated by white space; a word that begins with a quote ends with it. A quote that is never
/// closed is passed over.
///
/// `None`: a double-quoted word is not a valid literal.
pub(crate) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(&first) = rest.first() {
        let length = match first {
            b'"' => double_quoted(rest),
            b'\'' => rest[1..].iter().position(|&b| b == b'\'').map(|end| end + 2),
            _ if is_space(first) => None,
            _ => Some(rest.iter().position(|&b| is_space(b)).unwrap_or(rest.len())),
        };
        let Some(length) = length else {
            rest = &rest[1..];
            continue;
        };
        let (word, tail) = rest.split_at(length);
        words.push(match first {
            b'"' => unquote(word)?.0,
            b'\'' => word[1..length - 1].to_vec(),
            _ => word.to_vec(),
        });
        rest = tail;
    }
    Some(words)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c)
}

/// Length with both quotes; a backslash takes the next byte with it.
fn double_quoted(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => {
                text.get(at + 1).filter(|&&next| next != b'\n')?;
                at += 2;
            }
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits() {
        for (line, expected) in [
            ("put a b", &["put", "a", "b"][..]),
            ("  put\ta   b ", &["put", "a", "b"]),
            (r#"put "a b" 'c d'"#, &["put", "a b", "c d"]),
            (r#"put "a\n\x41" ''"#, &["put", "a\nA", ""]),
            (r#"a"b c'd"#, &["a\"b", "c'd"]),
            (r#""a"b"#, &["a", "b"]),
            (r#"put "open"#, &["put", "open"]),
            ("it's", &["it's"]),
            ("' x", &["x"]),
            ("", &[]),
        ] {
            let words = split(line.as_bytes()).unwrap();
            let expected: Vec<_> = expected.iter().map(|word| word.as_bytes().to_vec()).collect();
            assert_eq!(words, expected, "{line}");
        }
        assert_eq!(split(br#"put "\q" b"#), None);
    }
}
