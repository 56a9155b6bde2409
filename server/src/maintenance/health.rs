//! gRPC health (`grpc.health.v1`): this member serves, under the empty service name.

use api::health::health_check_response::ServingStatus;
use api::health::{HealthCheckRequest, HealthCheckResponse};
use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::grpc::{Code, Frame, Status, Stream, StreamOut};

/// Health/Check.
pub(crate) fn check(request: Bytes, buffer: &mut BytesMut) -> Result<Frame, Status> {
    let request = HealthCheckRequest::decode(request).map_err(|error| Status::undecodable(&error))?;
    if !request.service.is_empty() {
        return Err(Status::fixed(Code::NotFound, "unknown service"));
    }
    Ok(serving(ServingStatus::Serving, buffer))
}

fn serving(status: ServingStatus, buffer: &mut BytesMut) -> Frame {
    Frame::encode(&HealthCheckResponse { status: status as i32 }, buffer)
}

/// Health/Watch: one message now; there is nothing that would change it before the member stops.
#[derive(Debug, Default)]
pub(crate) struct HealthWatch {
    asked: bool,
}

impl Stream for HealthWatch {
    fn message(&mut self, message: Bytes, out: &mut StreamOut<'_>) {
        if std::mem::replace(&mut self.asked, true) {
            return;
        }
        match HealthCheckRequest::decode(message) {
            Ok(request) => {
                let known = request.service.is_empty();
                let status = if known { ServingStatus::Serving } else { ServingStatus::ServiceUnknown };
                let frame = serving(status, out.buffer());
                out.send(frame);
            }
            Err(error) => out.finish(Status::undecodable(&error)),
        }
    }

    fn half_closed(&mut self, out: &mut StreamOut<'_>) {
        if !self.asked {
            out.finish(Status::fixed(Code::Internal, "unexpected EOF"));
        }
    }

    fn wake(&mut self, _out: &mut StreamOut<'_>) {}
}
