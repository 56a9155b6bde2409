//! As much of a `WatchResponse` as a load has to look at, read without copying.

use super::super::answer::{Field, Fields, Garbled, header_revision};

/// All but the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Response<'b> {
    pub(crate) revision: i64,
    pub(crate) watch_id: i64,
    pub(crate) created: bool,
    pub(crate) canceled: bool,
    pub(crate) compact_revision: i64,
    pub(crate) cancel_reason: &'b [u8],
    message: &'b [u8],
}

/// One event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event<'b> {
    pub(crate) is_delete: bool,
    pub(crate) kv: Kv<'b>,
    pub(crate) prev_kv: Option<Kv<'b>>,
}

/// A key's record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kv<'b> {
    pub(crate) key: &'b [u8],
    pub(crate) mod_revision: i64,
    pub(crate) version: i64,
    pub(crate) value: &'b [u8],
}

const EVENTS: u64 = 11;

impl<'b> Response<'b> {
    pub(crate) fn read(message: &'b [u8]) -> Result<Response<'b>, Garbled> {
        let mut response = Response { message, ..Response::default() };
        let mut fields = Fields(message);
        while let Some(field) = fields.next()? {
            match field {
                (1, Field::Bytes(header)) => response.revision = header_revision(header)?,
                (2, Field::Number(id)) => response.watch_id = id.cast_signed(),
                (3, Field::Number(created)) => response.created = created != 0,
                (4, Field::Number(canceled)) => response.canceled = canceled != 0,
                (5, Field::Number(revision)) => response.compact_revision = revision.cast_signed(),
                (6, Field::Bytes(reason)) => response.cancel_reason = reason,
                _ => {}
            }
        }
        Ok(response)
    }

    /// Why it was canceled, in a line.
    pub(crate) fn why(&self) -> String {
        let reason = String::from_utf8_lossy(self.cancel_reason);
        match (self.compact_revision, &reason[..]) {
            (0, "") => "a watch was canceled without a reason".to_owned(),
            (0, reason) => format!("a watch was canceled: {reason}"),
            (at, _) => {
                format!("a watch was canceled: what it has not seen yet was compacted at revision {at}")
            }
        }
    }

    /// Hands over its events, in their order.
    pub(crate) fn events(&self, mut each: impl FnMut(Event<'b>)) -> Result<(), Garbled> {
        let mut fields = Fields(self.message);
        while let Some(field) = fields.next()? {
            if let (EVENTS, Field::Bytes(event)) = field {
                each(Event::read(event)?);
            }
        }
        Ok(())
    }
}

impl<'b> Event<'b> {
    fn read(message: &'b [u8]) -> Result<Event<'b>, Garbled> {
        let mut event = Event::default();
        let mut fields = Fields(message);
        while let Some(field) = fields.next()? {
            match field {
                (1, Field::Number(kind)) => event.is_delete = kind == 1,
                (2, Field::Bytes(kv)) => event.kv = Kv::read(kv)?,
                (3, Field::Bytes(kv)) => event.prev_kv = Some(Kv::read(kv)?),
                _ => {}
            }
        }
        Ok(event)
    }
}

impl<'b> Kv<'b> {
    pub(crate) fn read(message: &'b [u8]) -> Result<Kv<'b>, Garbled> {
        let mut kv = Kv::default();
        let mut fields = Fields(message);
        while let Some(field) = fields.next()? {
            match field {
                (1, Field::Bytes(key)) => kv.key = key,
                (3, Field::Number(revision)) => kv.mod_revision = revision.cast_signed(),
                (4, Field::Number(version)) => kv.version = version.cast_signed(),
                (5, Field::Bytes(value)) => kv.value = value,
                _ => {}
            }
        }
        Ok(kv)
    }
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::{ResponseHeader, WatchResponse};
    use api::mvccpb;
    use prost::Message;

    use super::*;

    #[test]
    fn reads_what_the_generated_types_write() {
        let kv = |revision, value: &'static str| mvccpb::KeyValue {
            key: "k".into(),
            create_revision: 2,
            mod_revision: revision,
            version: 3,
            value: value.into(),
            lease: 9,
        };
        let put = mvccpb::Event { r#type: 0, kv: Some(kv(8, "new")), prev_kv: Some(kv(7, "old")) };
        let delete = mvccpb::Event { r#type: 1, kv: Some(kv(9, "")), prev_kv: None };
        let header = Some(ResponseHeader { cluster_id: 1, member_id: 2, revision: 9, raft_term: 4 });
        let message =
            WatchResponse { header, watch_id: 5, events: vec![put, delete], ..WatchResponse::default() };
        let message = message.encode_to_vec();
        let response = Response::read(&message).unwrap();
        assert_eq!((response.revision, response.watch_id, response.created), (9, 5, false));
        let mut events = Vec::new();
        response.events(|event| events.push(event)).unwrap();
        let read = |revision, value: &'static str| Kv {
            key: b"k",
            mod_revision: revision,
            version: 3,
            value: value.as_bytes(),
        };
        let expected = [
            Event { is_delete: false, kv: read(8, "new"), prev_kv: Some(read(7, "old")) },
            Event { is_delete: true, kv: read(9, ""), prev_kv: None },
        ];
        assert_eq!(events, expected);
        for length in 0..message.len() {
            // Cut short it is garbled or says less.
            let _ = Response::read(&message[..length]).and_then(|cut| cut.events(|_| {}));
        }
        let end = WatchResponse { canceled: true, compact_revision: 6, ..WatchResponse::default() };
        assert!(Response::read(&end.encode_to_vec()).unwrap().why().contains("compacted at revision 6"));
    }
}
