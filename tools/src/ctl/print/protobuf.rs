//! `-w protobuf`: the encoded message, nothing else.

use super::super::exit::{Code, Exit};
use super::{Answer, Format, pb};
use prost::Message;

/// Of the lease answers etcdctl encodes the header alone; that is what its readers get.
pub(super) fn render(answer: &Answer) -> Result<Vec<u8>, Exit> {
    let header = |header: &Option<pb::ResponseHeader>| header.unwrap_or_default().encode_to_vec();
    Ok(match answer {
        Answer::Get(response) => response.encode_to_vec(),
        Answer::Put(response) => response.encode_to_vec(),
        Answer::Del(response) => response.encode_to_vec(),
        Answer::Txn(response) => response.encode_to_vec(),
        Answer::Watch(report) => pb::WatchResponse {
            header: report.header,
            events: report.events.clone().unwrap_or_default(),
            compact_revision: report.compact_revision,
            canceled: report.canceled,
            ..Default::default()
        }
        .encode_to_vec(),
        Answer::Grant(response) => header(&response.header),
        Answer::KeepAlive(response) => header(&response.header),
        Answer::TimeToLive { response, .. } => header(&response.header),
        Answer::Leases(response) => header(&response.header),
        Answer::MemberList(response) => response.encode_to_vec(),
        Answer::Revoke { .. } => {
            return Err(Exit::new(
                Code::BadFeature,
                "marshal unsupported for type *clientv3.LeaseRevokeResponse",
            ));
        }
        Answer::Health(_) | Answer::Status(_) | Answer::HashKv(_) => {
            return Err(Format::Protobuf.unsupported());
        }
    })
}
