//! Header blocks of requests.

use super::DEFAULT_TABLE_BYTES;
use super::table::{Dynamic, Found};

/// What this side of a connection has put into the server's table.
pub(in super::super) struct Encoder {
    table: Dynamic,
    /// The next block must tell the server that the table has shrunk.
    shrunk: bool,
    /// Counts insertions and resizes: blocks that were encoded before are void after.
    generation: u64,
}

impl Encoder {
    pub(in super::super) fn new() -> Encoder {
        Encoder { table: Dynamic::new(DEFAULT_TABLE_BYTES), shrunk: false, generation: 0 }
    }

    /// The server's SETTINGS_HEADER_TABLE_SIZE. The table never grows: what is sent fits in far less than the default.
    pub(in super::super) fn limit(&mut self, bytes: usize) {
        if bytes < self.table.most() {
            self.table.resize(bytes);
            self.shrunk = true;
            self.generation += 1;
        }
    }

    /// A block made before may be sent again as long as this stays the same.
    pub(in super::super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the next block has to begin with a change of the table's size, and so can't be one made before.
    pub(in super::super) fn must_announce(&self) -> bool {
        self.shrunk
    }

    /// Appends a block with these fields.
    pub(in super::super) fn encode<'f>(
        &mut self,
        fields: impl Iterator<Item = (&'f str, &'f str)>,
        out: &mut Vec<u8>,
    ) {
        if std::mem::take(&mut self.shrunk) {
            number(self.table.most(), 5, 0x20, out);
            self.generation += 1;
        }
        for (name, value) in fields {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            let named = match self.table.find(name, value) {
                Found::Field(index) => {
                    number(index, 7, 0x80, out);
                    continue;
                }
                Found::Name(index) => index,
                Found::Nothing => 0,
            };
            // Nothing is ever driven out: what does not fit is sent in full each time.
            let keep = self.table.has_room(name, value);
            if keep {
                number(named, 6, 0x40, out)
            } else {
                number(named, 4, 0, out)
            }
            if named == 0 {
                string(name, out);
            }
            string(value, out);
            if keep {
                self.table.insert(name, value);
                self.generation += 1;
            }
        }
    }
}

/// An integer with a prefix of `bits`, the bits above it set as in `first` (RFC 7541, 5.1).
fn number(mut value: usize, bits: u8, first: u8, out: &mut Vec<u8>) {
    let most = (1 << bits) - 1;
    if value < most {
        out.push(first | value as u8);
        return;
    }
    out.push(first | most as u8);
    value -= most;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn string(bytes: &[u8], out: &mut Vec<u8>) {
    number(bytes.len(), 7, 0, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::super::Decoder;
    use super::*;

    const FIELDS: [(&str, &str); 5] = [
        (":method", "POST"),
        (":path", "/etcdserverpb.KV/Put"),
        (":authority", "127.0.0.1:2379"),
        ("te", "trailers"),
        ("token", "abcdefgh.12"),
    ];

    fn read(decoder: &mut Decoder, block: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        decoder.decode(block, |name, value| fields.push((text(name), text(value)))).unwrap();
        fields
    }

    fn written(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_second_block_is_a_byte_a_field() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        let mut block = Vec::new();
        encoder.encode(FIELDS.into_iter(), &mut block);
        assert_eq!(read(&mut decoder, &block), written(&FIELDS));
        let generation = encoder.generation();
        block.clear();
        encoder.encode(FIELDS.into_iter(), &mut block);
        assert_eq!(block.len(), FIELDS.len());
        assert_eq!(encoder.generation(), generation);
        assert_eq!(read(&mut decoder, &block), written(&FIELDS));
    }

    #[test]
    fn a_smaller_table_is_announced_and_kept_to() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        let mut block = Vec::new();
        encoder.encode(FIELDS.into_iter(), &mut block);
        read(&mut decoder, &block);
        for bytes in [100, 0] {
            encoder.limit(bytes);
            for _ in 0..3 {
                block.clear();
                encoder.encode(FIELDS.into_iter(), &mut block);
                assert_eq!(read(&mut decoder, &block), written(&FIELDS));
            }
        }
        assert_eq!(encoder.table.most(), 0);
    }

    #[test]
    fn numbers_are_as_in_the_standard() {
        let mut out = Vec::new();
        number(10, 5, 0, &mut out);
        number(1337, 5, 0, &mut out);
        number(42, 8, 0, &mut out);
        assert_eq!(out, [0b01010, 0b11111, 0b1001_1010, 0b1010, 42]);
    }
}
