//! Range: every way to read keys, put together from stored bytes.
//!
//! In the default order nothing is decoded: a record goes from the page into the answer in one copy. For another
//! order, or with revision filters, the heads of all keys are gathered first; a record is looked into only to
//! sort by value.

use std::cmp::Ordering;

use api::etcdserverpb::range_request::{SortOrder, SortTarget};
use api::etcdserverpb::{RangeRequest, ResponseHeader};
use bytes::BytesMut;
use engine::{Contents, Head, Item, KeyRange};

use super::failure::Failure;
use super::go_order;
use super::record::{append_key, append_record, append_without_value};
use super::validate::{has_revision_filters, is_default_order};
use crate::grpc::{self, Code, Status};
use crate::wire;

// Fields of RangeResponse.
const HEADER: u32 = 1;
const KVS: u32 = 2;
const MORE: u32 = 3;
const COUNT: u32 = 4;

/// grpc-go's limit for a message it sends.
pub(crate) const MAX_MESSAGE_BYTES: usize = if cfg!(test) { 1 << 20 } else { i32::MAX as usize };

/// Appends a `RangeResponse`. The request has passed its checks.
pub(crate) fn append_response(
    view: Contents<'_>,
    request: &RangeRequest,
    header: &ResponseHeader,
    out: &mut BytesMut,
) -> Result<(), Failure> {
    let at = effective_revision(view, request.revision)?;
    wire::message(out, HEADER, header);
    let range = KeyRange::from_etcd(request.key.clone(), request.range_end.clone());
    if request.count_only {
        wire::int64(out, COUNT, count(view, &range, at)?);
        return Ok(());
    }
    let found = if is_default_order(request) && !has_revision_filters(request) && sorts_by_key(request) {
        append_in_key_order(view, request, &range, at, out)?
    } else {
        append_sorted(view, request, &range, at, out)?
    };
    wire::bool(out, MORE, found.more);
    wire::int64(out, COUNT, found.count);
    Ok(())
}

/// The revision to read at: the newest for 0 and below.
pub(crate) fn effective_revision(view: Contents<'_>, wanted: i64) -> Result<i64, Status> {
    let current = view.revision();
    if wanted > current {
        return Err(grpc::FUTURE_REV);
    }
    let at = if wanted <= 0 { current } else { wanted };
    if at < view.compact_revision() { Err(grpc::COMPACTED) } else { Ok(at) }
}

struct Found {
    more: bool,
    count: i64,
}

fn count(view: Contents<'_>, range: &KeyRange, at: i64) -> Result<i64, Failure> {
    Ok(view.count(range, at)?.cast_signed())
}

fn sorts_by_key(request: &RangeRequest) -> bool {
    request.sort_target == SortTarget::Key as i32
}

/// How a key goes into the answer.
#[derive(Clone, Copy)]
enum Form {
    Record,
    /// Everything but the value.
    WithoutValue,
    /// What etcd's key index knows.
    Key,
}

impl Form {
    fn of(request: &RangeRequest) -> Form {
        match (request.keys_only, request.sort_target == SortTarget::Value as i32) {
            (false, _) => Form::Record,
            (true, true) => Form::WithoutValue,
            (true, false) => Form::Key,
        }
    }
}

fn append_in_key_order(
    view: Contents<'_>,
    request: &RangeRequest,
    range: &KeyRange,
    at: i64,
    out: &mut BytesMut,
) -> Result<Found, Failure> {
    let form = Form::of(request);
    if request.range_end.is_empty() {
        let Some(item) = view.get(&request.key, at)? else { return Ok(Found { more: false, count: 0 }) };
        append_item(&item, form, out)?;
        return Ok(Found { more: false, count: 1 });
    }
    let mut sent = 0;
    let mut keys = keys_of(view, range, at, form);
    while let Some(item) = keys.try_next()? {
        if request.limit > 0 && sent == request.limit {
            return Ok(Found { more: true, count: count(view, range, at)? });
        }
        append_item(&item, form, out)?;
        sent += 1;
        check_size(out)?;
    }
    Ok(Found { more: false, count: sent })
}

/// The keys of a range; where no record goes into the answer, none is fetched ahead of time.
fn keys_of<'v>(view: Contents<'v>, range: &KeyRange, at: i64, form: Form) -> engine::Range<'v> {
    let keys = view.range(range, at);
    if matches!(form, Form::Key) { keys.heads_only() } else { keys }
}

fn append_item(item: &Item<'_, '_>, form: Form, out: &mut BytesMut) -> Result<(), engine::Error> {
    match form {
        Form::Record => append_record(out, KVS, item.record()?),
        Form::WithoutValue => append_without_value(out, KVS, item.record()?),
        Form::Key => append_key(out, KVS, item.key, &item.head),
    }
    Ok(())
}

fn check_size(out: &BytesMut) -> Result<(), Status> {
    if out.len() > MAX_MESSAGE_BYTES {
        let text =
            format!("grpc: trying to send message larger than max ({} vs. {MAX_MESSAGE_BYTES})", out.len());
        return Err(Status::new(Code::ResourceExhausted, text));
    }
    Ok(())
}

fn append_sorted(
    view: Contents<'_>,
    request: &RangeRequest,
    range: &KeyRange,
    at: i64,
    out: &mut BytesMut,
) -> Result<Found, Failure> {
    // With order NONE etcd fetches no more than the limit and one, in key order, and sorts those.
    let fetch = match usize::try_from(request.limit) {
        Ok(limit) if limit > 0 && is_default_order(request) && !has_revision_filters(request) => {
            limit.saturating_add(1)
        }
        _ => usize::MAX,
    };
    let form = Form::of(request);
    let sorts_by_value = request.sort_target == SortTarget::Value as i32;
    let mut all = 0;
    let mut rows = Vec::new();
    let mut keys = keys_of(view, range, at, form);
    while all < fetch {
        let Some(item) = keys.try_next()? else { break };
        all += 1;
        if passes_filters(request, &item.head) {
            let key = if matches!(form, Form::Key) { item.key.to_vec() } else { Vec::new() };
            let record = if matches!(form, Form::Key) { &[] } else { item.record()? };
            let value = if sorts_by_value { item.value()? } else { &[] };
            rows.push(Row { key, head: item.head, record, value });
        }
    }
    let count = if all == fetch { count(view, range, at)? } else { all as i64 };
    sort(request, &mut rows);
    let kept = match usize::try_from(request.limit) {
        Ok(limit) if limit > 0 => limit.min(rows.len()),
        _ => rows.len(),
    };
    for row in &rows[..kept] {
        match form {
            Form::Record => append_record(out, KVS, row.record),
            Form::WithoutValue => append_without_value(out, KVS, row.record),
            Form::Key => append_key(out, KVS, &row.key, &row.head),
        }
        check_size(out)?;
    }
    Ok(Found { more: kept < rows.len(), count })
}

/// A key that is gathered to be sorted. What isn't needed for the answer is left empty.
struct Row<'v> {
    key: Vec<u8>,
    head: Head,
    record: &'v [u8],
    value: &'v [u8],
}

/// All four bounds are inclusive; 0 is no bound.
fn passes_filters(request: &RangeRequest, head: &Head) -> bool {
    let within = |number: i64, min: i64, max: i64| (max == 0 || number <= max) && (min == 0 || number >= min);
    within(head.modified, request.min_mod_revision, request.max_mod_revision)
        && within(head.create, request.min_create_revision, request.max_create_revision)
}

/// Rows come in key order. Those with equal sort keys end up in the order in which etcd leaves them.
fn sort(request: &RangeRequest, rows: &mut [Row<'_>]) {
    let descending = request.sort_order == SortOrder::Descend as i32;
    let by = |compare: fn(&Row<'_>, &Row<'_>) -> Ordering, rows: &mut [Row<'_>]| match descending {
        false => go_order::sort(rows, |a, b| compare(a, b).is_lt()),
        true => go_order::sort(rows, |a, b| compare(b, a).is_lt()),
    };
    match SortTarget::try_from(request.sort_target) {
        Ok(SortTarget::Key) | Err(_) => {
            // Keys are never equal.
            if descending {
                rows.reverse();
            }
        }
        Ok(SortTarget::Version) => by(|a, b| a.head.version.cmp(&b.head.version), rows),
        Ok(SortTarget::Create) => by(|a, b| a.head.create.cmp(&b.head.create), rows),
        Ok(SortTarget::Mod) => by(|a, b| a.head.modified.cmp(&b.head.modified), rows),
        Ok(SortTarget::Value) => by(|a, b| a.value.cmp(b.value), rows),
    }
}
