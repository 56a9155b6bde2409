//! Events on their way from apply to the watchers: encoded once, shared by all who see them.

use std::sync::OnceLock;

use api::mvccpb::KeyValue;
use bytes::{BufMut, Bytes, BytesMut};
use engine::{Change, ChangeKind, StoredChange, View};
use prost::Message;

/// Everything one batch of applied requests changed, in revision order.
#[derive(Debug)]
pub struct EventBatch {
    events: Vec<WatchEvent>,
}

impl EventBatch {
    /// The changes of a batch, in order. `None` when there are none: a batch always has a first and a last revision.
    pub fn new(changes: impl Iterator<Item = Change>) -> Option<EventBatch> {
        let events: Vec<_> = changes.map(WatchEvent::new).collect();
        debug_assert!(events.is_sorted_by_key(|event| event.revision));
        (!events.is_empty()).then_some(EventBatch { events })
    }

    pub(super) fn events(&self) -> &[WatchEvent] {
        &self.events
    }

    /// Main revision of the first event.
    pub fn first(&self) -> i64 {
        self.events[0].revision()
    }

    /// Main revision of the last event.
    pub fn last(&self) -> i64 {
        self.events[self.events.len() - 1].revision()
    }
}

/// One event and its encodings.
#[derive(Debug)]
pub(super) struct WatchEvent {
    revision: i64,
    delete: bool,
    key: Bytes,
    record: Bytes,
    /// Whether the key may have existed before; history says whether it did.
    may_have_previous: bool,
    plain: OnceLock<Bytes>,
    /// With the previous key-value; falls back to `plain` where there is none.
    with_previous: OnceLock<Bytes>,
}

const EVENTS_TAG: u8 = 11 << 3 | 2; // WatchResponse.events
const TYPE_TAG: u8 = 1 << 3; // Event.type
const KV_TAG: u8 = 2 << 3 | 2; // Event.kv
const PREV_KV_TAG: u8 = 3 << 3 | 2; // Event.prev_kv
const DELETE: u8 = 1;

impl WatchEvent {
    fn new(change: Change) -> WatchEvent {
        WatchEvent {
            revision: change.revision.main,
            delete: change.kind == ChangeKind::Delete,
            key: change.key,
            record: change.record,
            may_have_previous: change.prev.is_some(),
            plain: OnceLock::new(),
            with_previous: OnceLock::new(),
        }
    }

    /// An event read back from history.
    pub(super) fn stored(change: &StoredChange<'_>) -> WatchEvent {
        WatchEvent {
            revision: change.revision.main,
            delete: change.kind == ChangeKind::Delete,
            key: Bytes::copy_from_slice(change.key),
            record: Bytes::copy_from_slice(change.record),
            may_have_previous: !creates(change.record),
            plain: OnceLock::new(),
            with_previous: OnceLock::new(),
        }
    }

    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    pub(super) fn key(&self) -> &Bytes {
        &self.key
    }

    pub(super) fn is_delete(&self) -> bool {
        self.delete
    }

    /// The event as a field of WatchResponse, tag and length included.
    pub(super) fn encoded(&self) -> Bytes {
        self.plain.get_or_init(|| encode(self.delete, &self.record, None)).clone()
    }

    /// The same with the previous key-value, if the event has one and history still knows it.
    pub(super) fn encoded_with_previous(&self, view: &View) -> Result<Bytes, engine::Error> {
        if let Some(done) = self.with_previous.get() {
            return Ok(done.clone());
        }
        let encoded = match self.previous(view)? {
            Some(record) => encode(self.delete, &self.record, Some(record)),
            None => self.encoded(),
        };
        Ok(self.with_previous.get_or_init(|| encoded).clone())
    }

    /// The key-value as it was before: absent for a key that is new, and when that revision is compacted.
    fn previous<'v>(&self, view: &'v View) -> Result<Option<&'v [u8]>, engine::Error> {
        let before = self.revision - 1;
        if !self.may_have_previous || before < view.compact_revision() || self.begins_a_generation() {
            return Ok(None);
        }
        match view.get(&self.key, before)? {
            Some(item) => item.record().map(Some),
            None => Ok(None),
        }
    }

    /// etcd's IsCreate. Such a put has no previous key-value even if the same transaction deleted one.
    fn begins_a_generation(&self) -> bool {
        let created = |kv: KeyValue| kv.create_revision == self.revision;
        !self.delete && KeyValue::decode(self.record.clone()).is_ok_and(created)
    }
}

/// Whether a stored key-value begins a generation. As in etcd such an event has no previous key-value, also when the
/// same transaction deleted the key before.
fn creates(record: &[u8]) -> bool {
    // Records were written by us and checked when they were read; one that does not decode has no version either.
    api::mvccpb::KeyValue::decode(record).is_ok_and(|kv| kv.version == 1)
}

fn encode(delete: bool, record: &[u8], previous: Option<&[u8]>) -> Bytes {
    let field = |bytes: &[u8]| 1 + varint_length(bytes.len()) + bytes.len();
    let kind = if delete { 2 } else { 0 };
    let length = kind + field(record) + previous.map_or(0, field);
    let mut out = BytesMut::with_capacity(1 + varint_length(length) + length);
    out.put_u8(EVENTS_TAG);
    put_varint(&mut out, length);
    if delete {
        out.put_slice(&[TYPE_TAG, DELETE]);
    }
    out.put_u8(KV_TAG);
    put_varint(&mut out, record.len());
    out.put_slice(record);
    if let Some(previous) = previous {
        out.put_u8(PREV_KV_TAG);
        put_varint(&mut out, previous.len());
        out.put_slice(previous);
    }
    out.freeze()
}

fn put_varint(out: &mut BytesMut, number: usize) {
    prost::encoding::encode_varint(number as u64, out);
}

fn varint_length(number: usize) -> usize {
    prost::encoding::encoded_len_varint(number as u64)
}
