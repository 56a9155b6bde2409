//! Header blocks of answers.

use super::table::Dynamic;
use super::{Broken, DEFAULT_TABLE_BYTES, huffman};

/// Bytes of all names and values of a block.
pub(super) const MOST_BYTES: usize = 64 << 10;
/// Bytes of a number beyond its prefix: enough for 28 bits.
const MOST_DIGITS: u32 = 4;

/// What the server has put into this side's table.
pub(in super::super) struct Decoder {
    table: Dynamic,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    pub(in super::super) fn new() -> Decoder {
        Decoder { table: Dynamic::new(DEFAULT_TABLE_BYTES), name: Vec::new(), value: Vec::new() }
    }

    /// Hands over every field of a block. After an error the connection is of no more use.
    pub(in super::super) fn decode(
        &mut self,
        block: &[u8],
        mut field: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), Broken> {
        let mut rest = block;
        let (mut bytes, mut at_start) = (0, true);
        while let Some(first) = rest.first().copied() {
            if first & 0xe0 == 0x20 {
                let size = number(&mut rest, 5)?;
                if !at_start || size > DEFAULT_TABLE_BYTES {
                    return Err(Broken::Resize);
                }
                self.table.resize(size);
                continue;
            }
            at_start = false;
            if first & 0x80 != 0 {
                let (name, value) = self.table.get(number(&mut rest, 7)?).ok_or(Broken::Index)?;
                bytes += name.len() + value.len();
                field(name, value);
            } else {
                let keep = first & 0x40 != 0;
                let index = number(&mut rest, if keep { 6 } else { 4 })?;
                self.name.clear();
                self.value.clear();
                if index == 0 {
                    string(&mut rest, &mut self.name)?;
                } else {
                    self.name.extend_from_slice(self.table.get(index).ok_or(Broken::Index)?.0);
                }
                string(&mut rest, &mut self.value)?;
                bytes += self.name.len() + self.value.len();
                field(&self.name, &self.value);
                if keep {
                    self.table.insert(&self.name, &self.value);
                }
            }
            if bytes > MOST_BYTES {
                return Err(Broken::TooLarge);
            }
        }
        Ok(())
    }
}

/// An integer with a prefix of `bits`.
fn number(rest: &mut &[u8], bits: u8) -> Result<usize, Broken> {
    let mut take = || {
        let (first, others) = rest.split_first().ok_or(Broken::Short)?;
        *rest = others;
        Ok(*first)
    };
    let most = (1 << bits) - 1;
    let mut value = usize::from(take()?) & most;
    if value < most {
        return Ok(value);
    }
    for digit in 0..MOST_DIGITS {
        let byte = take()?;
        value += usize::from(byte & 0x7f) << (7 * digit);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Broken::Number)
}

fn string(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
    let coded = rest.first().ok_or(Broken::Short)? & 0x80 != 0;
    let length = number(rest, 7)?;
    let (bytes, others) = rest.split_at_checked(length).ok_or(Broken::Short)?;
    *rest = others;
    if coded {
        return huffman::decode(bytes, out);
    }
    out.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(decoder: &mut Decoder, block: &[u8]) -> Result<String, Broken> {
        let mut out = String::new();
        decoder.decode(block, |name, value| {
            out.push_str(&format!("{}: {}\n", String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
        })?;
        Ok(out)
    }

    #[test]
    fn decodes_the_examples_of_the_standard() {
        // RFC 7541, C.6: responses with Huffman coding and a table of 256 bytes.
        let mut decoder = Decoder::new();
        let mut first =
            vec![0x3f, 0xe1, 0x01, 0x48, 0x82, 0x64, 0x02, 0x58, 0x85, 0xae, 0xc3, 0x77, 0x1a, 0x4b, 0x61];
        first.extend_from_slice(&[
            0x96, 0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95,
        ]);
        first.extend_from_slice(&[
            0x04, 0x0b, 0x81, 0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff, 0x6e, 0x91, 0x9d,
        ]);
        first.extend_from_slice(&[
            0x29, 0xad, 0x17, 0x18, 0x63, 0xc7, 0x8f, 0x0b, 0x97, 0xc8, 0xe9, 0xae, 0x82,
        ]);
        first.extend_from_slice(&[0xae, 0x43, 0xd3]);
        assert_eq!(
            text(&mut decoder, &first).unwrap(),
            ":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n\
             location: https://www.example.com\n"
        );
        let second = [0x48, 0x83, 0x64, 0x0e, 0xff, 0xc1, 0xc0, 0xbf];
        assert_eq!(
            text(&mut decoder, &second).unwrap(),
            ":status: 307\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n\
             location: https://www.example.com\n"
        );
        // The second block drove the first's status out.
        assert_eq!(text(&mut decoder, &[0x80 | 66]), Err(Broken::Index));
    }

    #[test]
    fn what_breaks_a_rule_is_an_error() {
        let cases: &[(&[u8], Broken)] = &[
            (&[0x80], Broken::Index),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], Broken::Number),
            (&[0x40, 0x05, b'a'], Broken::Short),
            (&[0x7f], Broken::Short),
            (&[0x3f, 0xe2, 0x1f], Broken::Resize),
            (&[0x88, 0x20], Broken::Resize),
            (&[0x08, 0x84, 0xff, 0xff, 0xff, 0xff], Broken::Huffman),
        ];
        for (block, wrong) in cases {
            assert_eq!(text(&mut Decoder::new(), block), Err(*wrong), "{block:x?}");
        }
        // A table of one large value, named again and again.
        let mut block = vec![0x40, 0x01, b'a', 0x7f, 0xe1, 0x0e];
        block.extend(vec![b'v'; 2016]);
        block.extend(vec![0x80 | 62; 40]);
        assert_eq!(text(&mut Decoder::new(), &block), Err(Broken::TooLarge));
    }
}
