//! `endpoint`: each endpoint by itself.

use super::super::client::{Client, Deadline, Failure, Repeat, StatusText};
use super::super::exit::{Code, Exit};
use super::super::flags::{Flag, Kind};
use super::super::go::format_duration;
use super::super::print::{Answer, Health, write_err};
use super::super::session::Session;
use super::super::tree::{Action, Command, Group, Invocation};
use api::etcdserverpb as pb;
use api::etcdserverpb::cluster_client::ClusterClient;
use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::maintenance_client::MaintenanceClient;
use bytes::Bytes;
use std::time::Instant;

pub(super) static ENDPOINT: Command = Command {
    usage: "endpoint",
    short: "Endpoint related commands. Use `{ctl} endpoint --help` to see subcommands",
    long: "Endpoint related commands",
    group: Some(Group::ClusterMaintenance),
    inherited: &[Flag::new("cluster", Kind::Bool(false), "use all endpoints from the cluster member list")],
    subcommands: &[&HEALTH, &STATUS, &HASH_KV],
    action: Action::Overview,
    ..Command::EMPTY
};

static HEALTH: Command = Command {
    usage: "health",
    short: "Checks the healthiness of endpoints specified in `--endpoints` flag",
    action: Action::Run(health),
    ..Command::EMPTY
};

static STATUS: Command = Command {
    usage: "status",
    short: "Prints out the status of endpoints specified in `--endpoints` flag",
    long: "When --write-out is set to simple, this command prints out comma-separated status lists for each endpoint.
The items in the lists are endpoint, ID, version, db size, is leader, is learner, raft term, raft index, raft applied index, errors.
",
    action: Action::Run(status),
    ..Command::EMPTY
};

static HASH_KV: Command = Command {
    usage: "hashkv",
    short: "Prints the KV history hash for each endpoint in --endpoints",
    inherited: &[Flag::new("rev", Kind::Int(0), "maximum revision to hash (default: latest revision)")],
    action: Action::Run(hash_kv),
    ..Command::EMPTY
};

/// All at once, so that one that is dead holds up nobody; who answers first is shown first.
fn health(mut invocation: Invocation<'_>) -> Result<(), Exit> {
    let session = Session::open(&mut invocation)?;
    let mut checks = Vec::new();
    for endpoint in endpoints(&session, &invocation)? {
        let client = session.client.to_endpoint(&endpoint)?;
        checks.push(check(client, endpoint, session.deadline()));
    }
    let all = session.run(tokio::task::LocalSet::new().run_until(async {
        let mut running = tokio::task::JoinSet::new();
        checks.into_iter().for_each(|check| {
            running.spawn_local(check);
        });
        running.join_all().await
    }));
    let unhealthy = all.iter().any(|health| !health.error.is_empty());
    session.print(&Answer::Health(all))?;
    if unhealthy { Err(Exit::new(Code::Error, "unhealthy cluster")) } else { Ok(()) }
}

/// Healthy is who gets any key through consensus and knows of no alarm. Being refused the key is fine too.
async fn check(client: Client, endpoint: String, deadline: Deadline) -> Health {
    let range = pb::RangeRequest { key: Bytes::from_static(b"health"), ..Default::default() };
    let began = Instant::now();
    let get = async |channel| KvClient::new(channel).range(client.request(range.clone(), deadline)).await;
    let answer = client.call(Repeat::Yes, deadline, get).await;
    let took = format_duration(i64::try_from(began.elapsed().as_nanos()).unwrap_or(i64::MAX));
    let error = match answer {
        Ok(_) | Err(Failure::Refused(StatusText { code: tonic::Code::PermissionDenied, .. })) => {
            let list = async |channel| {
                MaintenanceClient::new(channel)
                    .alarm(client.request(pb::AlarmRequest::default(), deadline))
                    .await
            };
            let alarms = client.call(Repeat::Yes, deadline, list).await;
            alarms.map_or("Unable to fetch the alarm list".to_owned(), |response| active_alarms(&response))
        }
        Err(failure) => failure.to_string(),
    };
    Health { endpoint, healthy: error.is_empty(), took, error }
}

fn active_alarms(response: &pb::AlarmResponse) -> String {
    if response.alarms.is_empty() {
        return String::new();
    }
    let names = response.alarms.iter().map(|member| match member.alarm() {
        pb::AlarmType::Nospace => "NOSPACE ",
        pb::AlarmType::Corrupt => "CORRUPT ",
        pb::AlarmType::None => "UNKNOWN ",
    });
    format!("Active Alarm(s): {}", names.collect::<String>())
}

fn status(mut invocation: Invocation<'_>) -> Result<(), Exit> {
    let session = Session::open(&mut invocation)?;
    let mut all = Vec::new();
    let mut result = Ok(());
    for endpoint in endpoints(&session, &invocation)? {
        let answer = ask(&session, &endpoint, async |client: &Client, channel, deadline| {
            MaintenanceClient::new(channel).status(client.request(pb::StatusRequest {}, deadline)).await
        })?;
        match answer {
            Ok(response) => all.push((endpoint, response)),
            Err(failure) => {
                write_err(&format!("Failed to get the status of endpoint {endpoint} ({failure})\n"));
                result = Err(Exit::silent(Code::Error));
            }
        }
    }
    session.print(&Answer::Status(all))?;
    result
}

fn hash_kv(mut invocation: Invocation<'_>) -> Result<(), Exit> {
    let revision = invocation.flags.int("rev");
    let session = Session::open(&mut invocation)?;
    let mut all = Vec::new();
    let mut result = Ok(());
    for endpoint in endpoints(&session, &invocation)? {
        let answer = ask(&session, &endpoint, async |client: &Client, channel, deadline| {
            MaintenanceClient::new(channel)
                .hash_kv(client.request(pb::HashKvRequest { revision }, deadline))
                .await
        })?;
        match answer {
            Ok(response) => all.push((endpoint, response)),
            Err(failure) => {
                write_err(&format!("Failed to get the hash of endpoint {endpoint} ({failure})\n"));
                result = Err(Exit::new(Code::Error, failure));
            }
        }
    }
    session.print(&Answer::HashKv(all))?;
    result
}

/// One call to this endpoint and no other.
pub(super) fn ask<T>(
    session: &Session,
    endpoint: &str,
    send: impl AsyncFn(&Client, tonic::transport::Channel, Deadline) -> Result<tonic::Response<T>, tonic::Status>,
) -> Result<Result<T, Failure>, Exit> {
    let client = session.client.to_endpoint(endpoint)?;
    let deadline = session.deadline();
    Ok(session.run(client.call(Repeat::No, deadline, async |channel| send(&client, channel, deadline).await)))
}

/// Those given, or with `--cluster` those the members advertise.
pub(super) fn endpoints(session: &Session, invocation: &Invocation<'_>) -> Result<Vec<String>, Exit> {
    if !invocation.flags.bool("cluster") {
        return Ok(invocation.flags.list("endpoints").to_vec());
    }
    let (client, deadline) = (&session.client, session.deadline());
    let members = session.call(Repeat::Yes, deadline, async |channel| {
        let request = pb::MemberListRequest { linearizable: true };
        ClusterClient::new(channel).member_list(client.request(request, deadline)).await
    });
    let members = members.map_err(|failure| {
        let message = format!("failed to fetch endpoints from etcd cluster member list: {failure}");
        Exit::new(Code::Error, message)
    })?;
    Ok(members.members.into_iter().flat_map(|member| member.client_urls).collect())
}
