//! `member`

use super::super::client::Repeat;
use super::super::exit::{Code, Exit};
use super::super::flags::{Flag, Kind};
use super::super::print::Answer;
use super::super::session::Session;
use super::super::tree::{Action, Command, Group, Invocation};
use super::get::is_serializable;
use api::etcdserverpb as pb;
use api::etcdserverpb::cluster_client::ClusterClient;

pub(super) static MEMBER: Command = Command {
    usage: "member",
    short: "Membership related commands. Use `{ctl} member --help` to see subcommands",
    long: "Membership related commands",
    group: Some(Group::ClusterMaintenance),
    subcommands: &[
        &LIST,
        &Command::missing("add"),
        &Command::missing("promote"),
        &Command::missing("remove"),
        &Command::missing("update"),
    ],
    action: Action::Overview,
    ..Command::EMPTY
};

static LIST: Command = Command {
    usage: "list",
    short: "Lists all members in the cluster",
    long: "When --write-out is set to simple, this command prints out comma-separated member lists for each endpoint.
The items in the lists are ID, Status, Name, Peer Addrs, Client Addrs, Is Learner.
",
    flags: &[Flag::new("consistency", Kind::Text("l"), "Linearizable(l) or Serializable(s)")],
    action: Action::Run(list),
    ..Command::EMPTY
};

fn list(mut invocation: Invocation<'_>) -> Result<(), Exit> {
    let linearizable = !is_serializable(invocation.flags.text("consistency"))?;
    let session = Session::open(&mut invocation)?;
    let (client, deadline) = (&session.client, session.deadline());
    let request = pb::MemberListRequest { linearizable };
    let response = session.call(Repeat::Yes, deadline, async |channel| {
        ClusterClient::new(channel).member_list(client.request(request, deadline)).await
    });
    session.print(&Answer::MemberList(response.map_err(|failure| Exit::new(Code::Error, failure))?))
}
