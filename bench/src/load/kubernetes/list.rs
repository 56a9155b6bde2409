//! A paged list: each page goes on behind the last key of the one before, at the revision of the first.

use bytes::Bytes;

use super::super::answer;
use super::super::workload::{GARBLED, NO_REVISION, OLD, Wrong};
use super::requests;
use super::resource::end_of;

const ODD_PAGE: Wrong = "wrong answer: a list's page, its count and `more` contradict each other";
const ODD_KEYS: Wrong = "wrong answer: a list's keys are not the ones asked for, in order";
pub(super) const ODD_COUNT: Wrong =
    "wrong answer: a list or count found more or fewer objects than were written up to its revision";

/// A list under way.
#[derive(Clone, Debug)]
pub(super) struct List {
    prefix: String,
    limit: i64,
    /// Where the next page begins.
    from: Bytes,
    /// Of the first page; 0 before it is there.
    revision: i64,
    /// How many are still to come.
    left: i64,
    /// How many there were in all.
    count: i64,
}

/// What a page has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// There is one more.
    More,
    /// The list had so many, at that revision.
    End { revision: i64, count: i64 },
}

impl List {
    pub(super) fn new(prefix: String, limit: i64) -> List {
        let from = Bytes::copy_from_slice(prefix.as_bytes());
        List { prefix, limit, from, revision: 0, left: 0, count: 0 }
    }

    /// The request for the next page.
    pub(super) fn request(&self) -> Vec<u8> {
        requests::page(self.from.clone(), end_of(&self.prefix), self.limit, self.revision)
    }

    /// A page has come; `seen` is the highest revision that was answered before it was asked for.
    pub(super) fn page(&mut self, answer: &[u8], seen: i64) -> Result<Turned, Wrong> {
        let page = answer::range(answer).map_err(|_| GARBLED)?;
        if page.revision <= 0 {
            return Err(NO_REVISION);
        }
        if page.revision < seen {
            return Err(OLD);
        }
        if self.revision == 0 {
            (self.revision, self.left, self.count) = (page.revision, page.count, page.count);
        }
        let kvs = page.kvs.cast_signed();
        if page.count != self.left || kvs != self.left.min(self.limit) || page.more != (kvs < self.left) {
            return Err(ODD_PAGE);
        }
        let is_within = |key: &[u8]| key >= &self.from[..] && key.starts_with(self.prefix.as_bytes());
        if kvs > 0 && !(page.is_sorted && is_within(page.first) && is_within(page.last)) {
            return Err(ODD_KEYS);
        }
        if !page.more {
            return Ok(Turned::End { revision: self.revision, count: self.count });
        }
        self.left -= kvs;
        self.from = [page.last, &[0]].concat().into();
        Ok(Turned::More)
    }
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::{RangeResponse, ResponseHeader};
    use api::mvccpb::KeyValue;
    use prost::Message;

    use super::*;

    fn page(revision: i64, keys: &[&'static str], count: i64, more: bool) -> Vec<u8> {
        let kvs = keys.iter().map(|key| KeyValue { key: (*key).into(), ..KeyValue::default() }).collect();
        let header = Some(ResponseHeader { revision, ..ResponseHeader::default() });
        RangeResponse { header, kvs, more, count }.encode_to_vec()
    }

    #[test]
    fn pages_add_up_to_what_the_first_has_counted() {
        let mut list = List::new("/p/".to_owned(), 2);
        assert_eq!(list.page(&page(9, &["/p/a", "/p/b"], 3, true), 0), Ok(Turned::More));
        assert_eq!((&list.from[..], list.revision), (&b"/p/b\0"[..], 9));
        assert_eq!(list.page(&page(12, &["/p/c"], 1, false), 12), Ok(Turned::End { revision: 9, count: 3 }));
        let empty = List::new("/p/".to_owned(), 2).page(&page(9, &[], 0, false), 0);
        assert_eq!(empty, Ok(Turned::End { revision: 9, count: 0 }));
    }

    #[test]
    fn every_lie_is_found() {
        let mut begun = List::new("/p/".to_owned(), 2);
        assert_eq!(begun.page(&page(9, &["/p/b", "/p/c"], 4, true), 0), Ok(Turned::More));
        let lies = [
            (page(9, &["/p/d", "/p/e"], 3, true), ODD_PAGE),
            (page(9, &["/p/d"], 2, true), ODD_PAGE),
            (page(9, &["/p/d", "/p/e"], 2, true), ODD_PAGE),
            (page(8, &["/p/d", "/p/e"], 2, false), OLD),
            (page(9, &["/p/c", "/p/e"], 2, false), ODD_KEYS),
            (page(9, &["/p/e", "/p/d"], 2, false), ODD_KEYS),
            (page(9, &["/p/d", "/q/e"], 2, false), ODD_KEYS),
            (page(0, &["/p/d", "/p/e"], 2, false), NO_REVISION),
            (vec![0xff], GARBLED),
        ];
        for (lie, why) in lies {
            assert_eq!(begun.clone().page(&lie, 9), Err(why));
        }
    }
}
