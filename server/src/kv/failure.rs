//! Why a read or an apply gives no answer.

use crate::grpc::Status;

/// A refusal to tell the client, or storage that can't be trusted any more.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client's business.
    Refused(Status),
    /// The member's end: storage is damaged.
    Damaged(engine::Error),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        Failure::Refused(status)
    }
}

impl From<engine::Error> for Failure {
    fn from(error: engine::Error) -> Failure {
        Failure::Damaged(error)
    }
}
