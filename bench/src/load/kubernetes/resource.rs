//! The kinds of objects there are: what their keys look like, and how large they are.

use bytes::Bytes;

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Pod,
    Node,
    Lease,
    Event,
}

const NAMESPACES: usize = 97;

impl Resource {
    pub(super) const ALL: [Resource; 4] = [Resource::Pod, Resource::Node, Resource::Lease, Resource::Event];

    /// What Kubernetes calls the part of a key; nodes were once minions, and in etcd they still are.
    fn folder(self) -> &'static str {
        match self {
            Resource::Pod => "pods",
            Resource::Node => "minions",
            Resource::Lease => "leases",
            Resource::Event => "events",
        }
    }

    /// Bytes of an object as it is stored. Pods: between the 4 KB that etcd's limits once assumed and the 10 to 20 KB of today (etcd
    /// issue 22332). The others are taken to be of the order that such objects have as protobuf: a Node lists its
    /// images and conditions, a Lease holds five fields, an Event a message and two references.
    pub(super) fn bytes(self) -> usize {
        match self {
            Resource::Pod => 8 << 10,
            Resource::Node => 12 << 10,
            Resource::Lease => 400,
            Resource::Event => 900,
        }
    }

    /// What the keys of all of them begin with.
    pub(super) fn prefix(self, root: &str) -> String {
        format!("{root}/{}/", self.folder())
    }

    /// The key of one.
    pub(super) fn key(self, root: &str, number: usize) -> Bytes {
        let prefix = self.prefix(root);
        let namespace = number % NAMESPACES;
        match self {
            Resource::Pod => format!("{prefix}namespace-{namespace:02}/pod-{number:010}"),
            Resource::Node => format!("{prefix}node-{number:06}"),
            Resource::Lease => format!("{prefix}kube-node-lease/node-{number:06}"),
            Resource::Event => format!("{prefix}namespace-{namespace:02}/pod-{number:010}"),
        }
        .into()
    }

    /// Parts of the key space that hold all of them, none of them too many to delete at once.
    pub(super) fn parts(self, root: &str) -> Vec<String> {
        let prefix = self.prefix(root);
        match self {
            Resource::Pod | Resource::Event => {
                (0..NAMESPACES).map(|namespace| format!("{prefix}namespace-{namespace:02}/")).collect()
            }
            Resource::Node | Resource::Lease => vec![prefix],
        }
    }

    /// The number in a key.
    pub(super) fn number(key: &[u8]) -> Option<usize> {
        let dash = key.iter().rposition(|byte| *byte == b'-')?;
        std::str::from_utf8(&key[dash + 1..]).ok()?.parse().ok()
    }
}

/// Where the keys with a prefix end; a prefix here ends with a slash.
pub(super) fn end_of(prefix: &str) -> Bytes {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_below_their_prefixes_and_tell_their_numbers() {
        for resource in Resource::ALL {
            let prefix = resource.prefix("/registry");
            for number in [0, 7, 96, 97, 12_345] {
                let key = resource.key("/registry", number);
                assert!(key.starts_with(prefix.as_bytes()) && key < end_of(&prefix));
                assert_eq!(Resource::number(&key), Some(number));
                let within = |part: &&String| key.starts_with(part.as_bytes());
                assert_eq!(resource.parts("/registry").iter().filter(within).count(), 1);
            }
        }
        assert_eq!(Resource::number(b"/registry/pods/x"), None);
    }
}
