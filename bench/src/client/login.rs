//! Single calls: is this an etcd, and may I come in?

use std::sync::Arc;
use std::time::Instant;

use api::etcdserverpb::{
    AuthenticateRequest, AuthenticateResponse, MemberListRequest, MemberListResponse, StatusRequest,
    StatusResponse,
};
use prost::Message;

use super::target::PATIENCE;
use super::{Client, Credentials, Events, Failure, Lean, Method, Outcome, Target, Until};
use crate::error::{Error, Result};

/// One unary call on the first connection of a client that has nothing else under way.
///
/// # Errors
/// What became of it; none came within some seconds counts as lost.
pub(crate) fn ask<A: Message + Default>(
    client: &mut dyn Client,
    connection: usize,
    method: Method,
    request: &impl Message,
) -> std::result::Result<A, Failure> {
    let by = Instant::now() + PATIENCE;
    let mut events = Events::new();
    client.call(connection, method, &request.encode_to_vec(), 0);
    while Instant::now() < by {
        let turned = client.turn(Until::Time(by), &mut events);
        turned.map_err(|error| Failure::Lost(error.to_string().into()))?;
        if let Some(event) = events.iter().next() {
            match event.outcome {
                Outcome::Answer(bytes) => {
                    return A::decode(bytes)
                        .map_err(|_| Failure::Invalid("it is not the message it should be"));
                }
                Outcome::Failed(failure) => return Err(failure.clone()),
                Outcome::Message(_) | Outcome::Ended => {
                    return Err(Failure::Invalid("not the answer to a single call"));
                }
            }
        }
    }
    Err(Failure::Lost(format!("no answer within {PATIENCE:?}").into()))
}

/// Connects to every endpoint once: gets a token where credentials are given, and makes sure that it is an etcd that
/// answers. Returns the version of the first.
///
/// # Errors
/// [`Error::Usage`] naming the endpoint and what to do.
pub(crate) fn log_in(target: &mut Target, credentials: Option<&Credentials>) -> Result<String> {
    let endpoints = target.endpoints.len();
    if let Some(Credentials { name, password }) = credentials {
        let mut client = Lean::connect(target, 1)?;
        let request = AuthenticateRequest { name: name.clone(), password: password.clone() };
        let answer: AuthenticateResponse = ask(&mut client, 0, Method::Authenticate, &request)
            .map_err(|failure| refused(target, 0, &format!("--user {name}: {}", login_advice(&failure))))?;
        target.token = Some(Arc::from(answer.token));
    }
    let mut client = Lean::connect(target, endpoints)?;
    let mut first: Option<(u64, String)> = None;
    let mut first_members: Option<Vec<(u64, Vec<String>)>> = None;
    for connection in 0..endpoints {
        let answer: StatusResponse = ask(&mut client, connection, Method::Status, &StatusRequest {})
            .map_err(|failure| refused(target, connection, &advice(&failure)))?;
        let cluster = answer.header.map_or(0, |header| header.cluster_id);
        let (known, _) = first.get_or_insert((cluster, answer.version));
        if *known != cluster {
            let what = format!("it belongs to another cluster than {}; give members of one", target.name(0));
            return Err(refused(target, connection, &what));
        }
        // Clusters that were started alike have one identity by accident; what their members listen at tells them apart.
        if endpoints > 1
            && let Some(members) = members(&mut client, connection)
            && *first_members.get_or_insert_with(|| members.clone()) != members
        {
            let first = target.name(0);
            let what = format!("its cluster has other members than that of {first}; give members of one");
            return Err(refused(target, connection, &what));
        }
    }
    Ok(first.map_or_else(String::new, |(_, version)| version))
}

/// Who belongs to the cluster as this endpoint sees it, and where each takes clients; none where that is not told.
fn members(client: &mut dyn Client, connection: usize) -> Option<Vec<(u64, Vec<String>)>> {
    let request = MemberListRequest { linearizable: true };
    let answer: MemberListResponse = ask(client, connection, Method::MemberList, &request).ok()?;
    let urls = |mut urls: Vec<String>| {
        urls.sort();
        urls
    };
    let mut members: Vec<_> = answer.members.into_iter().map(|one| (one.id, urls(one.client_urls))).collect();
    members.sort();
    Some(members)
}

/// Who does not know passwords may be an etcd all the same: Graven is one without.
fn login_advice(failure: &Failure) -> String {
    if failure.is_unimplemented() {
        return format!("{failure}; it has no authentication, or is no etcd: leave --user out");
    }
    advice(failure)
}

fn refused(target: &Target, connection: usize, what: &str) -> Error {
    Error::Usage(format!("{}: {what}", target.name(connection)))
}

fn advice(failure: &Failure) -> String {
    let what = match failure {
        Failure::Status { message, .. } if message.contains("authentication is not enabled") => {
            "; leave --user out, or enable authentication there"
        }
        Failure::Status { message, .. } if message.contains("authentication failed") => {
            "; check the name and the password"
        }
        Failure::Status { message, .. } if message.contains("user name is empty") => {
            "; it wants to know who asks: give --user NAME:PASSWORD"
        }
        failure if failure.is_unimplemented() => "; it is no etcd: give the client port of one",
        Failure::Http(_) | Failure::Invalid(_) | Failure::Reset(_) => {
            "; it does not answer as an etcd does: give the client port of one"
        }
        _ => "",
    };
    format!("{failure}{what}")
}
