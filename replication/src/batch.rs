//! What an entry's data looks like: who made it, and one or many proposals.
//!
//! ```text
//! proposals:   version u8 = 1 | origin u64 | incarnation u64 | sequence u64 | count u32 | count x (length u32 | bytes)
//! membership:  a protobuf raft ConfChange { 2: type, 3: member id, 4: context }, where the context is
//!              version u8 = 1 | origin u64 | incarnation u64 | sequence u64 | kind u8 | member id u64 | bytes
//! ```
//!
//! All numbers are little-endian. Empty data is the first entry of a new leader. The origin tells the member that
//! holds the callers' tickets, which start of it (its seed), and which of its batches this is; the other members
//! don't look at it. The detour over protobuf is because raft itself looks into a membership entry that is proposed.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::Error;
use crate::membership::{MembershipChange, MembershipKind};

const VERSION: u8 = 1;
const HEADER: usize = 1 + 3 * 8;

/// Bytes an entry needs beyond its proposals, and per proposal.
pub(crate) const BATCH_OVERHEAD: usize = HEADER + 4;
pub(crate) const PROPOSAL_OVERHEAD: usize = 4;

/// Names a batch in the whole cluster, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BatchId {
    pub(crate) origin: u64,
    pub(crate) incarnation: u64,
    pub(crate) sequence: u64,
}

impl BatchId {
    fn encode(self, out: &mut impl BufMut) {
        out.put_u8(VERSION);
        out.put_u64_le(self.origin);
        out.put_u64_le(self.incarnation);
        out.put_u64_le(self.sequence);
    }

    fn decode(data: &mut Bytes, what: &'static str) -> Result<BatchId, Error> {
        if data.len() < HEADER {
            return Err(malformed(what, "too short"));
        }
        let version = data.get_u8();
        if version != VERSION {
            return Err(malformed(what, format!("version {version}, this program knows {VERSION}")));
        }
        Ok(BatchId { origin: data.get_u64_le(), incarnation: data.get_u64_le(), sequence: data.get_u64_le() })
    }
}

fn malformed(what: &'static str, why: impl Into<String>) -> Error {
    Error::Malformed { what, why: why.into() }
}

const BATCH: &str = "batch of proposals";
const CHANGE: &str = "membership entry";

/// Puts proposals together into the data of one entry.
pub(crate) struct BatchWriter {
    data: BytesMut,
    count: u32,
}

impl BatchWriter {
    pub(crate) fn with_capacity(bytes: usize) -> BatchWriter {
        let mut data = BytesMut::with_capacity(bytes.max(BATCH_OVERHEAD));
        data.put_bytes(0, BATCH_OVERHEAD);
        BatchWriter { data, count: 0 }
    }

    pub(crate) fn push(&mut self, proposal: impl Buf) {
        let length = u32::try_from(proposal.remaining()).expect("the queue takes no proposal of 4 GiB");
        self.data.put_u32_le(length);
        self.data.put(proposal);
        self.count += 1;
    }

    /// Bytes so far.
    pub(crate) fn size(&self) -> usize {
        self.data.len()
    }

    /// The data of an entry with this name.
    pub(crate) fn finish(mut self, id: BatchId) -> Bytes {
        let mut head = &mut self.data[..BATCH_OVERHEAD];
        id.encode(&mut head);
        head.put_u32_le(self.count);
        self.data.freeze()
    }

    /// The proposals so far.
    pub(crate) fn proposals(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.data[BATCH_OVERHEAD..];
        (0..self.count).map(move |_| {
            let length = rest.get_u32_le() as usize;
            rest.split_off(..length).expect("as it was pushed")
        })
    }
}

/// A decoded batch: iterates over its proposals, which share the entry's memory. Whether every length fits has been
/// checked before the first is handed out.
pub(crate) struct Batch {
    pub(crate) id: BatchId,
    rest: Bytes,
    left: u32,
}

impl Batch {
    pub(crate) fn decode(mut data: Bytes) -> Result<Batch, Error> {
        let id = BatchId::decode(&mut data, BATCH)?;
        if data.len() < 4 {
            return Err(malformed(BATCH, "too short"));
        }
        let count = data.get_u32_le();
        let mut rest: &[u8] = &data;
        for number in 0..count {
            let length = rest.try_get_u32_le().map(|length| length as usize);
            match length {
                Ok(length) if length <= rest.len() => rest.advance(length),
                _ => return Err(malformed(BATCH, format!("proposal {number} of {count} is cut off"))),
            }
        }
        if !rest.is_empty() {
            return Err(malformed(BATCH, format!("{} bytes after the last proposal", rest.len())));
        }
        Ok(Batch { id, rest: data, left: count })
    }
}

impl Iterator for Batch {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.left = self.left.checked_sub(1)?;
        let length = self.rest.get_u32_le() as usize;
        Some(self.rest.split_to(length))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Batch {}

fn kind_number(kind: MembershipKind) -> u8 {
    match kind {
        MembershipKind::AddVoter => 0,
        MembershipKind::Remove => 1,
        MembershipKind::AddLearner => 2,
        MembershipKind::Update => 3,
    }
}

/// raft's type and member id of a change. An update is none of raft's business: it knows no member 0.
fn raft_view(change: &MembershipChange) -> (u64, u64) {
    match change.kind {
        MembershipKind::Update => (0, 0),
        kind => (u64::from(kind_number(kind)), change.member_id),
    }
}

/// The data of a membership entry.
pub(crate) fn encode_change(id: BatchId, change: &MembershipChange) -> Bytes {
    let mut context = BytesMut::with_capacity(HEADER + 9 + change.context.len());
    id.encode(&mut context);
    context.put_u8(kind_number(change.kind));
    context.put_u64_le(change.member_id);
    context.put_slice(&change.context);

    let (raft_type, raft_id) = raft_view(change);
    let mut data = BytesMut::with_capacity(context.len() + 24);
    for (tag, value) in [(0x10, raft_type), (0x18, raft_id), (0x22, context.len() as u64)] {
        data.put_u8(tag);
        put_varint(&mut data, value);
    }
    data.put_slice(&context);
    data.freeze()
}

/// Decodes exactly what `encode_change` writes.
pub(crate) fn decode_change(mut data: Bytes) -> Result<(BatchId, MembershipChange), Error> {
    let mut fields = [0; 3];
    for (tag, value) in [0x10, 0x18, 0x22].into_iter().zip(&mut fields) {
        if data.try_get_u8() != Ok(tag) {
            return Err(malformed(CHANGE, format!("no field {}", tag >> 3)));
        }
        *value = take_varint(&mut data).ok_or_else(|| malformed(CHANGE, "bad number"))?;
    }
    let [raft_type, raft_id, length] = fields;
    if length != data.len() as u64 {
        return Err(malformed(CHANGE, format!("context of {length} bytes, {} are there", data.len())));
    }
    let id = BatchId::decode(&mut data, CHANGE)?;
    if data.len() < 9 {
        return Err(malformed(CHANGE, "too short"));
    }
    let kind = match data.get_u8() {
        0 => MembershipKind::AddVoter,
        1 => MembershipKind::Remove,
        2 => MembershipKind::AddLearner,
        3 => MembershipKind::Update,
        other => return Err(malformed(CHANGE, format!("kind {other}"))),
    };
    let change = MembershipChange { kind, member_id: data.get_u64_le(), context: data };
    if change.member_id == 0 || raft_view(&change) != (raft_type, raft_id) {
        return Err(malformed(CHANGE, "raft's part contradicts ours"));
    }
    Ok((id, change))
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn take_varint(data: &mut Bytes) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = data.try_get_u8().ok()?;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            return None;
        }
        value |= part << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: BatchId = BatchId { origin: 0x8e9e_05c5_2164_694d, incarnation: 7, sequence: 300 };

    fn batch(proposals: &[&[u8]]) -> Bytes {
        let mut writer = BatchWriter::with_capacity(0);
        proposals.iter().for_each(|proposal| writer.push(*proposal));
        assert!(writer.proposals().eq(proposals.iter().copied()));
        writer.finish(ID)
    }

    #[test]
    fn proposals_come_back() {
        let proposals: [&[u8]; 3] = [b"one", b"", b"three"];
        let batch = Batch::decode(batch(&proposals)).unwrap();
        assert_eq!((batch.id, batch.len()), (ID, 3));
        assert!(batch.eq(proposals));
    }

    #[test]
    fn any_cut_or_surplus_is_refused() {
        let good = batch(&[b"one", b"two"]);
        for length in 0..good.len() {
            assert!(Batch::decode(good.slice(..length)).is_err(), "cut to {length}");
        }
        let mut long = good.to_vec();
        long.push(0);
        assert!(Batch::decode(long.into()).is_err());
    }

    #[test]
    fn another_version_is_refused() {
        let mut data = batch(&[b"one"]).to_vec();
        data[0] = 2;
        let error = Batch::decode(data.into()).err().unwrap();
        assert!(error.to_string().contains("version 2"), "{error}");
    }

    #[test]
    fn changes_come_back() {
        for kind in [
            MembershipKind::AddVoter,
            MembershipKind::AddLearner,
            MembershipKind::Remove,
            MembershipKind::Update,
        ] {
            let change = MembershipChange { kind, member_id: ID.origin, context: Bytes::from_static(b"who") };
            let data = encode_change(ID, &change);
            assert_eq!(decode_change(data.clone()).unwrap(), (ID, change.clone()));
            for length in 0..data.len() - 3 {
                assert!(decode_change(data.slice(..length)).is_err(), "{kind:?} cut to {length}");
            }
        }
    }

    #[test]
    fn a_change_that_tells_raft_something_else_is_refused() {
        let change = MembershipChange { kind: MembershipKind::Remove, member_id: 5, context: Bytes::new() };
        let mut data = encode_change(ID, &change).to_vec();
        data[1] = 0;
        assert!(decode_change(data.into()).is_err());
    }
}
