//! Static and dynamic table.

use std::collections::VecDeque;

/// What an entry costs besides its bytes (RFC 7541, 4.1).
const OVERHEAD: usize = 32;

/// Appendix A; the first has index 1.
pub(super) const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// A name and its value.
type Entry = (Box<[u8]>, Box<[u8]>);

/// Entries both sides remember, the newest first.
pub(super) struct Dynamic {
    entries: VecDeque<Entry>,
    bytes: usize,
    most: usize,
}

impl Dynamic {
    pub(super) fn new(most: usize) -> Dynamic {
        Dynamic { entries: VecDeque::new(), bytes: 0, most }
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Whether an entry fits without another one having to go.
    pub(super) fn has_room(&self, name: &[u8], value: &[u8]) -> bool {
        self.bytes + cost(name, value) <= self.most
    }

    /// Puts an entry in front; the oldest go until there is room. One larger than the table empties it and is not kept.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        let cost = cost(name, value);
        self.shrink(self.most.saturating_sub(cost));
        if cost <= self.most {
            self.entries.push_front((name.into(), value.into()));
            self.bytes += cost;
        }
    }

    pub(super) fn resize(&mut self, most: usize) {
        self.most = most;
        self.shrink(most);
    }

    fn shrink(&mut self, to: usize) {
        while self.bytes > to {
            let (name, value) = self.entries.pop_back().expect("bytes are the entries'");
            self.bytes -= cost(&name, &value);
        }
    }

    /// The entry with an index that counts on from the static table's.
    pub(super) fn get(&self, index: usize) -> Option<(&[u8], &[u8])> {
        match STATIC.get(index.checked_sub(1)?) {
            Some((name, value)) => Some((name.as_bytes(), value.as_bytes())),
            None => self.entries.get(index - 1 - STATIC.len()).map(|(name, value)| (&name[..], &value[..])),
        }
    }

    /// The index of this very field, or of another field with its name.
    pub(super) fn find(&self, name: &[u8], value: &[u8]) -> Found {
        let fixed = STATIC.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let own = self.entries.iter().map(|(name, value)| (&name[..], &value[..]));
        let mut found = Found::Nothing;
        for (at, (one, its_value)) in fixed.chain(own).enumerate() {
            if one == name && its_value == value {
                return Found::Field(at + 1);
            }
            if one == name && matches!(found, Found::Nothing) {
                found = Found::Name(at + 1);
            }
        }
        found
    }
}

/// What is in the table of a field.
pub(super) enum Found {
    /// All of it.
    Field(usize),
    /// Its name.
    Name(usize),
    /// Nothing.
    Nothing,
}

fn cost(name: &[u8], value: &[u8]) -> usize {
    name.len() + value.len() + OVERHEAD
}
