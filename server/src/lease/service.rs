//! The Lease service, but for the keep-alive stream.

use api::etcdserverpb::{
    LeaseGrantRequest, LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseStatus,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use bytes::Bytes;
use prost::Message;

use crate::authorise::{Access, authorise};
use crate::grpc::{self, Call, Frame, Outcome, Status};
use crate::kv::Operation;
use crate::kv::service::{decode, require};
use crate::member::Shared;

impl Shared {
    pub(crate) fn lease_grant(&self, call: Call<'_>, bytes: Bytes) -> Outcome {
        let mut request = decode!(LeaseGrantRequest, bytes);
        require!(authorise(call.metadata, Access::Identity));
        if request.id == 0 {
            request.id = self.ids.next_lease();
        }
        // Raised here and not in `apply`, so that it doesn't depend on the settings of whoever applies it.
        request.ttl = request.ttl.max(self.limits.min_lease_ttl);
        self.propose(call, Operation::LeaseGrant, &request.encode_to_vec())
    }

    pub(crate) fn lease_revoke(&self, call: Call<'_>, bytes: Bytes) -> Outcome {
        let request = decode!(LeaseRevokeRequest, bytes.clone());
        require!(authorise(call.metadata, Access::Identity));
        require!(authorise(call.metadata, Access::Lease(request.id)));
        self.propose(call, Operation::LeaseRevoke, &bytes)
    }

    pub(crate) fn lease_time_to_live(&self, call: Call<'_>, bytes: Bytes) -> Outcome {
        let request = decode!(LeaseTimeToLiveRequest, bytes);
        require!(authorise(call.metadata, Access::Identity));
        if request.keys {
            require!(authorise(call.metadata, Access::LeaseKeys(request.id)));
        }
        if !self.lessor.is_primary() {
            return grpc::NO_LEADER.into();
        }
        let view = self.reader.view();
        let mut response = LeaseTimeToLiveResponse {
            header: Some(self.header(view.revision())),
            id: request.id,
            ttl: -1,
            ..LeaseTimeToLiveResponse::default()
        };
        if let Some(remaining) = self.lessor.remaining(request.id) {
            response.ttl = remaining.seconds;
            response.granted_ttl = remaining.ttl;
            if request.keys {
                match view.lease_keys(request.id) {
                    Ok(keys) => response.keys = keys,
                    Err(error) => return self.status_of(error.into()).into(),
                }
            }
        }
        Frame::encode(&response, call.buffer).into()
    }

    pub(crate) fn lease_leases(&self, call: Call<'_>, bytes: Bytes) -> Outcome {
        decode!(LeaseLeasesRequest, bytes);
        require!(authorise(call.metadata, Access::Identity));
        let leases = self.lessor.list().into_iter().map(|id| LeaseStatus { id }).collect();
        Frame::encode(&LeaseLeasesResponse { header: Some(self.header_now()), leases }, call.buffer).into()
    }
}
