//! `-w json`: one line, as Go's encoding/json writes etcd's structures. Names are those of the `.proto` files,
//! zero values are left out, bytes are base64, enums and 64-bit integers are numbers.

use super::{Answer, WatchReport};
use api::etcdserverpb as pb;
use api::etcdserverpb::response_op::Response;
use api::mvccpb::{Event, KeyValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Display;

/// Text under construction.
#[derive(Debug, Default)]
pub(crate) struct Json {
    out: String,
}

impl Json {
    pub(crate) fn finish(self) -> String {
        self.out
    }

    pub(crate) fn object(&mut self, fill: impl FnOnce(&mut Object<'_>)) {
        self.out.push('{');
        fill(&mut Object { json: self, is_empty: true });
        self.out.push('}');
    }

    fn array<T>(&mut self, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Json, T)) {
        self.out.push('[');
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.out.push(',');
            }
            write(self, item);
        }
        self.out.push(']');
    }

    /// What could end a script in a web page is escaped, like control characters.
    fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\x08' => self.out.push_str("\\b"),
                '\x0c' => self.out.push_str("\\f"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => {
                    self.out.push_str(&format!("\\u{:04x}", u32::from(c)));
                }
                _ => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.text(&STANDARD.encode(bytes));
    }
}

/// An object under construction. The plain methods always write the field, the others leave out what is zero.
pub(crate) struct Object<'j> {
    json: &'j mut Json,
    is_empty: bool,
}

impl Object<'_> {
    fn name(&mut self, name: &str) -> &mut Json {
        if !std::mem::take(&mut self.is_empty) {
            self.json.out.push(',');
        }
        self.json.text(name);
        self.json.out.push(':');
        self.json
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.name(name).text(value);
    }

    pub(crate) fn text_unless_empty(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.text(name, value);
        }
    }

    /// A number or a truth value.
    fn plain(&mut self, name: &str, value: impl Display) {
        let value = value.to_string();
        self.name(name).out.push_str(&value);
    }

    fn unless_zero<T: Display + Default + PartialEq>(&mut self, name: &str, value: T) {
        if value != T::default() {
            self.plain(name, value);
        }
    }

    fn bytes_unless_empty(&mut self, name: &str, value: &[u8]) {
        if !value.is_empty() {
            self.name(name).bytes(value);
        }
    }

    fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        self.name(name).object(fill);
    }

    fn array<T>(&mut self, name: &str, items: &[T], mut write: impl FnMut(&mut Json, &T)) {
        self.name(name).array(items, &mut write);
    }

    fn array_unless_empty<T>(&mut self, name: &str, items: &[T], write: impl FnMut(&mut Json, &T)) {
        if !items.is_empty() {
            self.array(name, items, write);
        }
    }

    fn texts_unless_empty(&mut self, name: &str, items: &[String]) {
        self.array_unless_empty(name, items, |json, item| json.text(item));
    }

    fn header(&mut self, header: &Option<pb::ResponseHeader>) {
        if let Some(header) = header {
            self.object("header", |o| o.header_fields(header));
        }
    }

    fn header_fields(&mut self, header: &pb::ResponseHeader) {
        self.unless_zero("cluster_id", header.cluster_id);
        self.unless_zero("member_id", header.member_id);
        self.unless_zero("revision", header.revision);
        self.unless_zero("raft_term", header.raft_term);
    }

    fn kv(&mut self, name: &str, kv: &KeyValue) {
        self.name(name).kv(kv);
    }

    fn kvs_unless_empty(&mut self, name: &str, kvs: &[KeyValue]) {
        self.array_unless_empty(name, kvs, Json::kv);
    }

    fn range(&mut self, response: &pb::RangeResponse) {
        self.header(&response.header);
        self.kvs_unless_empty("kvs", &response.kvs);
        self.unless_zero("more", response.more);
        self.unless_zero("count", response.count);
    }

    fn put(&mut self, response: &pb::PutResponse) {
        self.header(&response.header);
        response.prev_kv.iter().for_each(|kv| self.kv("prev_kv", kv));
    }

    fn del(&mut self, response: &pb::DeleteRangeResponse) {
        self.header(&response.header);
        self.unless_zero("deleted", response.deleted);
        self.kvs_unless_empty("prev_kvs", &response.prev_kvs);
    }

    fn txn(&mut self, response: &pb::TxnResponse) {
        self.header(&response.header);
        self.unless_zero("succeeded", response.succeeded);
        self.array_unless_empty("responses", &response.responses, |json, op| {
            json.object(|o| {
                o.object("Response", |o| match &op.response {
                    Some(Response::ResponseRange(r)) => o.object("response_range", |o| o.range(r)),
                    Some(Response::ResponsePut(r)) => o.object("response_put", |o| o.put(r)),
                    Some(Response::ResponseDeleteRange(r)) => o.object("response_delete_range", |o| o.del(r)),
                    Some(Response::ResponseTxn(r)) => o.object("response_txn", |o| o.txn(r)),
                    None => {}
                });
            });
        });
    }

    fn watch(&mut self, report: &WatchReport) {
        self.object("Header", |o| o.header_fields(&report.header.unwrap_or_default()));
        match &report.events {
            Some(events) => self.array("Events", events, Json::event),
            None => self.plain("Events", "null"),
        }
        self.plain("CompactRevision", report.compact_revision);
        self.plain("Canceled", report.canceled);
        self.plain("Created", false);
        self.text("CancelReason", &report.cancel_reason);
    }

    fn members(&mut self, response: &pb::MemberListResponse) {
        self.header(&response.header);
        self.array_unless_empty("members", &response.members, |json, member| {
            json.object(|o| {
                o.unless_zero("ID", member.id);
                o.member_rest(member);
            });
        });
    }

    /// With `--hex`: ids are text, and none is left out.
    fn members_hex(&mut self, response: &pb::MemberListResponse) {
        let header = response.header.unwrap_or_default();
        self.object("header", |o| {
            o.text("cluster_id", &format!("{:x}", header.cluster_id));
            o.text("member_id", &format!("{:x}", header.member_id));
            o.unless_zero("revision", header.revision);
            o.unless_zero("raft_term", header.raft_term);
        });
        self.array("members", &response.members, |json, member| {
            json.object(|o| {
                o.text("ID", &format!("{:x}", member.id));
                o.member_rest(member);
            });
        });
    }

    fn member_rest(&mut self, member: &pb::Member) {
        self.text_unless_empty("name", &member.name);
        self.texts_unless_empty("peerURLs", &member.peer_urls);
        self.texts_unless_empty("clientURLs", &member.client_urls);
        self.unless_zero("isLearner", member.is_learner);
    }

    fn status(&mut self, status: &pb::StatusResponse) {
        self.header(&status.header);
        self.text_unless_empty("version", &status.version);
        self.unless_zero("dbSize", status.db_size);
        self.unless_zero("leader", status.leader);
        self.unless_zero("raftIndex", status.raft_index);
        self.unless_zero("raftTerm", status.raft_term);
        self.unless_zero("raftAppliedIndex", status.raft_applied_index);
        self.texts_unless_empty("errors", &status.errors);
        self.unless_zero("dbSizeInUse", status.db_size_in_use);
        self.unless_zero("isLearner", status.is_learner);
        self.text_unless_empty("storageVersion", &status.storage_version);
        self.unless_zero("dbSizeQuota", status.db_size_quota);
        if let Some(downgrade) = &status.downgrade_info {
            self.object("downgradeInfo", |o| {
                o.unless_zero("enabled", downgrade.enabled);
                o.text_unless_empty("targetVersion", &downgrade.target_version);
            });
        }
    }

    fn hash_kv(&mut self, response: &pb::HashKvResponse) {
        self.header(&response.header);
        self.unless_zero("hash", response.hash);
        self.unless_zero("compact_revision", response.compact_revision);
        self.unless_zero("hash_revision", response.hash_revision);
    }
}

impl Json {
    fn kv(&mut self, kv: &KeyValue) {
        self.object(|o| {
            o.bytes_unless_empty("key", &kv.key);
            o.unless_zero("create_revision", kv.create_revision);
            o.unless_zero("mod_revision", kv.mod_revision);
            o.unless_zero("version", kv.version);
            o.bytes_unless_empty("value", &kv.value);
            o.unless_zero("lease", kv.lease);
        });
    }

    fn event(&mut self, event: &Event) {
        self.object(|o| {
            o.unless_zero("type", event.r#type);
            event.kv.iter().for_each(|kv| o.kv("kv", kv));
            event.prev_kv.iter().for_each(|kv| o.kv("prev_kv", kv));
        });
    }

    /// Objects, one for each; none at all is `null`.
    fn list<T>(&mut self, items: &[T], mut fill: impl FnMut(&mut Object<'_>, &T)) {
        if items.is_empty() {
            self.out.push_str("null");
        } else {
            self.array(items, |json, item| json.object(|o| fill(o, item)));
        }
    }
}

/// With its newline.
pub(super) fn render(hex: bool, answer: &Answer) -> Vec<u8> {
    let mut json = Json::default();
    match answer {
        Answer::Health(all) => json.list(all, |o, health| {
            o.text("endpoint", &health.endpoint);
            o.plain("health", health.healthy);
            o.text("took", &health.took);
            o.text_unless_empty("error", &health.error);
        }),
        Answer::Status(all) => json.list(all, |o, (endpoint, status)| {
            o.text("Endpoint", endpoint);
            o.object("Status", |o| o.status(status));
        }),
        Answer::HashKv(all) => json.list(all, |o, (endpoint, response)| {
            o.text("Endpoint", endpoint);
            o.object("HashKV", |o| o.hash_kv(response));
        }),
        _ => json.object(|o| fields(o, hex, answer)),
    }
    json.out.push('\n');
    json.out.into_bytes()
}

fn fields(o: &mut Object<'_>, hex: bool, answer: &Answer) {
    let head = |o: &mut Object<'_>, header: &Option<pb::ResponseHeader>| {
        o.header_fields(&header.unwrap_or_default())
    };
    match answer {
        Answer::Get(response) => o.range(response),
        Answer::Put(response) => o.put(response),
        Answer::Del(response) => o.del(response),
        Answer::Txn(response) => o.txn(response),
        Answer::Watch(report) => o.watch(report),
        Answer::MemberList(response) if hex => o.members_hex(response),
        Answer::MemberList(response) => o.members(response),
        Answer::Revoke { response, .. } => o.header(&response.header),
        Answer::Grant(response) => {
            head(o, &response.header);
            o.plain("ID", response.id);
            o.plain("TTL", response.ttl);
            o.text("Error", &response.error);
        }
        Answer::KeepAlive(response) => {
            head(o, &response.header);
            o.plain("ID", response.id);
            o.plain("TTL", response.ttl);
        }
        Answer::TimeToLive { response, .. } => {
            head(o, &response.header);
            o.plain("id", response.id);
            o.plain("ttl", response.ttl);
            o.plain("granted-ttl", response.granted_ttl);
            if response.keys.is_empty() {
                o.plain("keys", "null");
            } else {
                o.array("keys", &response.keys, |json, key| json.bytes(key));
            }
        }
        Answer::Leases(response) => {
            head(o, &response.header);
            o.array("leases", &response.leases, |json, lease| json.object(|o| o.plain("id", lease.id)));
        }
        Answer::Health(_) | Answer::Status(_) | Answer::HashKv(_) => unreachable!("lists are not objects"),
    }
}
