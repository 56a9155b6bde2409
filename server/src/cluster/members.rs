//! The members and the cluster version, as stored and as clients see them.

use std::sync::Arc;

use api::etcdserverpb;
use api::graven::MemberRecord;
use arc_swap::ArcSwap;
use bytes::Bytes;
use engine::{Contents, Store, SystemBucket};
use prost::Message;
use replication::{MembershipChange, MembershipKind};

/// The version members of a new cluster agree on.
pub const CLUSTER_VERSION: &str = "3.7.0";

const VERSION_KEY: &[u8] = b"clusterVersion";
const CONF_STATE_KEY: &[u8] = b"confState";

/// The membership at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Membership {
    /// Ascending by id.
    pub members: Vec<MemberRecord>,
    /// As `major.minor.patch`; `None` until it is decided.
    pub cluster_version: Option<String>,
}

impl Membership {
    /// Reads what the store holds.
    pub(crate) fn load(contents: Contents<'_>) -> Result<Membership, engine::Error> {
        let mut members = Vec::new();
        for (_, record) in contents.system_range(SystemBucket::Members)? {
            // The page was intact, so the record is what we once wrote.
            members.extend(MemberRecord::decode(record).ok());
        }
        members.sort_by_key(|member| member.id);
        let version = contents.system_get(SystemBucket::Cluster, VERSION_KEY)?;
        let cluster_version = version.map(|version| String::from_utf8_lossy(version).into_owned());
        Ok(Membership { members, cluster_version })
    }

    /// One member.
    pub fn member(&self, id: u64) -> Option<&MemberRecord> {
        self.members.iter().find(|member| member.id == id)
    }

    /// For `MemberList`.
    pub fn listed(&self) -> Vec<etcdserverpb::Member> {
        let listed = |member: &MemberRecord| etcdserverpb::Member {
            id: member.id,
            name: member.name.clone(),
            peer_urls: member.peer_urls.clone(),
            client_urls: member.client_urls.clone(),
            is_learner: member.is_learner,
        };
        self.members.iter().map(listed).collect()
    }
}

/// Where every thread finds the newest membership.
#[derive(Clone, Debug, Default)]
pub struct Members(Arc<ArcSwap<Membership>>);

impl Members {
    /// The newest one.
    pub fn get(&self) -> Arc<Membership> {
        self.0.load_full()
    }

    pub(crate) fn set(&self, membership: Membership) {
        self.0.store(Arc::new(membership));
    }
}

/// What a membership entry of the log carries about a member: the record to be stored.
pub fn context_of(member: &MemberRecord) -> Bytes {
    member.encode_to_vec().into()
}

/// The raft membership as last stored.
pub(crate) fn conf_state(store: &Store) -> Result<Vec<u8>, engine::Error> {
    Ok(store.system_get(SystemBucket::Cluster, CONF_STATE_KEY)?.unwrap_or_default().to_vec())
}

/// Whether a change makes sense for the members there are: a removed member never comes back, nobody joins twice,
/// nobody takes another one's address, and only members change or leave.
pub(crate) fn admits(store: &Store, change: &MembershipChange) -> Result<bool, engine::Error> {
    let known = |id: u64| -> Result<Option<MemberRecord>, engine::Error> {
        let stored = store.system_get(SystemBucket::Members, &id.to_be_bytes())?;
        Ok(stored.and_then(|bytes| MemberRecord::decode(bytes).ok()))
    };
    if store.system_get(SystemBucket::MembersRemoved, &change.member_id.to_be_bytes())?.is_some() {
        return Ok(false);
    }
    let existing = known(change.member_id)?;
    Ok(match change.kind {
        MembershipKind::AddVoter => match &existing {
            Some(member) => member.is_learner,
            None => address_is_free(store, change)?,
        },
        MembershipKind::AddLearner => existing.is_none() && address_is_free(store, change)?,
        MembershipKind::Remove => existing.is_some(),
        MembershipKind::Update => existing.is_some() && address_is_free(store, change)?,
    })
}

fn address_is_free(store: &Store, change: &MembershipChange) -> Result<bool, engine::Error> {
    let Ok(new) = MemberRecord::decode(change.context.clone()) else { return Ok(false) };
    let members = Membership::load(store.contents())?.members;
    let others = || members.iter().filter(|member| member.id != change.member_id);
    Ok(!others().any(|other| other.peer_urls.iter().any(|url| new.peer_urls.contains(url))))
}

/// Stores a change that was admitted (or not: then the raft membership alone, which is the one from before).
pub(crate) fn store_change(
    store: &mut Store,
    change: &MembershipChange,
    admitted: bool,
    conf_state: &[u8],
) -> Result<(), engine::Error> {
    store.system_put(SystemBucket::Cluster, CONF_STATE_KEY, conf_state)?;
    if !admitted {
        return Ok(());
    }
    let key = change.member_id.to_be_bytes();
    let stored =
        store.system_get(SystemBucket::Members, &key)?.and_then(|bytes| MemberRecord::decode(bytes).ok());
    let given = MemberRecord::decode(change.context.clone()).unwrap_or_default();
    let record = match (change.kind, stored) {
        (MembershipKind::Remove, _) => {
            store.system_delete(SystemBucket::Members, &key)?;
            return store.system_put(SystemBucket::MembersRemoved, &key, b"removed");
        }
        (MembershipKind::AddVoter, Some(learner)) => MemberRecord { is_learner: false, ..learner },
        (MembershipKind::Update, Some(member)) => MemberRecord { peer_urls: given.peer_urls, ..member },
        (kind, _) => {
            MemberRecord { id: change.member_id, is_learner: kind == MembershipKind::AddLearner, ..given }
        }
    };
    store.system_put(SystemBucket::Members, &key, &record.encode_to_vec())
}

/// Stores what a member says about itself once it has started.
pub(crate) fn store_attributes(
    store: &mut Store,
    id: u64,
    name: String,
    client_urls: Vec<String>,
) -> Result<(), engine::Error> {
    let key = id.to_be_bytes();
    let Some(bytes) = store.system_get(SystemBucket::Members, &key)? else { return Ok(()) };
    let Ok(member) = MemberRecord::decode(bytes) else { return Ok(()) };
    let record = MemberRecord { name, client_urls, ..member };
    store.system_put(SystemBucket::Members, &key, &record.encode_to_vec())
}

/// Stores the cluster version.
pub(crate) fn store_version(store: &mut Store, version: &str) -> Result<(), engine::Error> {
    store.system_put(SystemBucket::Cluster, VERSION_KEY, version.as_bytes())
}
