//! Answers as text: one file a format.

mod fields;
mod json;
mod protobuf;
mod simple;
mod table;

use super::exit::{Code, Exit};
pub(crate) use crate::cli::output::{write_err, write_out};
use api::etcdserverpb as pb;
use api::mvccpb;
pub(crate) use json::Json;

/// What the user asked for with `--write-out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Simple,
    Fields,
    Json,
    Protobuf,
    Table,
}

impl Format {
    pub(crate) fn parse(name: &str) -> Result<Format, Exit> {
        Ok(match name {
            "simple" => Format::Simple,
            "fields" => Format::Fields,
            "json" => Format::Json,
            "protobuf" => Format::Protobuf,
            "table" => Format::Table,
            _ => return Err(Exit::new(Code::BadFeature, "unsupported output format")),
        })
    }

    fn unsupported(self) -> Exit {
        let name = match self {
            Format::Simple => "simple",
            Format::Fields => "fields",
            Format::Json => "json",
            Format::Protobuf => "protobuf",
            Format::Table => "table",
        };
        Exit::new(Code::BadFeature, format!("{name} not supported as output format"))
    }
}

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) format: Format,
    pub(crate) hex: bool,
    /// Simple format only: leave the keys out.
    pub(crate) values_only: bool,
}

/// What a watch has to report: an answer of the server, or that there will be no more.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchReport {
    pub(crate) header: Option<pb::ResponseHeader>,
    /// `None`: not even an empty list.
    pub(crate) events: Option<Vec<mvccpb::Event>>,
    pub(crate) compact_revision: i64,
    pub(crate) canceled: bool,
    pub(crate) cancel_reason: String,
}

/// One endpoint's health.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) endpoint: String,
    pub(crate) healthy: bool,
    pub(crate) took: String,
    /// Empty: none.
    pub(crate) error: String,
}

/// Everything a command may print.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Get(pb::RangeResponse),
    Put(pb::PutResponse),
    Del(pb::DeleteRangeResponse),
    Txn(pb::TxnResponse),
    Watch(WatchReport),
    Grant(pb::LeaseGrantResponse),
    Revoke { id: i64, response: pb::LeaseRevokeResponse },
    KeepAlive(pb::LeaseKeepAliveResponse),
    TimeToLive { response: pb::LeaseTimeToLiveResponse, keys: bool },
    Leases(pb::LeaseLeasesResponse),
    MemberList(pb::MemberListResponse),
    Health(Vec<Health>),
    Status(Vec<(String, pb::StatusResponse)>),
    HashKv(Vec<(String, pb::HashKvResponse)>),
}

impl Style {
    /// To stdout, at once. What is wrong with an endpoint may go to stderr.
    pub(crate) fn print(self, answer: &Answer) -> Result<(), Exit> {
        let bytes = self.render(answer)?;
        write_out(&bytes);
        Ok(())
    }

    pub(crate) fn render(self, answer: &Answer) -> Result<Vec<u8>, Exit> {
        match self.format {
            Format::Simple => Ok(simple::render(self, answer)),
            Format::Fields => Ok(fields::render(self.hex, answer)),
            Format::Json => Ok(json::render(self.hex, answer)),
            Format::Protobuf => protobuf::render(answer),
            Format::Table => table::render(answer),
        }
    }
}

/// The cells of one row for each endpoint or member, as simple and table show them.
mod cells {
    use super::super::go::byte_size;
    use super::{Health, pb};

    pub(super) const MEMBER: [&str; 6] = ["ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"];
    pub(super) const HEALTH: [&str; 4] = ["endpoint", "health", "took", "error"];
    pub(super) const HASH_KV: [&str; 3] = ["endpoint", "hash", "hash_revision"];
    pub(super) const STATUS: [&str; 16] = [
        "endpoint",
        "ID",
        "version",
        "storage version",
        "db size",
        "in use",
        "percentage not in use",
        "quota",
        "is leader",
        "is learner",
        "raft term",
        "raft index",
        "raft applied index",
        "errors",
        "downgrade target version",
        "downgrade enabled",
    ];

    pub(super) fn member(member: &pb::Member) -> Vec<String> {
        vec![
            format!("{:x}", member.id),
            if member.name.is_empty() { "unstarted" } else { "started" }.to_owned(),
            member.name.clone(),
            member.peer_urls.join(","),
            member.client_urls.join(","),
            member.is_learner.to_string(),
        ]
    }

    pub(super) fn health(health: &Health) -> Vec<String> {
        vec![health.endpoint.clone(), health.healthy.to_string(), health.took.clone(), health.error.clone()]
    }

    pub(super) fn hash_kv(endpoint: &str, response: &pb::HashKvResponse) -> Vec<String> {
        vec![endpoint.to_owned(), response.hash.to_string(), response.hash_revision.to_string()]
    }

    pub(super) fn status(endpoint: &str, response: &pb::StatusResponse) -> Vec<String> {
        let member = response.header.unwrap_or_default().member_id;
        let downgrade = response.downgrade_info.clone().unwrap_or_default();
        let size = |bytes: i64| byte_size(bytes.cast_unsigned());
        // A size of zero makes etcdctl crash.
        let used = (response.db_size_in_use * 100).checked_div(response.db_size).unwrap_or(100);
        vec![
            endpoint.to_owned(),
            format!("{member:x}"),
            response.version.clone(),
            response.storage_version.clone(),
            size(response.db_size),
            size(response.db_size_in_use),
            format!("{}%", 100 - used),
            size(response.db_size_quota),
            (response.leader == member).to_string(),
            response.is_learner.to_string(),
            response.raft_term.to_string(),
            response.raft_index.to_string(),
            response.raft_applied_index.to_string(),
            response.errors.join(", "),
            downgrade.target_version,
            downgrade.enabled.to_string(),
        ]
    }
}

#[cfg(test)]
mod tests;
