//! Each format of each answer, as etcdctl 3.7.1 printed it.

use super::*;
use api::etcdserverpb::ResponseHeader;
use api::etcdserverpb::response_op::Response;
use api::mvccpb::{Event, KeyValue};
use bytes::Bytes;
use prost::Message;

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        cluster_id: 324_952_591_200_643_719,
        member_id: 3_319_814_642_761_637_952,
        revision,
        raft_term: 2,
    })
}

fn kv() -> KeyValue {
    KeyValue {
        key: Bytes::from_static(b"a\""),
        create_revision: 2,
        mod_revision: 3,
        version: 2,
        value: Bytes::from_static(b"\xff\n"),
        lease: 31,
    }
}

fn render(format: Format, answer: &Answer) -> String {
    style(format, false, answer)
}

fn style(format: Format, hex: bool, answer: &Answer) -> String {
    let bytes = Style { format, hex, values_only: false }.render(answer).expect("a supported format");
    bytes.iter().map(|&byte| if byte == 0xff { '?' } else { char::from(byte) }).collect()
}

const HEAD: &str = r#""cluster_id":324952591200643719,"member_id":3319814642761637952"#;
const FIELDS_HEAD: &str = "\"ClusterID\" : 324952591200643719\n\"MemberID\" : 3319814642761637952\n";

#[test]
fn get() {
    let answer = Answer::Get(pb::RangeResponse { header: header(3), kvs: vec![kv()], more: true, count: 4 });
    assert_eq!(render(Format::Simple, &answer), "a\"\n?\n\n");
    assert_eq!(style(Format::Simple, true, &answer), "\\x61\\x22\n\\xff\\x0a\n");
    let values = Style { format: Format::Simple, hex: false, values_only: true };
    assert_eq!(values.render(&answer), Ok(b"\xff\n\n".to_vec()));
    let kv = r#"{"key":"YSI=","create_revision":2,"mod_revision":3,"version":2,"value":"/wo=","lease":31}"#;
    assert_eq!(
        render(Format::Json, &answer),
        format!(
            "{{\"header\":{{{HEAD},\"revision\":3,\"raft_term\":2}},\"kvs\":[{kv}],\"more\":true,\"count\":4}}\n"
        )
    );
    let record = "\"Key\" : \"a\\\"\"\n\"CreateRevision\" : 2\n\"ModRevision\" : 3\n\"Version\" : 2\n\"Value\" : \"\\xff\\n\"\n";
    assert_eq!(
        render(Format::Fields, &answer),
        format!(
            "{FIELDS_HEAD}\"Revision\" : 3\n\"RaftTerm\" : 2\n{record}\"Lease\" : 31\n\"More\" : true\n\"Count\" : 4\n"
        )
    );
    assert_eq!(
        style(Format::Fields, true, &answer),
        format!(
            "\"ClusterID\" : 48276a8f75b6a87\n\"MemberID\" : 2e1259d415f2a040\n\"Revision\" : 3\n\"RaftTerm\" : 2\n\
             {record}\"Lease\" : 000000000000001f\n\"More\" : true\n\"Count\" : 4\n"
        )
    );
    let Answer::Get(response) = &answer else { unreachable!() };
    let protobuf = Style { format: Format::Protobuf, hex: false, values_only: false };
    assert_eq!(protobuf.render(&answer), Ok(response.encode_to_vec()));
}

#[test]
fn txn() {
    let own = |revision| Some(ResponseHeader { revision, ..Default::default() });
    let responses = [
        Response::ResponsePut(pb::PutResponse { header: own(4), prev_kv: Some(kv()) }),
        Response::ResponseRange(pb::RangeResponse { header: own(4), ..Default::default() }),
        Response::ResponseDeleteRange(pb::DeleteRangeResponse {
            header: own(4),
            deleted: 1,
            prev_kvs: Vec::new(),
        }),
    ];
    let responses = responses.map(|response| pb::ResponseOp { response: Some(response) }).to_vec();
    let answer = Answer::Txn(pb::TxnResponse { header: header(4), succeeded: true, responses });
    assert_eq!(render(Format::Simple, &answer), "SUCCESS\n\nOK\na\"\n?\n\n\n\n1\n");
    let json = render(Format::Json, &answer);
    let tail = "{\"Response\":{\"response_range\":{\"header\":{\"revision\":4}}}},\
                {\"Response\":{\"response_delete_range\":{\"header\":{\"revision\":4},\"deleted\":1}}}]}\n";
    assert!(json.contains("\"succeeded\":true,\"responses\":[{\"Response\":{\"response_put\":{"), "{json}");
    assert!(json.ends_with(tail), "{json}");
    let failed = Answer::Txn(pb::TxnResponse { header: header(4), ..Default::default() });
    assert_eq!(render(Format::Simple, &failed), "FAILURE\n");
    assert_eq!(
        render(Format::Fields, &failed),
        format!("{FIELDS_HEAD}\"Revision\" : 4\n\"RaftTerm\" : 2\n\"Succeeded\" : false\n")
    );
}

#[test]
fn watch() {
    let put = Event {
        r#type: 0,
        kv: Some(kv()),
        prev_kv: Some(KeyValue { value: Bytes::from_static(b"old"), ..kv() }),
    };
    let deleted = KeyValue { key: Bytes::from_static(b"b"), mod_revision: 5, ..Default::default() };
    let delete = Event { r#type: 1, kv: Some(deleted), prev_kv: None };
    let report = WatchReport { header: header(5), events: Some(vec![put, delete]), ..Default::default() };
    let answer = Answer::Watch(report);
    assert_eq!(render(Format::Simple, &answer), "PUT\na\"\nold\na\"\n?\n\nDELETE\nb\n\n");
    let json = render(Format::Json, &answer);
    assert!(
        json.starts_with(&format!(
            "{{\"Header\":{{{HEAD},\"revision\":5,\"raft_term\":2}},\"Events\":[{{\"kv\":"
        )),
        "{json}"
    );
    assert!(json.contains("{\"type\":1,\"kv\":{\"key\":\"Yg==\",\"mod_revision\":5}}]"), "{json}");
    let end = WatchReport { canceled: true, ..Default::default() };
    assert_eq!(
        render(Format::Json, &Answer::Watch(end)),
        "{\"Header\":{},\"Events\":null,\"CompactRevision\":0,\"Canceled\":true,\"Created\":false,\"CancelReason\":\"\"}\n"
    );
}

#[test]
fn leases() {
    let grant =
        Answer::Grant(pb::LeaseGrantResponse { header: header(3), id: 31, ttl: 100, error: String::new() });
    assert_eq!(render(Format::Simple, &grant), "lease 000000000000001f granted with TTL(100s)\n");
    assert_eq!(
        render(Format::Json, &grant),
        format!("{{{HEAD},\"revision\":3,\"raft_term\":2,\"ID\":31,\"TTL\":100,\"Error\":\"\"}}\n")
    );
    let protobuf = Style { format: Format::Protobuf, hex: false, values_only: false };
    assert_eq!(protobuf.render(&grant), Ok(header(3).expect("one").encode_to_vec()));
    let keys = vec![Bytes::from_static(b"a"), Bytes::from_static(b"b c")];
    let response = pb::LeaseTimeToLiveResponse { header: header(3), id: 31, ttl: 9, granted_ttl: 10, keys };
    let ttl = |keys| Answer::TimeToLive { response: response.clone(), keys };
    assert_eq!(
        render(Format::Simple, &ttl(true)),
        "lease 000000000000001f granted with TTL(10s), remaining(9s), attached keys([a b c])\n"
    );
    assert_eq!(
        render(Format::Simple, &ttl(false)),
        "lease 000000000000001f granted with TTL(10s), remaining(9s)\n"
    );
    assert!(
        render(Format::Json, &ttl(true))
            .ends_with("\"id\":31,\"ttl\":9,\"granted-ttl\":10,\"keys\":[\"YQ==\",\"YiBj\"]}\n")
    );
    let gone = pb::LeaseTimeToLiveResponse { id: 31, ttl: -1, ..Default::default() };
    let gone = Answer::TimeToLive { response: gone, keys: true };
    assert_eq!(render(Format::Simple, &gone), "lease 000000000000001f already expired\n");
    assert!(render(Format::Json, &gone).ends_with("\"ttl\":-1,\"granted-ttl\":0,\"keys\":null}\n"));
    let all = pb::LeaseLeasesResponse { header: header(3), leases: vec![pb::LeaseStatus { id: 31 }] };
    assert_eq!(render(Format::Simple, &Answer::Leases(all)), "found 1 leases\n000000000000001f\n");
    let none = Answer::Leases(pb::LeaseLeasesResponse { header: header(3), leases: Vec::new() });
    assert!(render(Format::Json, &none).ends_with("\"leases\":[]}\n"));
    let revoked = Answer::Revoke { id: 31, response: pb::LeaseRevokeResponse { header: header(3) } };
    assert_eq!(protobuf.render(&revoked).map_err(|exit| exit.code), Err(Code::BadFeature));
}

#[test]
fn members() {
    let member = pb::Member {
        id: 3_319_814_642_761_637_952,
        name: "default".into(),
        peer_urls: vec!["http://127.0.0.1:23800".into()],
        client_urls: vec!["http://127.0.0.1:23790".into()],
        is_learner: false,
    };
    let fresh = pb::Member { id: 10, is_learner: true, ..Default::default() };
    let answer =
        Answer::MemberList(pb::MemberListResponse { header: header(0), members: vec![member, fresh] });
    assert_eq!(
        render(Format::Simple, &answer),
        "2e1259d415f2a040, started, default, http://127.0.0.1:23800, http://127.0.0.1:23790, false\n\
         a, unstarted, , , , true\n"
    );
    let json = render(Format::Json, &answer);
    assert!(json.ends_with("{\"ID\":10,\"isLearner\":true}]}\n"), "{json}");
    let json = style(Format::Json, true, &answer);
    assert!(json.starts_with("{\"header\":{\"cluster_id\":\"48276a8f75b6a87\",\"member_id\":\"2e1259d415f2a040\",\"raft_term\":2}"), "{json}");
    let fields = render(Format::Fields, &answer);
    assert!(fields.ends_with("\"ID\" : 10\n\"Name\" : \"\"\n\"IsLearner\" : true\n\n"), "{fields}");
    let table =
        Style { format: Format::Table, hex: false, values_only: false }.render(&answer).expect("a table");
    let table = String::from_utf8(table).expect("text");
    assert_eq!(
        table.lines().nth(1),
        Some(
            "\u{2502}        ID        \u{2502}  STATUS   \u{2502}  NAME   \u{2502}       PEER ADDRS       \u{2502}      CLIENT ADDRS      \u{2502} IS LEARNER \u{2502}"
        )
    );
    let cells = table.lines().nth(4).expect("five lines");
    assert!(
        cells.starts_with("\u{2502}                a \u{2502} unstarted \u{2502}         \u{2502}"),
        "{table}"
    );
}

#[test]
fn endpoints() {
    let status = pb::StatusResponse {
        header: header(3),
        version: "3.7.1".into(),
        db_size: 20480,
        leader: 3_319_814_642_761_637_952,
        raft_index: 8,
        raft_term: 2,
        raft_applied_index: 8,
        db_size_in_use: 16384,
        storage_version: "3.7.0".into(),
        db_size_quota: 2_147_483_648,
        downgrade_info: Some(pb::DowngradeInfo::default()),
        ..Default::default()
    };
    let answer = Answer::Status(vec![("127.0.0.1:23790".into(), status.clone())]);
    assert_eq!(
        render(Format::Simple, &answer),
        "127.0.0.1:23790, 2e1259d415f2a040, 3.7.1, 3.7.0, 20 kB, 16 kB, 20%, 2.1 GB, true, false, 2, 8, 8, , , false\n"
    );
    assert!(render(Format::Json, &answer).ends_with("\"dbSizeQuota\":2147483648,\"downgradeInfo\":{}}}]\n"));
    let errors = vec!["one".to_owned(), "two".to_owned()];
    let troubled = Answer::Status(vec![("e".into(), pb::StatusResponse { errors, db_size: 0, ..status })]);
    assert!(render(Format::Fields, &troubled).contains("\"Errors\" : [one two]\n"));
    assert!(render(Format::Simple, &troubled).ends_with(", one, two, , false\n"));
    let unhealthy = Health { endpoint: "e".into(), healthy: false, took: "1ms".into(), error: "why".into() };
    assert_eq!(
        render(Format::Json, &Answer::Health(vec![unhealthy])),
        "[{\"endpoint\":\"e\",\"health\":false,\"took\":\"1ms\",\"error\":\"why\"}]\n"
    );
    assert_eq!(render(Format::Json, &Answer::Status(Vec::new())), "null\n");
    for format in [Format::Protobuf, Format::Table] {
        let exit =
            Style { format, hex: false, values_only: false }.render(&Answer::Put(pb::PutResponse::default()));
        assert_eq!(exit.is_err(), format == Format::Table);
        let exit = Style { format, hex: false, values_only: false }.render(&answer);
        assert_eq!(exit.is_err(), format == Format::Protobuf);
    }
}

#[test]
fn text_in_json_is_escaped_as_go_does() {
    let mut json = Json::default();
    json.object(|o| o.text("k", "<&>\"\\\n\t\x01\u{2028}\u{e9}"));
    assert_eq!(json.finish(), "{\"k\":\"\\u003c\\u0026\\u003e\\\"\\\\\\n\\t\\u0001\\u2028\u{e9}\"}");
}
