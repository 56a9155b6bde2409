//! `-w simple`: lines for people and shell scripts.

use super::{Answer, Style, WatchReport, cells, write_err};
use api::etcdserverpb as pb;
use api::etcdserverpb::response_op::Response;
use api::mvccpb::{KeyValue, event::EventType};

/// Unhealthy endpoints go to stderr.
pub(super) fn render(style: Style, answer: &Answer) -> Vec<u8> {
    let mut lines = Lines { style, out: Vec::new() };
    match answer {
        Answer::Get(response) => lines.get(response),
        Answer::Put(response) => lines.put(response),
        Answer::Del(response) => lines.del(response),
        Answer::Txn(response) => lines.txn(response),
        Answer::Watch(report) => lines.watch(report),
        Answer::Grant(response) => {
            lines.line(&format!("lease {:016x} granted with TTL({}s)", response.id, response.ttl));
        }
        Answer::Revoke { id, .. } => lines.line(&format!("lease {id:016x} revoked")),
        Answer::KeepAlive(response) => {
            lines.line(&format!("lease {:016x} keepalived with TTL({})", response.id, response.ttl));
        }
        Answer::TimeToLive { response, keys } => lines.time_to_live(response, *keys),
        Answer::Leases(response) => {
            lines.line(&format!("found {} leases", response.leases.len()));
            response.leases.iter().for_each(|lease| lines.line(&format!("{:016x}", lease.id)));
        }
        Answer::MemberList(response) => response.members.iter().for_each(|m| lines.row(&cells::member(m))),
        Answer::Status(all) => all.iter().for_each(|(endpoint, s)| lines.row(&cells::status(endpoint, s))),
        Answer::HashKv(all) => all.iter().for_each(|(endpoint, h)| lines.row(&cells::hash_kv(endpoint, h))),
        Answer::Health(all) => {
            for health in all {
                let endpoint = &health.endpoint;
                if health.error.is_empty() {
                    let took = &health.took;
                    lines.line(&format!(
                        "{endpoint} is healthy: successfully committed proposal: took = {took}"
                    ));
                } else {
                    write_err(&format!(
                        "{endpoint} is unhealthy: failed to commit proposal: {}\n",
                        health.error
                    ));
                }
            }
        }
    }
    lines.out
}

struct Lines {
    style: Style,
    out: Vec<u8>,
}

impl Lines {
    fn line(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.out.push(b'\n');
    }

    fn row(&mut self, cells: &[String]) {
        self.line(&cells.join(", "));
    }

    /// Key and value, a line each.
    fn kv(&mut self, kv: &KeyValue) {
        let parts: &[&[u8]] = if self.style.values_only { &[&kv.value] } else { &[&kv.key, &kv.value] };
        for part in parts {
            if self.style.hex {
                let hex: String = part.iter().map(|byte| format!("\\x{byte:02x}")).collect();
                self.line(&hex);
            } else {
                self.bytes(part);
            }
        }
    }

    fn get(&mut self, response: &pb::RangeResponse) {
        response.kvs.iter().for_each(|kv| self.kv(kv));
    }

    fn put(&mut self, response: &pb::PutResponse) {
        self.line("OK");
        response.prev_kv.iter().for_each(|kv| self.kv(kv));
    }

    fn del(&mut self, response: &pb::DeleteRangeResponse) {
        self.line(&response.deleted.to_string());
        response.prev_kvs.iter().for_each(|kv| self.kv(kv));
    }

    fn txn(&mut self, response: &pb::TxnResponse) {
        self.line(if response.succeeded { "SUCCESS" } else { "FAILURE" });
        for op in &response.responses {
            self.line("");
            match &op.response {
                Some(Response::ResponseRange(response)) => self.get(response),
                Some(Response::ResponsePut(response)) => self.put(response),
                Some(Response::ResponseDeleteRange(response)) => self.del(response),
                Some(Response::ResponseTxn(_)) | None => self.line(&format!("unexpected response {op:?}")),
            }
        }
    }

    fn watch(&mut self, report: &WatchReport) {
        for event in report.events.iter().flatten() {
            self.line(match event.r#type() {
                EventType::Put => "PUT",
                EventType::Delete => "DELETE",
            });
            event.prev_kv.iter().for_each(|kv| self.kv(kv));
            self.kv(&event.kv.clone().unwrap_or_default());
        }
    }

    fn time_to_live(&mut self, response: &pb::LeaseTimeToLiveResponse, keys: bool) {
        let id = response.id;
        if response.granted_ttl == 0 && response.ttl == -1 {
            self.line(&format!("lease {id:016x} already expired"));
            return;
        }
        let head = format!(
            "lease {id:016x} granted with TTL({}s), remaining({}s)",
            response.granted_ttl, response.ttl
        );
        let mut line = head.into_bytes();
        if keys {
            line.extend_from_slice(b", attached keys([");
            line.extend_from_slice(&response.keys.join(&b' '));
            line.extend_from_slice(b"])");
        }
        self.bytes(&line);
    }
}
