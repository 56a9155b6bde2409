//! Is what arrives a whole snapshot? After the database come the 32 bytes of its SHA-256; every message says how many bytes of the
//! database are left behind it.

use sha2::{Digest, Sha256};

use super::super::answer::{Field, Fields, Garbled};
use super::super::workload::{GARBLED, Wrong};

/// Of SHA-256.
const HASH_BYTES: usize = 32;

const REMAINING: Wrong = "wrong snapshot: remaining_bytes does not go with the bytes that came";

/// What has come of one snapshot.
#[derive(Default)]
pub(super) struct Check {
    hash: Sha256,
    /// Of the database, as the first message says.
    total: Option<u64>,
    /// Of the database.
    received: u64,
    /// Behind it.
    trailer: Vec<u8>,
}

impl Check {
    /// Takes in a `SnapshotResponse` and returns how many bytes it brought.
    pub(super) fn message(&mut self, message: &[u8]) -> Result<u64, Wrong> {
        let (mut remaining, mut blob) = (0, &[][..]);
        let mut fields = Fields(message);
        while let Some(field) = fields.next().map_err(|Garbled| GARBLED)? {
            match field {
                (2, Field::Number(number)) => remaining = number,
                (3, Field::Bytes(bytes)) => blob = bytes,
                _ => {}
            }
        }
        let length = blob.len() as u64;
        let total = *self.total.get_or_insert(length.saturating_add(remaining));
        if self.received < total {
            if length > total - self.received || remaining != total - self.received - length {
                return Err(REMAINING);
            }
            self.hash.update(blob);
            self.received += length;
        } else {
            if remaining != 0 {
                return Err(REMAINING);
            }
            if self.trailer.len() + blob.len() > HASH_BYTES {
                return Err("wrong snapshot: more bytes came than were announced");
            }
            self.trailer.extend_from_slice(blob);
        }
        Ok(length)
    }

    /// The stream has ended.
    pub(super) fn end(self) -> Result<(), Wrong> {
        let hash = self.hash.finalize();
        match self.total {
            None => Err("wrong snapshot: it is empty"),
            Some(total) if self.received < total => Err("wrong snapshot: it ended before all bytes had come"),
            _ if self.trailer.len() < HASH_BYTES => Err("wrong snapshot: it ended without the SHA-256"),
            _ if self.trailer[..] != hash[..] => {
                Err("wrong snapshot: its SHA-256 is not that of the bytes that came")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::SnapshotResponse;
    use prost::Message;

    use super::*;

    /// A snapshot as etcd cuts it.
    fn messages(database: &[u8], piece: usize) -> Vec<SnapshotResponse> {
        let mut left = database.len();
        let mut messages: Vec<SnapshotResponse> = database
            .chunks(piece)
            .map(|chunk| {
                left -= chunk.len();
                SnapshotResponse {
                    remaining_bytes: left as u64,
                    blob: chunk.to_vec().into(),
                    ..SnapshotResponse::default()
                }
            })
            .collect();
        let hash = Sha256::digest(database).to_vec();
        messages.push(SnapshotResponse { blob: hash.into(), ..SnapshotResponse::default() });
        messages
    }

    fn check(messages: &[SnapshotResponse]) -> Result<u64, Wrong> {
        let mut check = Check::default();
        let mut bytes = 0;
        for message in messages {
            bytes += check.message(&message.encode_to_vec())?;
        }
        check.end().map(|()| bytes)
    }

    #[test]
    fn whole_snapshots_pass_and_every_damage_is_found() {
        let database: Vec<u8> = (0..10_000u32).map(|byte| byte as u8).collect();
        let whole = messages(&database, 4096);
        assert_eq!(check(&whole), Ok(10_032));
        assert_eq!(check(&messages(&database, 5000)), Ok(10_032));
        let damaged = |damage: fn(&mut Vec<SnapshotResponse>)| {
            let mut messages = whole.clone();
            damage(&mut messages);
            check(&messages).unwrap_err()
        };
        assert!(damaged(|all| drop(all.remove(1))).contains("remaining_bytes"));
        assert!(damaged(|all| all.swap(0, 1)).contains("remaining_bytes"));
        assert!(damaged(|all| all[1].remaining_bytes += 1).contains("remaining_bytes"));
        assert!(damaged(|all| all[1].blob = vec![0; 4096].into()).contains("is not that of the bytes"));
        assert!(damaged(|all| all[3].blob = vec![7; 32].into()).contains("is not that of the bytes"));
        assert!(damaged(|all| drop(all.pop())).contains("without the SHA-256"));
        assert!(damaged(|all| all.truncate(2)).contains("before all bytes"));
        assert!(damaged(|all| all.push(all[3].clone())).contains("more bytes"));
        assert!(damaged(Vec::clear).contains("empty"));
    }
}
