//! The Cluster service, as far as it only looks.

use api::etcdserverpb::{MemberListRequest, MemberListResponse};
use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::authorise::{Access, authorise};
use crate::grpc::{Call, Frame, Outcome, Status};
use crate::kv::service::{decode, require};
use crate::member::{ParkedRead, Shared};

impl Shared {
    pub(crate) fn member_list(&self, call: Call<'_>, bytes: Bytes) -> Outcome {
        let request = decode!(MemberListRequest, bytes);
        require!(authorise(call.metadata, Access::Identity));
        if !request.linearizable {
            return self.answer_members(call.buffer).into();
        }
        match self.park(call.id, ParkedRead::Members) {
            Ok(_) => self.answer_members(call.buffer).into(),
            Err(pending) => pending,
        }
    }

    /// Headers of this service carry no revision.
    pub(crate) fn answer_members(&self, buffer: &mut BytesMut) -> Frame {
        let members = self.members.get().listed();
        Frame::encode(&MemberListResponse { header: Some(self.header(0)), members }, buffer)
    }
}
