//! The client tour through the etcd-client crate.
//!
//! usage: tour-rust HOST:PORT
//!
//! The expected answers were taken from a real etcd 3.7.1, against which the same program passes. Revisions are counted
//! from the one the tour found (`base`), so it does not matter what was in the store before.

use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;

use etcd_client::{
    Client, CompactionOptions, Compare, CompareOp, DeleteOptions, Error as ClientError, EventType,
    GetOptions, KeyValue, LeaseGrantOptions, LeaseTimeToLiveOptions, PutOptions, SortOrder, SortTarget, Txn,
    TxnOp, TxnOpResponse, WatchFilterType, WatchOptions, WatchStream,
};

/// Bounds every wait of the tour.
const PATIENCE: Duration = Duration::from_secs(20);
const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";

type Outcome = Result<(), Box<dyn Error>>;

struct Tour {
    client: Client,
    base: i64,
    checks: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let endpoint = std::env::args().nth(1).ok_or("usage: tour-rust HOST:PORT")?;
    let mut client = Client::connect([endpoint], None).await?;
    let cleared = client.delete("tour/", Some(DeleteOptions::new().with_prefix())).await?;
    let base = cleared.header().ok_or("an answer without a header")?.revision();
    let mut tour = Tour { client, base, checks: 0 };
    tour.put().await?;
    tour.get().await?;
    tour.history().await?;
    tour.delete().await?;
    tour.txn().await?;
    tour.lease().await?;
    tour.watch().await?;
    tour.compact().await?;
    println!("rust tour: {} checks passed", tour.checks);
    Ok(())
}

fn plain(kvs: &[KeyValue]) -> Vec<String> {
    kvs.iter()
        .map(|kv| {
            format!("{}={}", String::from_utf8_lossy(&kv.key()[5..]), String::from_utf8_lossy(kv.value()))
        })
        .collect()
}

impl Tour {
    fn same<T: PartialEq<U> + Debug, U: Debug>(&mut self, what: &str, got: T, expected: U) {
        self.checks += 1;
        assert!(got == expected, "rust tour: {what}\n  expected {expected:?}\n  got      {got:?}");
    }

    fn refused<T: Debug>(&mut self, what: &str, code: i32, text: &str, got: Result<T, ClientError>) {
        self.checks += 1;
        match got {
            Err(ClientError::GRpcStatus(status)) => {
                assert_eq!((status.code() as i32, status.message()), (code, text), "rust tour: {what}");
            }
            other => panic!("rust tour: {what}: expected {code} {text:?}, got {other:?}"),
        }
    }

    async fn put(&mut self) -> Outcome {
        for (n, key) in ["a", "b", "c"].into_iter().enumerate() {
            let answer = self.client.put(format!("tour/{key}"), format!("{}", n + 1), None).await?;
            let revision = answer.header().map(|header| header.revision());
            self.same("revision of put", revision, Some(self.base + 1 + n as i64));
        }
        let answer = self.client.put("tour/a", "one", Some(PutOptions::new().with_prev_key())).await?; // +4
        self.same("previous value", answer.prev_key().map(|kv| kv.value().to_vec()), Some(b"1".to_vec()));
        self.client.put("tour/a", "", Some(PutOptions::new().with_ignore_value())).await?; // +5
        self.client.put("tour/empty", "", None).await?; // +6
        let got = self.client.put("", "x", None).await;
        self.refused("put without a key", 3, "etcdserver: key is not provided", got);
        let got = self.client.put("tour/absent", "", Some(PutOptions::new().with_ignore_value())).await;
        self.refused("put that keeps no value", 3, "etcdserver: key not found", got);
        let got = self.client.put("tour/a", "x", Some(PutOptions::new().with_lease(0x7fff_ffff))).await;
        self.refused("put with an unknown lease", 5, "etcdserver: requested lease not found", got);
        let got = self.client.put("tour/a", vec![0; 1_572_864], None).await;
        self.refused("put that is too large", 3, "etcdserver: request is too large", got);
        Ok(())
    }

    async fn range(&mut self, what: &str, options: GetOptions, expected: &[&str]) -> Outcome {
        let got = self.client.get("tour/", Some(options)).await?;
        self.same(what, plain(got.kvs()), expected);
        Ok(())
    }

    async fn get(&mut self) -> Outcome {
        let prefix = || GetOptions::new().with_prefix();
        let got = self.client.get("tour/a", None).await?;
        let kv = got.kvs().first().ok_or("tour/a is not there")?;
        let seen = (
            kv.value(),
            kv.create_revision() - self.base,
            kv.mod_revision() - self.base,
            kv.version(),
            kv.lease(),
        );
        self.same("get", seen, (&b"one"[..], 1, 5, 3, 0));
        let got = self.client.get("tour/absent", None).await?.count();
        self.same("absent", got, 0);
        self.range("prefix", prefix(), &["a=one", "b=2", "c=3", "empty="]).await?;
        self.range("limit", prefix().with_limit(2), &["a=one", "b=2"]).await?;
        self.range("keys only", prefix().with_keys_only(), &["a=", "b=", "c=", "empty="]).await?;
        let sorted = |target, order| prefix().with_sort(target, order);
        self.range(
            "by mod down",
            sorted(SortTarget::Mod, SortOrder::Descend),
            &["empty=", "a=one", "c=3", "b=2"],
        )
        .await?;
        self.range(
            "by value up",
            sorted(SortTarget::Value, SortOrder::Ascend),
            &["empty=", "b=2", "c=3", "a=one"],
        )
        .await?;
        self.range(
            "by version down",
            sorted(SortTarget::Version, SortOrder::Descend),
            &["a=one", "b=2", "c=3", "empty="],
        )
        .await?;
        self.range("min mod", prefix().with_min_mod_revision(self.base + 5), &["a=one", "empty="]).await?;
        self.range("max create", prefix().with_max_create_revision(self.base + 2), &["a=one", "b=2"]).await?;
        self.range("serializable", prefix().with_serializable().with_limit(1), &["a=one"]).await?;
        let counted = self.client.get("tour/", Some(prefix().with_count_only())).await?;
        self.same("count only", (counted.kvs().len(), counted.count(), counted.more()), (0, 4, false));
        let got = self.client.get("tour/b", Some(GetOptions::new().with_range("tour/d"))).await?;
        self.same("range", plain(got.kvs()), ["b=2", "c=3"]);
        Ok(())
    }

    async fn history(&mut self) -> Outcome {
        let at = |revision| GetOptions::new().with_prefix().with_revision(revision);
        let base = self.base;
        self.range("at 1", at(base + 1), &["a=1"]).await?;
        self.range("at 3", at(base + 3), &["a=1", "b=2", "c=3"]).await?;
        self.range("at 4", at(base + 4), &["a=one", "b=2", "c=3"]).await?;
        let got = self.client.get("tour/a", Some(at(base + 100))).await;
        self.refused("future", 11, FUTURE, got);
        Ok(())
    }

    async fn delete(&mut self) -> Outcome {
        let options = DeleteOptions::new().with_range("tour/d").with_prev_key();
        let gone = self.client.delete("tour/b", Some(options)).await?; // +7
        self.same(
            "deleted",
            (gone.deleted(), plain(gone.prev_kvs())),
            (2, vec!["b=2".to_owned(), "c=3".to_owned()]),
        );
        let gone = self.client.delete("tour/b", None).await?;
        let revision = gone.header().map(|header| header.revision());
        self.same("delete of nothing", (gone.deleted(), revision), (0, Some(self.base + 7)));
        Ok(())
    }

    async fn txn(&mut self) -> Outcome {
        let txn = Txn::new()
            .when([
                Compare::value("tour/a", CompareOp::Equal, "one"),
                Compare::version("tour/a", CompareOp::Greater, 2),
                Compare::create_revision("tour/absent", CompareOp::Equal, 0),
                Compare::lease("tour/a", CompareOp::Equal, 0),
            ])
            .and_then([
                TxnOp::put("tour/txn", "yes", None),
                TxnOp::get("tour/", Some(GetOptions::new().with_prefix())),
                TxnOp::txn(Txn::new().and_then([TxnOp::put("tour/nested", "1", None)])),
                TxnOp::delete("tour/empty", None),
            ])
            .or_else([TxnOp::put("tour/txn", "no", None)]);
        let answer = self.client.txn(txn).await?; // +8
        self.same("txn", answer.succeeded(), true);
        for response in answer.op_responses() {
            match response {
                TxnOpResponse::Get(got) => {
                    self.same("get in a txn", plain(got.kvs()), ["a=one", "empty=", "txn=yes"])
                }
                TxnOpResponse::Delete(gone) => self.same("delete in a txn", gone.deleted(), 1),
                TxnOpResponse::Txn(nested) => self.same("nested", nested.succeeded(), true),
                TxnOpResponse::Put(put) => {
                    let revision = put.header().map(|header| header.revision());
                    self.same("put in a txn", revision, Some(self.base + 8));
                }
            }
        }
        let txn = Txn::new()
            .when([Compare::mod_revision("tour/a", CompareOp::Greater, self.base + 100)])
            .or_else([TxnOp::put("tour/txn", "no", None)]);
        let got = self.client.txn(txn).await?.succeeded();
        self.same("txn that takes its else branch", got, false); // +9
        let txn = Txn::new().and_then([TxnOp::put("tour/x", "1", None), TxnOp::put("tour/x", "2", None)]);
        let got = self.client.txn(txn).await;
        self.refused("a key put twice", 3, "etcdserver: duplicate key given in txn request", got);
        Ok(())
    }

    async fn lease(&mut self) -> Outcome {
        let granted = self.client.lease_grant(600, None).await?;
        let id = granted.id();
        self.same("TTL", granted.ttl(), 600);
        self.client.put("tour/leased", "1", Some(PutOptions::new().with_lease(id))).await?; // +10
        let left =
            self.client.lease_time_to_live(id, Some(LeaseTimeToLiveOptions::new().with_keys())).await?;
        self.same("attached", (left.granted_ttl(), left.keys()), (600, &[b"tour/leased".to_vec()][..]));
        let (mut keeper, mut kept) = self.client.lease_keep_alive(id).await?;
        keeper.keep_alive().await?;
        self.same("keep alive", kept.message().await?.map(|answer| answer.ttl()), Some(600));
        let got = self.client.lease_grant(10, Some(LeaseGrantOptions::new().with_id(id))).await;
        self.refused("a lease id twice", 9, "etcdserver: lease already exists", got);
        let got = self.client.lease_grant(9_000_000_001, None).await;
        self.refused("too large a TTL", 11, "etcdserver: too large lease TTL", got);
        self.client.lease_revoke(id).await?; // +11
        let got = self.client.lease_revoke(id).await;
        self.refused("revoke twice", 5, "etcdserver: requested lease not found", got);
        let got = self.client.lease_time_to_live(id, None).await?.ttl();
        self.same("revoked", got, -1);
        let got = self.client.get("tour/leased", None).await?.count();
        self.same("its key is gone", got, 0);

        let granted = self.client.lease_grant(1, None).await?;
        self.same("the shortest TTL", granted.ttl(), 2);
        let mut watch = self.client.watch("tour/short", None).await?;
        self.created(&mut watch).await?;
        self.client.put("tour/short", "1", Some(PutOptions::new().with_lease(granted.id()))).await?; // +12
        self.events("expiry", &mut watch, &["put short=1 @12", "delete short= @13"]).await
    }

    async fn created(&mut self, watch: &mut WatchStream) -> Outcome {
        let answer = watch.message().await?.ok_or("the watch ended")?;
        self.same("created", (answer.created(), answer.canceled()), (true, false));
        Ok(())
    }

    async fn events(&mut self, what: &str, watch: &mut WatchStream, expected: &[&str]) -> Outcome {
        let mut got = Vec::new();
        while got.len() < expected.len() {
            let answer = tokio::time::timeout(PATIENCE, watch.message()).await;
            let answer =
                answer.map_err(|_| format!("{what}: got only {got:?}"))??.ok_or("the watch ended")?;
            for event in answer.events() {
                let kv = event.kv().ok_or("an event without a key")?;
                let kind = if event.event_type() == EventType::Put { "put" } else { "delete" };
                got.push(format!(
                    "{kind} {} @{}",
                    plain(std::slice::from_ref(kv))[0],
                    kv.mod_revision() - self.base
                ));
            }
        }
        self.same(what, got, expected);
        Ok(())
    }

    async fn watch(&mut self) -> Outcome {
        let from = |revision| WatchOptions::new().with_prefix().with_start_revision(revision);
        let mut past = self.client.watch("tour/", Some(from(self.base + 7))).await?;
        self.created(&mut past).await?;
        let history = [
            "delete b= @7",
            "delete c= @7",
            "put txn=yes @8",
            "put nested=1 @8",
            "delete empty= @8",
            "put txn=no @9",
            "put leased=1 @10",
            "delete leased= @11",
            "put short=1 @12",
            "delete short= @13",
        ];
        self.events("watch from the past", &mut past, &history).await?;
        let deletes = from(self.base + 8).with_filters([WatchFilterType::NoPut]);
        let mut filtered = self.client.watch("tour/", Some(deletes)).await?;
        self.created(&mut filtered).await?;
        self.events(
            "watch without puts",
            &mut filtered,
            &["delete empty= @8", "delete leased= @11", "delete short= @13"],
        )
        .await?;

        let mut live = self.client.watch("tour/live", None).await?;
        self.created(&mut live).await?;
        self.client.put("tour/live", "1", None).await?; // +14
        self.client.put("tour/other", "1", None).await?; // +15
        self.client.delete("tour/live", None).await?; // +16
        self.events("watch live", &mut live, &["put live=1 @14", "delete live= @16"]).await?;
        live.request_progress().await?;
        let told = live.message().await?.ok_or("the watch ended")?;
        let revision = told.header().map(|header| header.revision());
        self.same("progress", (told.events().len(), revision), (0, Some(self.base + 16)));
        live.cancel(0).await?;
        let ended = live.message().await?.ok_or("the watch ended")?;
        self.same("canceled", (ended.canceled(), ended.watch_id()), (true, 0));
        Ok(())
    }

    async fn compact(&mut self) -> Outcome {
        let physical = Some(CompactionOptions::new().with_physical());
        self.client.compact(self.base + 8, physical).await?;
        let got = self.client.compact(self.base + 8, None).await;
        self.refused("compact twice", 11, COMPACTED, got);
        let got = self.client.compact(self.base + 100, None).await;
        self.refused("compact the future", 11, FUTURE, got);
        let got = self.client.get("tour/a", Some(GetOptions::new().with_revision(self.base + 7))).await;
        self.refused("read what is compacted", 11, COMPACTED, got);
        let at = GetOptions::new().with_prefix().with_revision(self.base + 8);
        self.range("the compacted revision itself", at, &["a=one", "nested=1", "txn=yes"]).await?;
        let from = WatchOptions::new().with_start_revision(self.base + 1);
        let mut watch = self.client.watch("tour/a", Some(from)).await?;
        self.created(&mut watch).await?;
        let ended = watch.message().await?.ok_or("the watch ended")?;
        let seen = (ended.canceled(), ended.compact_revision() - self.base);
        self.same("watch from what is compacted", seen, (true, 8));
        Ok(())
    }
}
