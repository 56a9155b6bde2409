//! Plays the scripts of `testscripts/{range,txn,lease}`: requests as text, and what comes out of them.
//!
//! ```text
//! > txn if create a = 0; value b..c > x then put a 1; get a..; (if version z = 0 then del z) else get a
//! ```
//!
//! `a..c` is a range, `a..` everything from `a` on. With UPDATE_TESTSCRIPTS set the answers are written anew.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::response_op::Response;
use api::etcdserverpb::*;
use api::mvccpb::KeyValue;
use bytes::{Bytes, BytesMut};
use engine::ChangeKind;
use prost::Message;
use replication::{Leadership, StateMachine};

use super::rig::{Answer, Rig};
use super::{Errand, Ticket};
use crate::grpc::Status;
use crate::kv::{Failure, Operation, append_range, check_delete, check_put, check_range, check_txn};
use crate::lease::ExpiredLease;

/// The words of a command, read one after the other.
struct Words<'t> {
    words: std::iter::Peekable<std::vec::IntoIter<&'t str>>,
}

impl<'t> Words<'t> {
    fn of(text: &'t str) -> Words<'t> {
        let mut words = Vec::new();
        for word in text.split_whitespace() {
            let opening = word.len() - word.trim_start_matches('(').len();
            words.extend(std::iter::repeat_n("(", opening));
            let word = &word[opening..];
            let bare = word.trim_end_matches([')', ';']);
            if !bare.is_empty() {
                words.push(bare);
            }
            words.extend(word[bare.len()..].split("").filter(|mark| !mark.is_empty()));
        }
        Words { words: words.into_iter().peekable() }
    }

    fn next(&mut self) -> &'t str {
        self.words.next().expect("a word")
    }

    fn number<N: std::str::FromStr<Err: std::fmt::Debug>>(&mut self) -> N {
        self.next().parse().expect("a number")
    }

    fn take(&mut self, word: &str) -> bool {
        self.words.next_if(|next| *next == word).is_some()
    }

    /// A word of the current operation: not one that ends it.
    fn option(&mut self) -> Option<&'t str> {
        self.words.next_if(|next| !matches!(*next, ";" | ")" | "then" | "else"))
    }

    fn key(&mut self) -> (Bytes, Bytes) {
        let word = self.next();
        let bytes = |text: &str| Bytes::copy_from_slice(if text == "''" { "" } else { text }.as_bytes());
        match word.split_once("..") {
            None => (bytes(word), Bytes::new()),
            Some((key, "")) => {
                (if key.is_empty() { Bytes::from_static(b"\0") } else { bytes(key) }, "\0".into())
            }
            Some((key, end)) => (bytes(key), bytes(end)),
        }
    }

    fn put(&mut self) -> PutRequest {
        let (key, _) = self.key();
        let mut request = PutRequest { key, ..PutRequest::default() };
        while let Some(word) = self.option() {
            match word.split_once('=') {
                Some(("lease", id)) => request.lease = id.parse().unwrap(),
                None if word == "prev" => request.prev_kv = true,
                None if word == "ignore_value" => request.ignore_value = true,
                None if word == "ignore_lease" => request.ignore_lease = true,
                _ => request.value = word.to_string().into(),
            }
        }
        request
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        let (key, range_end) = self.key();
        let prev_kv = self.option() == Some("prev");
        DeleteRangeRequest { key, range_end, prev_kv }
    }

    fn range(&mut self) -> RangeRequest {
        let (key, range_end) = self.key();
        let mut request = RangeRequest { key, range_end, ..RangeRequest::default() };
        while let Some(word) = self.option() {
            let (name, value) = word.split_once('=').unwrap_or((word, "0"));
            let place = |names: &[&str]| {
                names
                    .iter()
                    .position(|name| *name == value)
                    .map_or_else(|| value.parse().unwrap(), |at| at as i32)
            };
            match name {
                "rev" => request.revision = value.parse().unwrap(),
                "limit" => request.limit = value.parse().unwrap(),
                "order" => request.sort_order = place(&["none", "ascend", "descend"]),
                "by" => request.sort_target = place(&["key", "version", "create", "mod", "value"]),
                "keys" => request.keys_only = true,
                "count" => request.count_only = true,
                "min_mod" => request.min_mod_revision = value.parse().unwrap(),
                "max_mod" => request.max_mod_revision = value.parse().unwrap(),
                "min_create" => request.min_create_revision = value.parse().unwrap(),
                "max_create" => request.max_create_revision = value.parse().unwrap(),
                other => panic!("unknown option {other}"),
            }
        }
        request
    }

    fn compare(&mut self) -> Compare {
        let target = self.next();
        let (key, range_end) = self.key();
        let result = match self.next() {
            "=" => CompareResult::Equal,
            "!=" => CompareResult::NotEqual,
            "<" => CompareResult::Less,
            ">" => CompareResult::Greater,
            other => panic!("unknown relation {other}"),
        } as i32;
        let (target, target_union) = match target {
            "value" => (CompareTarget::Value, TargetUnion::Value(self.next().to_string().into())),
            "create" => (CompareTarget::Create, TargetUnion::CreateRevision(self.number())),
            "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(self.number())),
            "version" => (CompareTarget::Version, TargetUnion::Version(self.number())),
            "lease" => (CompareTarget::Lease, TargetUnion::Lease(self.number())),
            other => panic!("unknown target {other}"),
        };
        Compare { result, target: target as i32, key, range_end, target_union: Some(target_union) }
    }

    fn txn(&mut self) -> TxnRequest {
        let mut txn = TxnRequest::default();
        if self.take("if") {
            txn.compare.push(self.compare());
            while self.take(";") {
                txn.compare.push(self.compare());
            }
        }
        if self.take("then") {
            txn.success = self.branch();
        }
        if self.take("else") {
            txn.failure = self.branch();
        }
        txn
    }

    fn branch(&mut self) -> Vec<RequestOp> {
        let mut ops = vec![self.op()];
        while self.take(";") {
            ops.push(self.op());
        }
        ops
    }

    fn op(&mut self) -> RequestOp {
        let request = match self.next() {
            "put" => Request::RequestPut(self.put()),
            "get" => Request::RequestRange(self.range()),
            "del" => Request::RequestDeleteRange(self.delete()),
            "(" => {
                let txn = self.txn();
                assert!(self.take(")"), "a closing parenthesis");
                Request::RequestTxn(txn)
            }
            other => panic!("unknown operation {other}"),
        };
        RequestOp { request: Some(request) }
    }
}

fn show_kv(kv: &KeyValue) -> String {
    let (key, value) = (kv.key.escape_ascii(), kv.value.escape_ascii());
    let lease = if kv.lease == 0 { String::new() } else { format!(" lease {}", kv.lease) };
    format!(
        "{key} = {value} (create {}, mod {}, version {}{lease})",
        kv.create_revision, kv.mod_revision, kv.version
    )
}

fn revision(header: Option<&ResponseHeader>) -> i64 {
    header.expect("every answer has a header").revision
}

fn show_range(out: &mut String, indent: &str, range: &RangeResponse) {
    let more = if range.more { ", more" } else { "" };
    writeln!(out, "{indent}range at {}: count {}{more}", revision(range.header.as_ref()), range.count)
        .unwrap();
    for kv in &range.kvs {
        writeln!(out, "{indent}  {}", show_kv(kv)).unwrap();
    }
}

fn show_put(out: &mut String, indent: &str, put: &PutResponse) {
    writeln!(out, "{indent}put at {}", revision(put.header.as_ref())).unwrap();
    if let Some(kv) = &put.prev_kv {
        writeln!(out, "{indent}  was {}", show_kv(kv)).unwrap();
    }
}

fn show_delete(out: &mut String, indent: &str, delete: &DeleteRangeResponse) {
    writeln!(out, "{indent}deleted {} at {}", delete.deleted, revision(delete.header.as_ref())).unwrap();
    for kv in &delete.prev_kvs {
        writeln!(out, "{indent}  was {}", show_kv(kv)).unwrap();
    }
}

fn show_txn(out: &mut String, indent: &str, txn: &TxnResponse) {
    let result = if txn.succeeded { "then" } else { "else" };
    writeln!(out, "{indent}txn {result} at {}", revision(txn.header.as_ref())).unwrap();
    let deeper = format!("{indent}  ");
    for response in &txn.responses {
        match response.response.as_ref().expect("a response") {
            Response::ResponseRange(range) => show_range(out, &deeper, range),
            Response::ResponsePut(put) => show_put(out, &deeper, put),
            Response::ResponseDeleteRange(delete) => show_delete(out, &deeper, delete),
            Response::ResponseTxn(txn) => show_txn(out, &deeper, txn),
        }
    }
}

struct Player {
    rig: Rig,
}

impl Player {
    fn propose<R: Message + Default>(
        &mut self,
        operation: Operation,
        request: &impl Message,
    ) -> Result<R, Status> {
        let answer: Answer = self.rig.propose(operation, request).expect("an answer");
        answer.map(|message| R::decode(message).unwrap())
    }

    fn play(&mut self, line: &str) -> Result<String, Status> {
        let mut words = Words::of(line);
        let mut out = String::new();
        match words.next() {
            "put" => {
                let request = words.put();
                check_put(&request)?;
                show_put(&mut out, "", &self.propose(Operation::Put, &request)?);
            }
            "del" => {
                let request = words.delete();
                check_delete(&request)?;
                show_delete(&mut out, "", &self.propose(Operation::DeleteRange, &request)?);
            }
            "get" => {
                let request = words.range();
                check_range(&request)?;
                let view = self.rig.view();
                let header = ResponseHeader { revision: view.revision(), ..ResponseHeader::default() };
                let mut answer = BytesMut::new();
                append_range(view.contents(), &request, &header, &mut answer).map_err(
                    |failure| match failure {
                        Failure::Refused(status) => status,
                        Failure::Damaged(error) => panic!("{error}"),
                    },
                )?;
                show_range(&mut out, "", &RangeResponse::decode(answer.freeze()).unwrap());
            }
            "txn" => {
                let request = words.txn();
                check_txn(&request, 128)?;
                show_txn(&mut out, "", &self.propose(Operation::Txn, &request)?);
            }
            "compact" => {
                let request = CompactionRequest { revision: words.number(), physical: false };
                let response: CompactionResponse = self.propose(Operation::Compaction, &request)?;
                writeln!(out, "compacted at {}", revision(response.header.as_ref())).unwrap();
            }
            "grant" => {
                let request = LeaseGrantRequest { id: words.number(), ttl: words.number() };
                let response: LeaseGrantResponse = self.propose(Operation::LeaseGrant, &request)?;
                let at = revision(response.header.as_ref());
                writeln!(out, "granted {} for {} s at {at}", response.id, response.ttl).unwrap();
            }
            "revoke" => {
                let request = LeaseRevokeRequest { id: words.number() };
                let response: LeaseRevokeResponse = self.propose(Operation::LeaseRevoke, &request)?;
                writeln!(out, "revoked at {}", revision(response.header.as_ref())).unwrap();
            }
            "pass" => self.rig.pass(Duration::from_millis(words.number())),
            "lease" => {
                let id = words.number();
                let keys = self.rig.view().lease_keys(id).unwrap();
                let keys: Vec<String> = keys.iter().map(|key| key.escape_ascii().to_string()).collect();
                let left =
                    self.rig.lessor.remaining(id).map(|left| format!("{} of {} s", left.seconds, left.ttl));
                writeln!(out, "{}, keys [{}]", left.unwrap_or("unknown".into()), keys.join(" ")).unwrap();
            }
            "leases" => writeln!(out, "{:?}", self.rig.lessor.list()).unwrap(),
            "scan" => {
                for lease in self.rig.lessor.scan() {
                    writeln!(out, "propose to expire {} in term {}", lease.id, lease.term).unwrap();
                }
            }
            "expire" => {
                let expired = ExpiredLease { id: words.number(), term: words.number() };
                let ticket = Some(Ticket::Errand(Errand::ExpireLease));
                self.rig.apply(Operation::LeaseExpire, &expired.encode_to_vec(), ticket);
                self.rig.end_batch();
            }
            "lead" => {
                let term = words.number();
                self.rig.machine.leadership(Leadership { leader: 0x3e, term, is_leader: true });
                self.rig.at.term = term;
                self.rig.at.index += 1;
                self.rig.machine.applied_empty(self.rig.at);
                self.rig.end_batch();
            }
            "follow" => {
                let term = words.number();
                self.rig.machine.leadership(Leadership { leader: 1, term, is_leader: false });
            }
            "events" => {
                for change in self.rig.events() {
                    let (key, at) = (change.key.escape_ascii(), change.revision);
                    let kind = if change.kind == ChangeKind::Put { "put" } else { "delete" };
                    writeln!(out, "{}.{} {kind} {key}", at.main, at.sub).unwrap();
                }
            }
            other => panic!("unknown command {other}"),
        }
        Ok(out)
    }
}

fn answers(script: &str) -> String {
    let mut player = Player { rig: Rig::new() };
    let mut out = String::new();
    for line in script.lines() {
        if line.starts_with('#') || line.is_empty() {
            writeln!(out, "{line}").unwrap();
        } else if let Some(command) = line.strip_prefix("> ") {
            writeln!(out, "{line}").unwrap();
            match player.play(command) {
                Ok(answer) => out += &answer,
                Err(status) => writeln!(out, "{status}").unwrap(),
            }
        }
    }
    out
}

#[test]
fn the_machine_answers_as_written() {
    let update = std::env::var_os("UPDATE_TESTSCRIPTS").is_some();
    for folder in ["range", "txn", "lease"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts").join(folder);
        let mut played = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let script = std::fs::read_to_string(&path).unwrap();
            let answered = answers(&script);
            if update {
                std::fs::write(&path, &answered).unwrap();
            }
            let differs = answered.lines().zip(script.lines()).find(|(now, written)| now != written);
            assert!(update || answered == script, "{}: (now, written) {differs:?}", path.display());
            played += 1;
        }
        assert!(played > 0, "no scripts in {}", folder.display());
    }
}
