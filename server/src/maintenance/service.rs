//! The Maintenance service, as far as it concerns this member alone.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use api::etcdserverpb::alarm_request::AlarmAction;
use api::etcdserverpb::{
    AlarmRequest, DefragmentRequest, DowngradeInfo, HashKvRequest, HashRequest, ResponseHeader,
    StatusRequest, StatusResponse,
};
use bytes::{Bytes, BytesMut};
use prost::Message;

use super::VERSION;
use super::hash::{hash_all, hash_kv};
use crate::authorise::{Access, authorise};
use crate::grpc::{self, Call, Code, Frame, Outcome, Status};
use crate::kv::service::{decode, require};
use crate::kv::{Failure, Operation};
use crate::member::Shared;

/// An empty file is still a page, and clients take 0 for an error.
const LEAST_FILE_BYTES: u64 = 4096;

/// A walk over a whole history may take its time, as in etcd.
const HASH_LIMIT: Duration = Duration::from_secs(3600);

/// So may defragmentation: it moves gigabytes at the rate of a checkpoint. The client's own deadline ends the call, not
/// the work.
const DEFRAGMENT_LIMIT: Duration = Duration::from_secs(24 * 3600);

impl Shared {
    pub(crate) fn maintenance_status(&self, call: Call<'_>, bytes: Bytes) -> Outcome {
        decode!(StatusRequest, bytes);
        require!(authorise(call.metadata, Access::Identity));
        let leader = self.status.leader();
        let membership = self.members.get();
        let response = StatusResponse {
            header: Some(self.header_now()),
            version: VERSION.to_string(),
            db_size: self.sizes.file_bytes().max(LEAST_FILE_BYTES).cast_signed(),
            leader,
            raft_index: self.status.commit(),
            raft_term: self.status.term(),
            raft_applied_index: self.status.applied(),
            errors: if leader == 0 { vec![grpc::NO_LEADER.message.into_owned()] } else { Vec::new() },
            db_size_in_use: self.sizes.in_use_bytes().max(LEAST_FILE_BYTES).cast_signed(),
            is_learner: self.status.is_learner(),
            storage_version: membership.cluster_version.clone().unwrap_or_default(),
            db_size_quota: self.quota_bytes,
            downgrade_info: Some(DowngradeInfo::default()),
        };
        Frame::encode(&response, call.buffer).into()
    }

    /// Even looking goes through the log, as in etcd. Raising and clearing alarms isn't there yet.
    pub(crate) fn alarm(&self, call: Call<'_>, bytes: Bytes) -> Outcome {
        let request = decode!(AlarmRequest, bytes.clone());
        if request.action != AlarmAction::Get as i32 {
            require!(authorise(call.metadata, Access::Admin));
            return Status::fixed(
                Code::Unimplemented,
                "etcdserver: raising and clearing alarms is not there yet",
            )
            .into();
        }
        require!(authorise(call.metadata, Access::Identity));
        self.propose(call, Operation::Alarm, &bytes)
    }

    /// Local, as in etcd; unlike there, everything else goes on meanwhile.
    pub(crate) fn defragment(&self, call: Call<'_>, bytes: Bytes) -> Outcome {
        decode!(DefragmentRequest, bytes);
        require!(authorise(call.metadata, Access::Admin));
        require!(self.defragments.ask(call.id));
        Outcome::Pending { limit: DEFRAGMENT_LIMIT, late: grpc::TIMEOUT }
    }

    pub(crate) fn hash_kv(self: &Arc<Self>, call: Call<'_>, bytes: Bytes) -> Outcome {
        let request = decode!(HashKvRequest, bytes);
        require!(authorise(call.metadata, Access::Admin));
        let current = self.reader.view().revision();
        self.in_background(call, move |member, header| {
            let response = hash_kv(&member.reader, &member.hashes, request.revision)?;
            // Without a revision the hash is of the one that was current when the walk began.
            let revision = current.max(response.hash_revision);
            let header = Some(ResponseHeader { revision, ..header });
            Ok(Frame::encode(&api::etcdserverpb::HashKvResponse { header, ..response }, &mut BytesMut::new()))
        })
    }

    pub(crate) fn hash(self: &Arc<Self>, call: Call<'_>, bytes: Bytes) -> Outcome {
        decode!(HashRequest, bytes);
        require!(authorise(call.metadata, Access::Admin));
        let view = self.reader.view();
        self.in_background(call, move |_, header| {
            let response = hash_all(&view)?;
            let header = Some(ResponseHeader { revision: view.revision(), ..header });
            Ok(Frame::encode(&api::etcdserverpb::HashResponse { header, ..response }, &mut BytesMut::new()))
        })
    }

    /// Walks the history on a thread of its own: the loop has other connections to serve.
    fn in_background(
        self: &Arc<Self>,
        call: Call<'_>,
        work: impl FnOnce(&Shared, ResponseHeader) -> Result<Frame, Failure> + Send + 'static,
    ) -> Outcome {
        let member = Arc::clone(self);
        let (id, header) = (call.id, self.header(0));
        let spawned = thread::Builder::new().name("graven-hash".into()).spawn(move || {
            let answer = work(&member, header).map_err(|failure| member.status_of(failure));
            member.completions.complete(id, answer);
        });
        match spawned {
            Ok(_) => Outcome::Pending { limit: HASH_LIMIT, late: grpc::TIMEOUT },
            Err(error) => {
                Status::new(Code::ResourceExhausted, format!("etcdserver: no thread to hash on: {error}"))
                    .into()
            }
        }
    }
}
