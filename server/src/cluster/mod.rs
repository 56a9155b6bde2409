//! Who the cluster is: how ids are made, who belongs to it, what a client sees of that.

mod identity;
mod members;
mod service;

pub use identity::{cluster_id, member_id};
pub use members::{CLUSTER_VERSION, Members, Membership, context_of};
pub(crate) use members::{admits, conf_state, store_attributes, store_change, store_version};
