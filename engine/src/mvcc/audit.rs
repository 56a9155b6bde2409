//! Proof that heads, records and leases agree with each other. The tree's own check proves that the pages do.

use super::Revision;
use super::contents::{Contents, decode_head};
use super::record::{KeyValue, Record};
use super::records::{Finder, Lead, decode_dropped, revision_of};
use crate::btree::Weight;
use crate::error::Error;
use crate::schema;

/// Enough to see what is wrong.
const MOST_FINDINGS: usize = 100;

impl Contents<'_> {
    /// Looks at every head, record and lease entry, and says what contradicts what; empty when all agree.
    pub fn audit(&self) -> Result<Vec<String>, Error> {
        let mut findings = Vec::new();
        let leased = self.audit_heads(&mut findings)?;
        self.audit_records(&mut findings)?;
        self.audit_dropped(&mut findings)?;
        self.audit_leases(leased, &mut findings)?;
        findings.truncate(MOST_FINDINGS);
        Ok(findings)
    }

    /// Every head is what its newest record says. Returns how many keys have a lease.
    fn audit_heads(&self, findings: &mut Vec<String>) -> Result<usize, Error> {
        let mut leased = 0;
        let finder = Finder::for_many(self)?;
        let mut cursor = self.cursor(schema::KEYS);
        let mut found = cursor.first()?;
        while found && findings.len() < MOST_FINDINGS {
            let key = cursor.key();
            let stored = decode_head(key, cursor.value()?)?;
            let (head, revision, name) = (stored.head, stored.revision(), key.escape_ascii());
            let record = self.record(revision)?;
            let kv = KeyValue::parse(record.event());
            let same = kv.is_some_and(|kv| {
                (kv.key, kv.create, kv.modified) == (key, head.create, head.modified)
                    && (kv.version, kv.lease) == (head.version, head.lease)
            });
            if !same || record.is_tombstone() != stored.deleted {
                findings.push(format!("head of \"{name}\" is {stored:?}, its record says {kv:?}"));
            }
            let misled = match finder.lead(revision, stored.spot) {
                Ok(Lead::Record(bytes)) => Record::parse(revision, bytes)
                    .is_none_or(|there| !std::ptr::eq(there.event(), record.event())),
                Ok(Lead::Open(_) | Lead::Extent(..)) => false,
                Err(Error::Inconsistent { .. }) => true,
                Err(error) => return Err(error),
            };
            if misled {
                findings.push(format!("head of \"{name}\" looks for its record elsewhere: {stored:?}"));
            }
            if (cursor.weight() == Weight::Dead) != stored.deleted || head.modified > self.revision() {
                findings.push(format!("head of \"{name}\" weighs {:?}: {stored:?}", cursor.weight()));
            }
            if head.lease != 0 {
                leased += 1;
                let entry = [&head.lease.to_be_bytes()[..], key].concat();
                if self.lookup(schema::LEASE_KEYS, &entry)?.is_none() {
                    findings.push(format!("lease {} does not know its key \"{name}\"", head.lease));
                }
            }
            found = cursor.next()?;
        }
        Ok(leased)
    }

    /// Every record has a head that is not older, and what it names as the one before is of the same key.
    fn audit_records(&self, findings: &mut Vec<String>) -> Result<(), Error> {
        let mut records = self.records(Revision::new(0, 0));
        while findings.len() < MOST_FINDINGS {
            let Some(record) = records.try_next()? else { break };
            let revision = record.revision;
            let key = record.key().unwrap_or_default();
            let newest = match self.lookup(schema::KEYS, key)? {
                Some(bytes) => Some(decode_head(key, bytes)?.revision()),
                None => None,
            };
            if newest.is_none_or(|newest| newest < revision) {
                findings.push(format!("{revision:?} of \"{}\" has head {newest:?}", key.escape_ascii()));
            }
            match record.previous() {
                None => {}
                Some(Err(_)) => findings.push(format!("{revision:?} has a link that leads nowhere")),
                Some(Ok(previous)) => match self.find_record(previous)? {
                    Some(before) if before.key() != Some(key) => {
                        findings.push(format!("{revision:?} is linked to {previous:?} of another key"));
                    }
                    None if previous.main > self.compact_revision() => {
                        findings.push(format!("{previous:?}, the one before {revision:?}, is missing"));
                    }
                    _ => {}
                },
            }
        }
        Ok(())
    }

    /// What was dropped belongs to an extent that still has something else, and adds up.
    fn audit_dropped(&self, findings: &mut Vec<String>) -> Result<(), Error> {
        let mut bytes = 0;
        let mut cursor = self.cursor(schema::DROPPED);
        let mut found = cursor.first()?;
        while found && findings.len() < MOST_FINDINGS {
            let first = revision_of(cursor.key())?;
            let dropped = decode_dropped(first, cursor.value()?)?;
            bytes += u64::from(dropped.bytes);
            let extent = self.extent_of(first)?.filter(|extent| extent.first == first);
            let sum = extent.map(|extent| {
                let has = (0..extent.len()).filter(|index| dropped.has(*index));
                has.fold((0, 0), |(n, sum), index| (n + 1, sum + extent.record_bytes(index)))
            });
            if sum != Some((dropped.records as usize, dropped.bytes as usize))
                || extent.is_none_or(|extent| extent.len() == dropped.records as usize)
            {
                findings
                    .push(format!("of the extent of {first:?} was dropped {dropped:?}, there is {sum:?}"));
            }
            found = cursor.next()?;
        }
        if findings.is_empty() && bytes != self.dropped_bytes() {
            findings.push(format!("{bytes} bytes were dropped, the state says {}", self.dropped_bytes()));
        }
        Ok(())
    }

    /// There are no more lease entries than keys with a lease.
    fn audit_leases(&self, leased: usize, findings: &mut Vec<String>) -> Result<(), Error> {
        let mut entries = 0;
        let mut cursor = self.cursor(schema::LEASE_KEYS);
        let mut found = cursor.first()?;
        while found {
            entries += 1;
            found = cursor.next()?;
        }
        if findings.is_empty() && entries != leased {
            findings.push(format!("{entries} keys are attached to leases, {leased} say so"));
        }
        Ok(())
    }
}
