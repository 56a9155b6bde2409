//! Before and behind a check: is the prefix empty, and is it empty again?

use api::etcdserverpb::{
    CompactionRequest, CompactionResponse, DefragmentRequest, DefragmentResponse, DeleteRangeRequest,
    DeleteRangeResponse, RangeRequest, RangeResponse,
};
use measure::{Stop, Undo};
use prost::Message;

use super::arguments::Shared;
use crate::calls::{Calls, Done, Next, drive};
use crate::client::{Failure, Lean, Method, Target, ask};
use crate::error::{Error, Result};
use crate::prefix::end_of;
use crate::terminal::say;

/// An error if a key lies below the prefix.
pub(super) fn check_empty(target: &Target, prefix: &str) -> Result<()> {
    let request = RangeRequest {
        key: prefix.as_bytes().to_vec().into(),
        range_end: end_of(prefix.as_bytes()).into(),
        limit: 1,
        ..RangeRequest::default()
    };
    let mut client = Lean::connect(target, 1)?;
    let answer: RangeResponse = ask(&mut client, 0, Method::Range, &request)
        .map_err(|failure| Error::Usage(format!("cannot look at the prefix {prefix:?}: {failure}")))?;
    if answer.kvs.is_empty() {
        return Ok(());
    }
    // Without its endpoints, the command would delete from the server that is asked where none is named.
    let endpoints: Vec<String> = (0..target.endpoints.len()).map(|at| target.name(at)).collect();
    let endpoints = endpoints.join(",");
    Err(Error::Usage(format!(
        "prefix {prefix:?} has keys. Delete with 'gravenctl --endpoints {endpoints} del --prefix {prefix}' first, or give another --prefix"
    )))
}

/// As long as this lives, a panic deletes what lies below the prefix.
pub(super) fn clean_on_panic(target: &Target, prefix: &str) -> Undo {
    let (target, prefix) = (target.clone(), prefix.to_owned());
    // There is nobody to tell any more that it did not work.
    Undo::new(move || drop(delete(&target, &prefix)))
}

fn delete(target: &Target, prefix: &str) -> Result<DeleteRangeResponse> {
    let request = DeleteRangeRequest {
        key: prefix.as_bytes().to_vec().into(),
        range_end: end_of(prefix.as_bytes()).into(),
        ..DeleteRangeRequest::default()
    };
    patiently(target, 0, Method::DeleteRange, &request, "delete the keys of this check")
}

/// Deletes what lies below the prefix, and compacts and defragments if that was asked for.
pub(super) fn clean(target: &Target, prefix: &str, shared: &Shared) -> Result<()> {
    let deleted = delete(target, prefix)?;
    if shared.auto_compact {
        let revision = deleted.header.map_or(0, |header| header.revision);
        say(format_args!("Compacting with revision {revision}"));
        let request = CompactionRequest { revision, physical: true };
        let _: CompactionResponse = patiently(target, 0, Method::Compact, &request, "compact")?;
        say(format_args!("Compacted with revision {revision}"));
    }
    if shared.auto_defrag {
        for connection in 0..target.endpoints.len() {
            let name = target.endpoint(connection).to_string();
            say(format_args!("Defragmenting {name:?}"));
            let request = DefragmentRequest {};
            let _: DefragmentResponse =
                patiently(target, connection, Method::Defragment, &request, "defragment")?;
            say(format_args!("Defragmented {name:?}"));
        }
    }
    Ok(())
}

/// One call that may take long; also after Ctrl-C.
fn patiently<A: Message + Default>(
    target: &Target,
    endpoint: usize,
    method: Method,
    request: &impl Message,
    what: &str,
) -> Result<A> {
    let alone = Target { endpoints: vec![target.endpoint(endpoint).clone()], ..target.clone() };
    let mut one = One { method, request: Some(request.encode_to_vec()), answer: None };
    drive(&mut Lean::connect(&alone, 1)?, 1, &Stop::default(), &mut one)?;
    let answer = match one.answer {
        Some(Ok(bytes)) => A::decode(&bytes[..]).map_err(|_| "its answer is garbled".to_owned()),
        Some(Err(failure)) => Err(failure.to_string()),
        None => Err("no answer".to_owned()),
    };
    answer.map_err(|why| Error::Wrong(format!("cannot {what}: {why}")))
}

struct One {
    method: Method,
    request: Option<Vec<u8>>,
    answer: Option<std::result::Result<Vec<u8>, Failure>>,
}

impl Calls for One {
    fn next(&mut self, _: usize, _: std::time::Instant, message: &mut Vec<u8>) -> Result<Next> {
        let Some(request) = self.request.take() else { return Ok(Next::End) };
        message.extend(request);
        Ok(Next::Call(self.method))
    }

    fn done(&mut self, done: Done<'_>) -> Result<()> {
        self.answer = Some(done.answer.map(<[u8]>::to_vec).map_err(Clone::clone));
        Ok(())
    }
}
