//! Ids as etcd derives them, so that a member keeps its id whichever of the two programs starts it.

use sha1::{Digest, Sha1};

/// The id of a member: the first 8 bytes of SHA-1 over its sorted peer URLs, the cluster token and, for a member
/// that is added to a running cluster, the Unix time in seconds in decimal.
pub fn member_id(peer_urls: &[String], token: &str, added_at: Option<i64>) -> u64 {
    let mut urls: Vec<&str> = peer_urls.iter().map(String::as_str).collect();
    urls.sort_unstable();
    let mut hash = Sha1::new();
    for url in urls {
        hash.update(url.as_bytes());
    }
    hash.update(token.as_bytes());
    if let Some(seconds) = added_at {
        hash.update(seconds.to_string().as_bytes());
    }
    leading_u64(&hash.finalize())
}

/// The id of a cluster: the first 8 bytes of SHA-1 over the ids of its first members, ascending.
pub fn cluster_id(members: &[u64]) -> u64 {
    let mut ids = members.to_vec();
    ids.sort_unstable();
    let mut hash = Sha1::new();
    for id in ids {
        hash.update(id.to_be_bytes());
    }
    leading_u64(&hash.finalize())
}

fn leading_u64(digest: &[u8]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_single_member_has_etcds_ids() {
        let id = member_id(&["http://localhost:2380".into()], "etcd-cluster", None);
        assert_eq!(id, 0x8e9e_05c5_2164_694d);
        assert_eq!(cluster_id(&[id]), 0xcdf8_1819_4e3a_8c32);
    }

    #[test]
    fn order_of_urls_and_members_does_not_matter() {
        let (a, b) = ("http://a:2380".to_string(), "http://b:2380".to_string());
        assert_eq!(member_id(&[a.clone(), b.clone()], "t", None), member_id(&[b, a.clone()], "t", None));
        let a = [a];
        assert_ne!(member_id(&a, "t", None), member_id(&a, "u", None));
        assert_ne!(member_id(&a, "", Some(1)), member_id(&a, "", Some(2)));
        assert_eq!(cluster_id(&[3, 1, 2]), cluster_id(&[1, 2, 3]));
    }
}
