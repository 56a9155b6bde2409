//! `lease`

use super::super::client::{Failure, Repeat};
use super::super::exit::{Code, Exit};
use super::super::flags::{Flag, Kind};
use super::super::go::parse_int;
use super::super::print::{Answer, Format, write_out};
use super::super::session::Session;
use super::super::tree::{Action, Command, Group, Invocation};
use api::etcdserverpb as pb;
use api::etcdserverpb::lease_client::LeaseClient;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

pub(super) static LEASE: Command = Command {
    usage: "lease",
    short: "Lease related commands. Use `{ctl} lease --help` to see subcommands",
    long: "Lease related commands",
    group: Some(Group::KeyValue),
    subcommands: &[&GRANT, &REVOKE, &TIME_TO_LIVE, &LIST, &KEEP_ALIVE],
    action: Action::Overview,
    ..Command::EMPTY
};

static GRANT: Command =
    Command { usage: "grant <ttl>", short: "Creates leases", action: Action::Run(grant), ..Command::EMPTY };

static REVOKE: Command = Command {
    usage: "revoke <leaseID>",
    short: "Revokes leases",
    action: Action::Run(revoke),
    ..Command::EMPTY
};

static TIME_TO_LIVE: Command = Command {
    usage: "timetolive <leaseID> [options]",
    short: "Get lease information",
    flags: &[Flag::new("keys", Kind::Bool(false), "Get keys attached to this lease")],
    action: Action::Run(time_to_live),
    ..Command::EMPTY
};

static LIST: Command =
    Command { usage: "list", short: "List all active leases", action: Action::Run(list), ..Command::EMPTY };

static KEEP_ALIVE: Command = Command {
    usage: "keep-alive [options] <leaseID>",
    short: "Keeps leases alive (renew)",
    flags: &[Flag::new(
        "once",
        Kind::Bool(false),
        "Resets the keep-alive time to its original value and cobrautl.Exits immediately",
    )],
    action: Action::Run(keep_alive),
    ..Command::EMPTY
};

fn grant(mut invocation: Invocation<'_>) -> Result<(), Exit> {
    let [ttl] = invocation.args.as_slice() else {
        return Err(Exit::bad_args("lease grant command needs TTL argument"));
    };
    let ttl = parse_int(ttl, 10).map_err(|why| Exit::bad_args(format!("bad TTL ({why})")))?;
    let session = Session::open(&mut invocation)?;
    let (client, deadline) = (&session.client, session.deadline());
    let request = pb::LeaseGrantRequest { ttl, id: 0 };
    let response = session.call(Repeat::Yes, deadline, async |channel| {
        LeaseClient::new(channel).lease_grant(client.request(request, deadline)).await
    });
    let failed = |failure| Exit::new(Code::Error, format!("failed to grant lease ({failure})"));
    session.print(&Answer::Grant(response.map_err(failed)?))
}

fn revoke(mut invocation: Invocation<'_>) -> Result<(), Exit> {
    let id = lease_id(&invocation.args, "lease revoke command needs 1 argument")?;
    let session = Session::open(&mut invocation)?;
    let (client, deadline) = (&session.client, session.deadline());
    let response = session.call(Repeat::Yes, deadline, async |channel| {
        LeaseClient::new(channel).lease_revoke(client.request(pb::LeaseRevokeRequest { id }, deadline)).await
    });
    let failed = |failure| Exit::new(Code::Error, format!("failed to revoke lease ({failure})"));
    session.print(&Answer::Revoke { id, response: response.map_err(failed)? })
}

fn time_to_live(mut invocation: Invocation<'_>) -> Result<(), Exit> {
    let id = lease_id(&invocation.args, "lease timetolive command needs lease ID as argument")?;
    let keys = invocation.flags.bool("keys");
    let session = Session::open(&mut invocation)?;
    let client = &session.client;
    let request = pb::LeaseTimeToLiveRequest { id, keys };
    let response = session.call(Repeat::Yes, None, async |channel| {
        LeaseClient::new(channel).lease_time_to_live(client.request(request, None)).await
    });
    session.print(&Answer::TimeToLive { response: response.map_err(no_connection)?, keys })
}

fn list(mut invocation: Invocation<'_>) -> Result<(), Exit> {
    let session = Session::open(&mut invocation)?;
    let client = &session.client;
    let response = session.call(Repeat::Yes, None, async |channel| {
        LeaseClient::new(channel).lease_leases(client.request(pb::LeaseLeasesRequest {}, None)).await
    });
    session.print(&Answer::Leases(response.map_err(no_connection)?))
}

fn keep_alive(mut invocation: Invocation<'_>) -> Result<(), Exit> {
    let id = lease_id(&invocation.args, "lease keep-alive command needs lease ID as argument")?;
    let once = invocation.flags.bool("once");
    let session = Session::open(&mut invocation)?;
    if once {
        let response =
            session.call(Repeat::Yes, None, async |channel| keep_alive_once(&session, channel, id).await);
        let response = response.map_err(no_connection)?;
        if response.ttl <= 0 {
            return Err(no_connection("etcdserver: requested lease not found"));
        }
        return session.print(&Answer::KeepAlive(response));
    }
    session.run(keep_alive_until_gone(&session, id))?;
    if session.style.format == Format::Simple {
        write_out(format!("lease {id:016x} expired or revoked.\n").as_bytes());
    }
    Ok(())
}

async fn keep_alive_once(
    session: &Session,
    channel: Channel,
    id: i64,
) -> Result<tonic::Response<pb::LeaseKeepAliveResponse>, tonic::Status> {
    let requests = tokio_stream::once(pb::LeaseKeepAliveRequest { id });
    let request = session.client.request(requests, None);
    let mut responses = LeaseClient::new(channel).lease_keep_alive(request).await?.into_inner();
    let response = responses.message().await?;
    response.map(tonic::Response::new).ok_or_else(|| tonic::Status::unavailable("transport is closing"))
}

/// Three times in each TTL, over a new stream when one breaks.
async fn keep_alive_until_gone(session: &Session, id: i64) -> Result<(), Exit> {
    loop {
        match keep_alive_over_one_stream(session, id).await? {
            Ok(()) => return Ok(()),
            Err(failure) if failure.is_unavailable() => {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(failure) => return Err(no_connection(failure)),
        }
    }
}

/// The inner error is the stream's, the outer one the program's.
async fn keep_alive_over_one_stream(session: &Session, id: i64) -> Result<Result<(), Failure>, Exit> {
    let (at, channel) = session.client.connected().await;
    let (requests, receiver) = mpsc::channel(1);
    let ask = async || requests.send(pb::LeaseKeepAliveRequest { id }).await;
    let broken = |status: tonic::Status| {
        session.client.forget(at);
        Ok(Err(Failure::from(status)))
    };
    // The first request has to be there before the server answers at all.
    ask().await.expect("the receiver is alive");
    let request = session.client.request(ReceiverStream::new(receiver), None);
    let mut responses = match LeaseClient::new(channel).lease_keep_alive(request).await {
        Ok(responses) => responses.into_inner(),
        Err(status) => return broken(status),
    };
    loop {
        let response = match responses.message().await {
            Ok(Some(response)) => response,
            Ok(None) => return broken(tonic::Status::unavailable("transport is closing")),
            Err(status) => return broken(status),
        };
        if response.ttl <= 0 {
            return Ok(Ok(()));
        }
        let pause = Duration::from_secs(response.ttl.unsigned_abs()) / 3;
        session.print(&Answer::KeepAlive(response))?;
        tokio::time::sleep(pause).await;
        if ask().await.is_err() {
            return broken(tonic::Status::unavailable("transport is closing"));
        }
    }
}

fn no_connection(why: impl std::fmt::Display) -> Exit {
    Exit::new(Code::BadConnection, why)
}

fn lease_id(args: &[Vec<u8>], needs: &str) -> Result<i64, Exit> {
    let [id] = args else {
        return Err(Exit::bad_args(needs));
    };
    parse_int(id, 16).map_err(|why| Exit::bad_args(format!("bad lease ID arg ({why}), expecting ID in Hex")))
}
