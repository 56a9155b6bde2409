//! `-w fields`: one `"Name" : value` a line.

use super::super::go::quote;
use super::{Answer, WatchReport};
use api::etcdserverpb as pb;
use api::etcdserverpb::response_op::Response;
use api::mvccpb::{KeyValue, event::EventType};
use std::fmt::Display;

pub(super) fn render(hex: bool, answer: &Answer) -> Vec<u8> {
    let mut fields = Fields { hex, out: String::new() };
    match answer {
        Answer::Get(response) => fields.get(response),
        Answer::Put(response) => fields.put(response),
        Answer::Del(response) => fields.del(response),
        Answer::Txn(response) => fields.txn(response),
        Answer::Watch(report) => fields.watch(report),
        Answer::Grant(response) => {
            fields.header(response.header);
            fields.lease("ID", response.id);
            fields.field("TTL", response.ttl);
        }
        Answer::Revoke { response, .. } => fields.header(response.header),
        Answer::KeepAlive(response) => {
            fields.header(response.header);
            fields.lease("ID", response.id);
            fields.field("TTL", response.ttl);
        }
        Answer::TimeToLive { response, .. } => {
            fields.header(response.header);
            fields.lease("ID", response.id);
            fields.field("TTL", response.ttl);
            fields.field("GrantedTTL", response.granted_ttl);
            response.keys.iter().for_each(|key| fields.text("Key", key));
        }
        Answer::Leases(response) => {
            fields.header(response.header);
            response.leases.iter().for_each(|lease| fields.lease("ID", lease.id));
        }
        Answer::MemberList(response) => fields.members(response),
        Answer::Health(all) => {
            for health in all {
                fields.text("Endpoint", health.endpoint.as_bytes());
                fields.field("Health", health.healthy);
                fields.field("Took", &health.took);
                fields.field("Error", &health.error);
                fields.out.push('\n');
            }
        }
        Answer::Status(all) => all.iter().for_each(|(endpoint, response)| fields.status(endpoint, response)),
        Answer::HashKv(all) => {
            for (endpoint, response) in all {
                fields.header(response.header);
                fields.text("Endpoint", endpoint.as_bytes());
                fields.field("Hash", response.hash);
                fields.field("HashRevision", response.hash_revision);
                fields.out.push('\n');
            }
        }
    }
    fields.out.into_bytes()
}

struct Fields {
    hex: bool,
    out: String,
}

impl Fields {
    fn field(&mut self, name: &str, value: impl Display) {
        self.out.push_str(&format!("\"{name}\" : {value}\n"));
    }

    fn text(&mut self, name: &str, value: &[u8]) {
        self.field(name, quote(value));
    }

    /// A cluster or member id.
    fn id(&mut self, name: &str, id: u64) {
        if self.hex { self.field(name, format_args!("{id:x}")) } else { self.field(name, id) }
    }

    fn lease(&mut self, name: &str, id: i64) {
        if self.hex { self.field(name, format_args!("{id:016x}")) } else { self.field(name, id) }
    }

    fn header(&mut self, header: Option<pb::ResponseHeader>) {
        let header = header.unwrap_or_default();
        self.id("ClusterID", header.cluster_id);
        self.id("MemberID", header.member_id);
        if header.revision > 0 {
            self.field("Revision", header.revision);
        }
        self.field("RaftTerm", header.raft_term);
    }

    fn kv(&mut self, prefix: &str, kv: &KeyValue) {
        self.text(&format!("{prefix}Key"), &kv.key);
        self.field(&format!("{prefix}CreateRevision"), kv.create_revision);
        self.field(&format!("{prefix}ModRevision"), kv.mod_revision);
        self.field(&format!("{prefix}Version"), kv.version);
        self.text(&format!("{prefix}Value"), &kv.value);
        self.lease(&format!("{prefix}Lease"), kv.lease);
    }

    fn get(&mut self, response: &pb::RangeResponse) {
        self.header(response.header);
        response.kvs.iter().for_each(|kv| self.kv("", kv));
        self.field("More", response.more);
        self.field("Count", response.count);
    }

    fn put(&mut self, response: &pb::PutResponse) {
        self.header(response.header);
        response.prev_kv.iter().for_each(|kv| self.kv("Prev", kv));
    }

    fn del(&mut self, response: &pb::DeleteRangeResponse) {
        self.header(response.header);
        self.field("Deleted", response.deleted);
        response.prev_kvs.iter().for_each(|kv| self.kv("Prev", kv));
    }

    fn txn(&mut self, response: &pb::TxnResponse) {
        self.header(response.header);
        self.field("Succeeded", response.succeeded);
        for op in &response.responses {
            match &op.response {
                Some(Response::ResponseRange(response)) => self.get(response),
                Some(Response::ResponsePut(response)) => self.put(response),
                Some(Response::ResponseDeleteRange(response)) => self.del(response),
                Some(Response::ResponseTxn(_)) | None => self.text("Unknown", format!("{op:?}").as_bytes()),
            }
        }
    }

    fn watch(&mut self, report: &WatchReport) {
        self.header(report.header);
        for event in report.events.iter().flatten() {
            self.field(
                "Type",
                match event.r#type() {
                    EventType::Put => "PUT",
                    EventType::Delete => "DELETE",
                },
            );
            event.prev_kv.iter().for_each(|kv| self.kv("Prev", kv));
            self.kv("", &event.kv.clone().unwrap_or_default());
        }
    }

    fn members(&mut self, response: &pb::MemberListResponse) {
        self.header(response.header);
        for member in &response.members {
            self.id("ID", member.id);
            self.text("Name", member.name.as_bytes());
            member.peer_urls.iter().for_each(|url| self.text("PeerURL", url.as_bytes()));
            member.client_urls.iter().for_each(|url| self.text("ClientURL", url.as_bytes()));
            self.field("IsLearner", member.is_learner);
            self.out.push('\n');
        }
    }

    fn status(&mut self, endpoint: &str, response: &pb::StatusResponse) {
        let downgrade = response.downgrade_info.clone().unwrap_or_default();
        self.header(response.header);
        self.text("Version", response.version.as_bytes());
        self.text("StorageVersion", response.storage_version.as_bytes());
        self.field("DBSize", response.db_size);
        self.field("DBSizeInUse", response.db_size_in_use);
        self.field("DBSizeQuota", response.db_size_quota);
        self.field("Leader", response.leader);
        self.field("IsLearner", response.is_learner);
        self.field("RaftIndex", response.raft_index);
        self.field("RaftTerm", response.raft_term);
        self.field("RaftAppliedIndex", response.raft_applied_index);
        self.field("Errors", format_args!("[{}]", response.errors.join(" ")));
        self.text("Endpoint", endpoint.as_bytes());
        self.text("DowngradeTargetVersion", downgrade.target_version.as_bytes());
        self.field("DowngradeEnabled", downgrade.enabled);
        self.out.push('\n');
    }
}
