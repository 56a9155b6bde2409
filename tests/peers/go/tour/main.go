// The client tour through the official Go client, go.etcd.io/etcd/client/v3.
//
// usage: tour-go ENDPOINT
//
// The expected answers were taken from a real etcd 3.7.1, against which the same program passes. Revisions are counted
// from the one the tour found (base), so it does not matter what was in the store before.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// patience bounds every wait of the tour.
const patience = 20 * time.Second

type tour struct {
	ctx    context.Context
	client *clientv3.Client
	base   int64
	checks int
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: tour-go ENDPOINT")
		os.Exit(2)
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{os.Args[1]}, DialTimeout: patience, Logger: zap.NewNop()})
	if err != nil {
		die("connect: %v", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()

	t := &tour{ctx: ctx, client: client}
	t.clear()
	t.put()
	t.get()
	t.history()
	t.del()
	t.txn()
	t.lease()
	t.expiry()
	t.watchPast()
	t.watchLive()
	t.compact()
	t.rest()
	fmt.Printf("go tour: %d checks passed\n", t.checks)
}

func die(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "go tour: "+format+"\n", arguments...)
	os.Exit(1)
}

func (t *tour) same(what string, expected, got any) {
	t.checks++
	if !reflect.DeepEqual(expected, got) {
		die("%s\n  expected %#v\n  got      %#v", what, expected, got)
	}
}

func (t *tour) ok(what string, err error) {
	t.checks++
	if err != nil {
		die("%s: %v", what, err)
	}
}

// refused checks the code and the text on the wire, and that the client recognises the error as its own.
func (t *tour) refused(what string, expected error, err error) {
	t.checks++
	if err == nil {
		die("%s: succeeded, expected %v", what, expected)
	}
	if !errors.Is(err, rpctypes.Error(expected)) {
		die("%s: the client took the error for %#v, expected %#v", what, err, rpctypes.Error(expected))
	}
	var known rpctypes.EtcdError
	if !errors.As(err, &known) {
		die("%s: not an error of etcd's: %v", what, err)
	}
	want := status.Convert(expected)
	t.same(what+": code", want.Code(), known.Code())
	t.same(what+": text", want.Message(), known.Error())
}

// kv is a KeyValue without what the wire format adds, so that two can be compared.
type kv struct {
	key, value                     string
	create, modified, version, lid int64
}

func plain(k *mvccpb.KeyValue) kv {
	return kv{string(k.Key), string(k.Value), k.CreateRevision, k.ModRevision, k.Version, k.Lease}
}

func keys(kvs []*mvccpb.KeyValue) string {
	var out []string
	for _, k := range kvs {
		out = append(out, strings.TrimPrefix(string(k.Key), "tour/")+"="+string(k.Value))
	}
	return strings.Join(out, " ")
}

func (t *tour) clear() {
	answer, err := t.client.Delete(t.ctx, "tour/", clientv3.WithPrefix())
	t.ok("clear", err)
	t.base = answer.Header.Revision
	if answer.Header.ClusterId == 0 || answer.Header.MemberId == 0 || answer.Header.RaftTerm == 0 {
		die("header is not filled: %v", answer.Header)
	}
}

func (t *tour) put() {
	for i, name := range []string{"a", "b", "c"} {
		answer, err := t.client.Put(t.ctx, "tour/"+name, fmt.Sprint(i+1))
		t.ok("put", err)
		t.same("revision of put", t.base+int64(i)+1, answer.Header.Revision)
	}
	answer, err := t.client.Put(t.ctx, "tour/a", "one", clientv3.WithPrevKV()) // +4
	t.ok("put with the previous value", err)
	t.same("previous", kv{"tour/a", "1", t.base + 1, t.base + 1, 1, 0}, plain(answer.PrevKv))
	_, err = t.client.Put(t.ctx, "tour/a", "", clientv3.WithIgnoreValue()) // +5
	t.ok("put that keeps the value", err)
	_, err = t.client.Put(t.ctx, "tour/\x00\xff", "\x00binary\xff") // +6
	t.ok("put of binary", err)
	_, err = t.client.Put(t.ctx, "tour/empty", "") // +7
	t.ok("put of nothing", err)

	_, err = t.client.Put(t.ctx, "", "value")
	t.refused("put without a key", rpctypes.ErrGRPCEmptyKey, err)
	_, err = t.client.Put(t.ctx, "tour/absent", "", clientv3.WithIgnoreValue())
	t.refused("put that keeps no value", rpctypes.ErrGRPCKeyNotFound, err)
	_, err = t.client.Put(t.ctx, "tour/absent", "1", clientv3.WithIgnoreLease())
	t.refused("put that keeps no lease", rpctypes.ErrGRPCKeyNotFound, err)
	_, err = t.client.Put(t.ctx, "tour/a", "1", clientv3.WithLease(0x7fffffff))
	t.refused("put with an unknown lease", rpctypes.ErrGRPCLeaseNotFound, err)
	raw := pb.NewKVClient(t.client.ActiveConnection())
	_, err = raw.Put(t.ctx, &pb.PutRequest{Key: []byte("tour/a"), Value: []byte("x"), IgnoreValue: true})
	t.refused("put that keeps the value and gives one", rpctypes.ErrGRPCValueProvided, rpctypes.Error(err))
	_, err = raw.Put(t.ctx, &pb.PutRequest{Key: []byte("tour/a"), Lease: 1, IgnoreLease: true})
	t.refused("put that keeps the lease and gives one", rpctypes.ErrGRPCLeaseProvided, rpctypes.Error(err))
	_, err = t.client.Put(t.ctx, "tour/a", strings.Repeat("x", 1572864))
	t.refused("put that is too large", rpctypes.ErrGRPCRequestTooLarge, err)
	_, err = raw.Put(t.ctx, &pb.PutRequest{Key: []byte("tour/a"), Value: make([]byte, 1572864+524288)})
	t.same("put above the limit of gRPC: code", codes.ResourceExhausted, status.Code(err))
}

func (t *tour) range_(what, expected string, count int64, more bool, key string, options ...clientv3.OpOption) {
	answer, err := t.client.Get(t.ctx, key, options...)
	t.ok(what, err)
	t.same(what, expected, keys(answer.Kvs))
	t.same(what+": count", count, answer.Count)
	t.same(what+": more", more, answer.More)
}

func (t *tour) get() {
	prefix := clientv3.WithPrefix()
	answer, err := t.client.Get(t.ctx, "tour/a")
	t.ok("get", err)
	t.same("get", kv{"tour/a", "one", t.base + 1, t.base + 5, 3, 0}, plain(answer.Kvs[0]))
	t.same("revision of a get", t.base+7, answer.Header.Revision)
	t.range_("absent", "", 0, false, "tour/absent")
	all := "\x00\xff=\x00binary\xff a=one b=2 c=3 empty="
	t.range_("prefix", all, 5, false, "tour/", prefix)
	t.range_("range", "a=one b=2", 2, false, "tour/a", clientv3.WithRange("tour/c"))
	t.range_("empty range", "", 0, false, "tour/c", clientv3.WithRange("tour/a"))
	t.range_("limit", "a=one", 4, true, "tour/a", clientv3.WithRange("tour/z"), clientv3.WithLimit(1))
	t.range_("from key", "c=3 empty=", 2, false, "tour/c", clientv3.WithFromKey(), clientv3.WithMaxModRev(t.base+7))
	t.range_("count only", "", 5, false, "tour/", prefix, clientv3.WithCountOnly())
	t.range_("keys only", "a= b= c= empty=", 4, false, "tour/a", clientv3.WithRange("tour/z"), clientv3.WithKeysOnly())
	t.range_("serializable", "a=one", 1, false, "tour/a", clientv3.WithSerializable())

	az := clientv3.WithRange("tour/z")
	sorted := func(what, expected string, target clientv3.SortTarget, order clientv3.SortOrder) {
		t.range_("sort by "+what, expected, 4, false, "tour/a", az, clientv3.WithSort(target, order))
	}
	sorted("key down", "empty= c=3 b=2 a=one", clientv3.SortByKey, clientv3.SortDescend)
	sorted("version up", "b=2 c=3 empty= a=one", clientv3.SortByVersion, clientv3.SortAscend)
	sorted("version down", "a=one b=2 c=3 empty=", clientv3.SortByVersion, clientv3.SortDescend)
	sorted("create up", "a=one b=2 c=3 empty=", clientv3.SortByCreateRevision, clientv3.SortAscend)
	sorted("mod up", "b=2 c=3 a=one empty=", clientv3.SortByModRevision, clientv3.SortAscend)
	sorted("mod down", "empty= a=one c=3 b=2", clientv3.SortByModRevision, clientv3.SortDescend)
	sorted("value up", "empty= b=2 c=3 a=one", clientv3.SortByValue, clientv3.SortAscend)
	t.range_("first of a sort", "empty=", 4, true, "tour/a", az, clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend), clientv3.WithLimit(1))

	t.range_("min mod", "a=one empty=", 4, false, "tour/a", az, clientv3.WithMinModRev(t.base+4))
	t.range_("max mod", "b=2 c=3", 4, false, "tour/a", az, clientv3.WithMaxModRev(t.base+4))
	t.range_("min create", "b=2 c=3 empty=", 4, false, "tour/a", az, clientv3.WithMinCreateRev(t.base+2))
	t.range_("max create", "a=one b=2", 4, false, "tour/a", az, clientv3.WithMaxCreateRev(t.base+2))

	_, err = t.client.Get(t.ctx, "")
	t.refused("get without a key", rpctypes.ErrGRPCEmptyKey, err)
	raw := pb.NewKVClient(t.client.ActiveConnection())
	_, err = raw.Range(t.ctx, &pb.RangeRequest{Key: []byte("a"), SortOrder: 7})
	t.refused("unknown sort order", rpctypes.ErrGRPCInvalidSortOption, rpctypes.Error(err))

	stream, err := t.client.GetStream(t.ctx, "tour/", prefix)
	t.ok("get as a stream", err)
	whole, err := clientv3.GetStreamToGetResponse(stream)
	t.ok("stream", err)
	t.same("stream", all, keys(whole.Kvs))
	t.same("stream: count", int64(5), whole.Count)
	t.same("stream: revision", t.base+7, whole.Header.Revision)
}

func (t *tour) history() {
	for at, expected := range map[int64]string{1: "a=1", 2: "a=1 b=2", 3: "a=1 b=2 c=3", 4: "a=one b=2 c=3"} {
		t.range_("history", expected, int64(strings.Count(expected, "=")), false, "tour/a", clientv3.WithRange("tour/d"), clientv3.WithRev(t.base+at))
	}
	_, err := t.client.Get(t.ctx, "tour/a", clientv3.WithRev(t.base+100))
	t.refused("future revision", rpctypes.ErrGRPCFutureRev, err)
}

func (t *tour) del() {
	answer, err := t.client.Delete(t.ctx, "tour/b", clientv3.WithRange("tour/d"), clientv3.WithPrevKV()) // +8
	t.ok("delete", err)
	t.same("deleted", int64(2), answer.Deleted)
	t.same("previous of the deleted", "b=2 c=3", keys(answer.PrevKvs))
	t.same("revision of a delete", t.base+8, answer.Header.Revision)
	answer, err = t.client.Delete(t.ctx, "tour/b")
	t.ok("delete of nothing", err)
	t.same("deleted nothing", int64(0), answer.Deleted)
	t.same("revision of a delete of nothing", t.base+8, answer.Header.Revision)
	t.range_("before the delete", "b=2", 1, false, "tour/b", clientv3.WithRev(t.base+7))
	_, err = t.client.Delete(t.ctx, "")
	t.refused("delete without a key", rpctypes.ErrGRPCEmptyKey, err)
}

func (t *tour) txn() {
	answer, err := t.client.Txn(t.ctx).
		If(clientv3.Compare(clientv3.Value("tour/a"), "=", "one"),
			clientv3.Compare(clientv3.Version("tour/a"), ">", 2),
			clientv3.Compare(clientv3.CreateRevision("tour/absent"), "=", 0),
			clientv3.Compare(clientv3.ModRevision("tour/a").WithRange("tour/b"), "<", t.base+8)).
		Then(clientv3.OpPut("tour/txn", "yes"),
			clientv3.OpGet("tour/a", clientv3.WithRange("tour/z")),
			clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.Version("tour/txn"), "=", 0)},
				[]clientv3.Op{clientv3.OpPut("tour/nested", "1")}, []clientv3.Op{clientv3.OpPut("tour/nested", "2")}),
								clientv3.OpDelete("tour/empty", clientv3.WithPrevKV())).
		Else(clientv3.OpPut("tour/txn", "no")).Commit() // +9
	t.ok("txn", err)
	t.same("txn took its then branch", true, answer.Succeeded)
	t.same("revision of a txn", t.base+9, answer.Header.Revision)
	t.same("answers of a txn", 4, len(answer.Responses))
	t.same("put in a txn", t.base+9, answer.Responses[0].GetResponsePut().Header.Revision)
	t.same("a range sees the puts before it", "a=one empty= txn=yes", keys(answer.Responses[1].GetResponseRange().Kvs))
	t.same("nested txn", true, answer.Responses[2].GetResponseTxn().Succeeded)
	t.same("delete in a txn", int64(1), answer.Responses[3].GetResponseDeleteRange().Deleted)
	nested, err := t.client.Get(t.ctx, "tour/nested")
	t.ok("nested", err)
	t.same("nested", kv{"tour/nested", "1", t.base + 9, t.base + 9, 1, 0}, plain(nested.Kvs[0]))

	answer, err = t.client.Txn(t.ctx).If(clientv3.Compare(clientv3.Value("tour/absent"), "!=", "x")).
		Else(clientv3.OpGet("tour/txn")).Commit()
	t.ok("read-only txn", err)
	t.same("a compare with the value of an absent key fails", false, answer.Succeeded)
	t.same("revision of a read-only txn", t.base+9, answer.Header.Revision)

	_, err = t.client.Txn(t.ctx).Then(clientv3.OpPut("tour/x", "1"), clientv3.OpPut("tour/x", "2")).Commit()
	t.refused("a key put twice", rpctypes.ErrGRPCDuplicateKey, err)
	_, err = t.client.Txn(t.ctx).Then(clientv3.OpPut("tour/x", "1"), clientv3.OpDelete("tour/", clientv3.WithPrefix())).Commit()
	t.refused("a put in a deleted range", rpctypes.ErrGRPCDuplicateKey, err)
	var many []clientv3.Op
	for i := range 129 {
		many = append(many, clientv3.OpPut(fmt.Sprintf("tour/many/%d", i), ""))
	}
	_, err = t.client.Txn(t.ctx).Then(many...).Commit()
	t.refused("129 operations", rpctypes.ErrGRPCTooManyOps, err)
	_, err = t.client.Txn(t.ctx).Then(clientv3.OpPut("tour/x", "1"), clientv3.OpGet("tour/a", clientv3.WithRev(t.base+100))).Commit()
	t.refused("a read of the future in a txn", rpctypes.ErrGRPCFutureRev, err)
	t.range_("nothing of a refused txn is there", "", 0, false, "tour/x")
}

func (t *tour) lease() {
	granted, err := t.client.Grant(t.ctx, 600)
	t.ok("grant", err)
	t.same("granted TTL", int64(600), granted.TTL)
	_, err = t.client.Put(t.ctx, "tour/leased", "1", clientv3.WithLease(granted.ID)) // +10
	t.ok("put with a lease", err)
	left, err := t.client.TimeToLive(t.ctx, granted.ID, clientv3.WithAttachedKeys())
	t.ok("time to live", err)
	t.same("granted TTL again", int64(600), left.GrantedTTL)
	t.same("attached keys", [][]byte{[]byte("tour/leased")}, left.Keys)
	if left.TTL < 590 || left.TTL > 600 {
		die("remaining TTL is %d", left.TTL)
	}
	kept, err := t.client.KeepAliveOnce(t.ctx, granted.ID)
	t.ok("keep alive", err)
	t.same("TTL after a keep-alive", int64(600), kept.TTL)
	leases, err := t.client.Leases(t.ctx)
	t.ok("leases", err)
	found := false
	for _, lease := range leases.Leases {
		found = found || lease.ID == granted.ID
	}
	t.same("the lease is listed", true, found)
	raw := pb.NewLeaseClient(t.client.ActiveConnection())
	_, err = raw.LeaseGrant(t.ctx, &pb.LeaseGrantRequest{ID: int64(granted.ID), TTL: 10})
	t.refused("a lease id twice", rpctypes.ErrGRPCLeaseExist, rpctypes.Error(err))
	_, err = t.client.Grant(t.ctx, 9_000_000_001)
	t.refused("too large a TTL", rpctypes.ErrGRPCLeaseTTLTooLarge, err)
	_, err = t.client.Revoke(t.ctx, granted.ID) // +11
	t.ok("revoke", err)
	_, err = t.client.Revoke(t.ctx, granted.ID)
	t.refused("revoke twice", rpctypes.ErrGRPCLeaseNotFound, err)
	left, err = t.client.TimeToLive(t.ctx, granted.ID)
	t.ok("time to live of a revoked lease", err)
	t.same("TTL of a revoked lease", int64(-1), left.TTL)
	_, err = t.client.KeepAliveOnce(t.ctx, granted.ID)
	t.refused("keep alive of a revoked lease", rpctypes.ErrGRPCLeaseNotFound, err)
	t.range_("a revoked lease takes its keys along", "", 0, false, "tour/leased")
}

func (t *tour) expiry() {
	granted, err := t.client.Grant(t.ctx, 1)
	t.ok("grant", err)
	t.same("the shortest TTL", int64(2), granted.TTL)
	watch := t.client.Watch(t.ctx, "tour/short")
	_, err = t.client.Put(t.ctx, "tour/short", "1", clientv3.WithLease(granted.ID)) // +12
	t.ok("put with a short lease", err)
	t.events("expiry", watch, t.base, "PUT short=1 @12", "DELETE short= @13")
}

// events takes the next events from a watch and compares them, written as "KIND key=value @revision".
func (t *tour) events(what string, watch clientv3.WatchChan, base int64, expected ...string) {
	deadline := time.After(patience)
	var got []string
	for len(got) < len(expected) {
		select {
		case answer, open := <-watch:
			if !open || answer.Err() != nil {
				die("%s: the watch ended after %q: %v", what, got, answer.Err())
			}
			for _, event := range answer.Events {
				got = append(got, fmt.Sprintf("%s %s @%d", event.Type, keys([]*mvccpb.KeyValue{event.Kv}), event.Kv.ModRevision-base))
			}
		case <-deadline:
			die("%s: got only %q, expected %q", what, got, expected)
		}
	}
	t.same(what, expected, got)
}

func (t *tour) watchPast() {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	t.events("watch from the past", t.client.Watch(ctx, "tour/a", clientv3.WithRange("tour/d"), clientv3.WithRev(t.base+1)), t.base,
		"PUT a=1 @1", "PUT b=2 @2", "PUT c=3 @3", "PUT a=one @4", "PUT a=one @5", "DELETE b= @8", "DELETE c= @8")
	t.events("watch without puts", t.client.Watch(ctx, "tour/", clientv3.WithPrefix(), clientv3.WithRev(t.base+1), clientv3.WithFilterPut()), t.base,
		"DELETE b= @8", "DELETE c= @8", "DELETE empty= @9", "DELETE leased= @11", "DELETE short= @13")
	watch := t.client.Watch(ctx, "tour/b", clientv3.WithRev(t.base+8), clientv3.WithPrevKV())
	answer := <-watch
	t.ok("watch with the previous value", answer.Err())
	t.same("previous value of a delete", kv{"tour/b", "2", t.base + 2, t.base + 2, 1, 0}, plain(answer.Events[0].PrevKv))
	t.same("a delete is not a create", false, answer.Events[0].IsCreate())
}

func (t *tour) watchLive() {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	watch := t.client.Watch(ctx, "tour/live", clientv3.WithCreatedNotify())
	created := <-watch
	t.same("the watch is there", true, created.Created)
	t.same("revision of a new watch", t.base+13, created.Header.Revision)
	future := t.client.Watch(ctx, "tour/", clientv3.WithPrefix(), clientv3.WithRev(t.base+16), clientv3.WithCreatedNotify())
	t.same("the watch in the future is there", true, (<-future).Created)
	_, err := t.client.Put(ctx, "tour/live", "1") // +14
	t.ok("put", err)
	_, err = t.client.Put(ctx, "tour/other", "1") // +15
	t.ok("put", err)
	_, err = t.client.Delete(ctx, "tour/live") // +16
	t.ok("delete", err)
	_, err = t.client.Txn(ctx).Then(clientv3.OpPut("tour/live", "2"), clientv3.OpPut("tour/live2", "3")).Commit() // +17
	t.ok("txn", err)
	t.events("watch live", watch, t.base, "PUT live=1 @14", "DELETE live= @16", "PUT live=2 @17")
	t.events("watch from the future", future, t.base, "DELETE live= @16", "PUT live=2 @17", "PUT live2=3 @17")

	// On a stream of its own, because progress is only told when every watch of the stream is up to date.
	alone := clientv3.NewWatcher(t.client)
	defer alone.Close()
	progress := alone.Watch(ctx, "tour/progress", clientv3.WithCreatedNotify())
	<-progress
	t.ok("request progress", alone.RequestProgress(ctx))
	answer := <-progress
	t.same("progress", true, answer.IsProgressNotify())
	t.same("revision of progress", t.base+17, answer.Header.Revision)
}

func (t *tour) compact() {
	answer, err := t.client.Compact(t.ctx, t.base+9, clientv3.WithCompactPhysical())
	t.ok("compact", err)
	t.same("revision of a compaction", t.base+17, answer.Header.Revision)
	_, err = t.client.Compact(t.ctx, t.base+9)
	t.refused("compact twice", rpctypes.ErrGRPCCompacted, err)
	_, err = t.client.Compact(t.ctx, t.base+100)
	t.refused("compact the future", rpctypes.ErrGRPCFutureRev, err)
	_, err = t.client.Get(t.ctx, "tour/a", clientv3.WithRev(t.base+8))
	t.refused("read what is compacted", rpctypes.ErrGRPCCompacted, err)
	t.range_("read the compacted revision itself", "a=one nested=1 txn=yes", 3, false, "tour/a", clientv3.WithRange("tour/z"), clientv3.WithRev(t.base+9))
	watch := t.client.Watch(t.ctx, "tour/a", clientv3.WithRev(t.base+1))
	refused := <-watch
	t.same("watch from what is compacted", rpctypes.ErrCompacted, refused.Err())
	t.same("compact revision of a refused watch", t.base+9, refused.CompactRevision)
	_, open := <-watch
	t.same("a refused watch is closed", false, open)
	t.events("watch from the compacted revision", t.client.Watch(t.ctx, "tour/", clientv3.WithPrefix(), clientv3.WithRev(t.base+9)), t.base,
		"PUT txn=yes @9", "PUT nested=1 @9", "DELETE empty= @9", "PUT leased=1 @10", "DELETE leased= @11", "PUT short=1 @12",
		"DELETE short= @13", "PUT live=1 @14", "PUT other=1 @15", "DELETE live= @16", "PUT live=2 @17", "PUT live2=3 @17")
}

func (t *tour) rest() {
	members, err := t.client.MemberList(t.ctx)
	t.ok("member list", err)
	t.same("members", 1, len(members.Members))
	state, err := t.client.Status(t.ctx, t.client.Endpoints()[0])
	t.ok("status", err)
	t.same("leader", members.Members[0].ID, state.Leader)
	hash, err := t.client.HashKV(t.ctx, t.client.Endpoints()[0], 0)
	t.ok("hash", err)
	t.same("compact revision of the hash", t.base+9, hash.CompactRevision)
	t.same("revision of the hash", t.base+17, hash.HashRevision)
}
