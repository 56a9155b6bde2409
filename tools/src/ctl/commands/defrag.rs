//! `defrag`: each endpoint by itself, one after the other.

use super::super::exit::{Code, Exit};
use super::super::flags::{Flag, Kind};
use super::super::go::format_duration;
use super::super::print::{write_err, write_out};
use super::super::session::Session;
use super::super::tree::{Action, Command, Group, Invocation};
use super::endpoint::{ask, endpoints};
use api::etcdserverpb as pb;
use api::etcdserverpb::maintenance_client::MaintenanceClient;
use std::time::Instant;

pub(super) static DEFRAG: Command = Command {
    usage: "defrag",
    short: "Defragments the storage of the etcd members with given endpoints",
    group: Some(Group::ClusterMaintenance),
    inherited: &[Flag::new("cluster", Kind::Bool(false), "use all endpoints from the cluster member list")],
    action: Action::Run(run),
    ..Command::EMPTY
};

/// One that fails does not keep the others from it.
fn run(mut invocation: Invocation<'_>) -> Result<(), Exit> {
    let session = Session::open(&mut invocation)?;
    let mut result = Ok(());
    for endpoint in endpoints(&session, &invocation)? {
        let began = Instant::now();
        let answer = ask(&session, &endpoint, async |client, channel, deadline| {
            let request = client.request(pb::DefragmentRequest {}, deadline);
            MaintenanceClient::new(channel).defragment(request).await
        })?;
        let took = format_duration(i64::try_from(began.elapsed().as_nanos()).unwrap_or(i64::MAX));
        match answer {
            Ok(_) => {
                let line = format!("Finished defragmenting etcd member[{endpoint}]. took {took}\n");
                write_out(line.as_bytes());
            }
            Err(failure) => {
                write_err(&format!(
                    "Failed to defragment etcd member[{endpoint}]. took {took}. ({failure})\n"
                ));
                result = Err(Exit::silent(Code::Error));
            }
        }
    }
    result
}
