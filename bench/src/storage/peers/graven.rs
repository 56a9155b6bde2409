//! Graven itself: engine and log, with the upkeep of a member.

use std::path::Path;

use engine::{End, KeyRange};

use super::Peer;
use crate::error::Result;
use crate::storage::entry::Batch;
use crate::storage::member::{Member, MemberOptions, engine_file};

struct Graven {
    member: Member,
    batch: Batch,
}

pub(super) fn open(dir: &Path, options: MemberOptions) -> Result<Box<dyn Peer>> {
    let member = match engine_file(dir).exists() {
        true => Member::open(dir, options)?.0,
        false => Member::create(dir, options)?,
    };
    Ok(Box::new(Graven { member, batch: Batch::default() }))
}

impl Peer for Graven {
    fn put(&mut self, _first: u64, puts: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        for (key, value) in puts {
            self.batch.put(key, value);
        }
        self.member.commit(&mut self.batch)?;
        self.member.upkeep().map(drop)
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<usize>> {
        let view = self.member.reader().view();
        let found = view.get(key, 0)?;
        Ok(match found {
            Some(item) => Some(item.record()?.len()),
            None => None,
        })
    }

    fn range(&mut self, from: &[u8], limit: usize, answer: &mut Vec<u8>) -> Result<usize> {
        let view = self.member.reader().view();
        let mut items = view.range(&KeyRange { start: from.to_vec().into(), end: End::Unbounded }, 0);
        let mut count = 0;
        while count < limit
            && let Some(item) = items.try_next()?
        {
            answer.extend_from_slice(item.record()?);
            count += 1;
        }
        Ok(count)
    }

    fn compact(&mut self) -> Result<u64> {
        let before = self.member.counters().dropped;
        self.member.compact(self.member.revision())?;
        self.member.settle()?;
        Ok(self.member.counters().dropped - before)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.member.close()
    }
}
