//! The Huffman code of RFC 7541, Appendix B. It is canonical (codes of one length are consecutive, in the order of their
//! symbols), so the lengths say it all.

use super::Broken;

/// Length of each byte's code in bits. The end of string has 30 and comes last.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26,
];

const LONGEST: usize = 30;

/// For each length: its first code, how many there are, and where their symbols begin in `SYMBOLS`.
const RANGES: [(u32, u32, u16); LONGEST + 1] = ranges();
/// Bytes in the order of their codes.
const SYMBOLS: [u8; 256] = symbols();

const fn ranges() -> [(u32, u32, u16); LONGEST + 1] {
    let mut ranges = [(0, 0, 0); LONGEST + 1];
    let (mut code, mut start, mut length) = (0u32, 0u16, 1);
    while length <= LONGEST {
        code <<= 1;
        let (mut count, mut byte) = (0u32, 0);
        while byte < 256 {
            if LENGTHS[byte] as usize == length {
                count += 1;
            }
            byte += 1;
        }
        ranges[length] = (code, count, start);
        code += count;
        start += count as u16;
        length += 1;
    }
    ranges
}

const fn symbols() -> [u8; 256] {
    let mut symbols = [0; 256];
    let (mut at, mut length) = (0, 1);
    while length <= LONGEST {
        let mut byte = 0;
        while byte < 256 {
            if LENGTHS[byte] as usize == length {
                symbols[at] = byte as u8;
                at += 1;
            }
            byte += 1;
        }
        length += 1;
    }
    symbols
}

/// Appends what `coded` stands for.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
    let (mut code, mut length) = (0u32, 0usize);
    for byte in coded {
        for bit in (0..8).rev() {
            code = code << 1 | u32::from(byte >> bit & 1);
            length += 1;
            let (first, count, start) = RANGES[length];
            if let Some(offset) = code.checked_sub(first).filter(|offset| *offset < count) {
                out.push(SYMBOLS[usize::from(start) + offset as usize]);
                (code, length) = (0, 0);
            } else if length == LONGEST {
                // All ones is the end of string, which must not be sent; there is no other code.
                return Err(Broken::Huffman);
            }
        }
    }
    // Padding: less than a byte, and the beginning of the end of string.
    if length < 8 && code == (1 << length) - 1 { Ok(()) } else { Err(Broken::Huffman) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coded: &[u8]) -> Result<String, Broken> {
        let mut out = Vec::new();
        decode(coded, &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn decodes_the_examples_of_the_standard() {
        let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&coded), Ok("www.example.com".to_owned()));
        assert_eq!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]), Ok("no-cache".to_owned()));
        let date = [
            0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81, 0x66,
            0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
        ];
        assert_eq!(decoded(&date), Ok("Mon, 21 Oct 2013 20:13:21 GMT".to_owned()));
    }

    #[test]
    fn refuses_wrong_padding_and_the_end_of_string() {
        // 'a' is 00011: three bits of padding must be ones.
        assert_eq!(decoded(&[0b0001_1111]), Ok("a".to_owned()));
        assert_eq!(decoded(&[0b0001_1110]), Err(Broken::Huffman));
        // A whole byte of padding.
        assert_eq!(decoded(&[0b0001_1111, 0xff]), Err(Broken::Huffman));
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(Broken::Huffman));
    }

    #[test]
    fn every_byte_has_its_own_code() {
        let mut all = SYMBOLS;
        all.sort_unstable();
        assert!(all.iter().enumerate().all(|(at, byte)| at == usize::from(*byte)));
        // The code is complete: with the end of string, everything of 30 bits is used up.
        let (first, count, _) = RANGES[LONGEST];
        assert_eq!(first + count, (1 << LONGEST) - 1);
    }
}
