//! Reads segments as fast as the device gives them: several reads at a time, and the next segment while one is judged.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{Scope, scope};

use crate::error::Error;
use crate::io::{Access, AlignedBuffer};
use crate::recovery::Recovery;
use crate::segment::lanes::{Foreign, Lanes, PART_BYTES};
use crate::segment::sector::BLOCK;

/// Reads of one file under way at a time.
const READERS: usize = 3;
/// Up to so many bytes a thread costs more than it saves.
const ALONE_BYTES: u64 = 4 << 20;

/// A file to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) id: u64,
    /// Bytes that it should have, which are the most that is read of it.
    pub(crate) file_bytes: u64,
    /// `Access::Read`, or what is read is made durable first.
    pub(crate) access: Access,
    pub(crate) foreign: Foreign,
}

/// A file that was read.
pub(crate) struct ReadSegment {
    pub(crate) path: PathBuf,
    /// Its real length.
    pub(crate) file_bytes: u64,
    pub(crate) lanes: Lanes,
}

/// Segments read ahead, one further than what was taken.
pub(crate) struct Ahead<'a> {
    recovery: &'a Recovery<'a>,
    coming: Option<Receiver<(u64, Result<ReadSegment, Error>)>>,
}

impl<'a> Ahead<'a> {
    /// Begins to read, in this order. Whoever drops it stops that.
    pub(crate) fn start<'scope>(
        recovery: &'scope Recovery<'scope>,
        order: Vec<Wanted>,
        scope: &'scope Scope<'scope, '_>,
    ) -> Ahead<'scope> {
        if order.iter().map(|wanted| wanted.file_bytes).sum::<u64>() <= ALONE_BYTES {
            return Ahead::none(recovery);
        }
        let (sender, receiver) = sync_channel(0);
        let read_all = move || {
            for wanted in order {
                if sender.send((wanted.id, read(recovery, wanted))).is_err() {
                    return;
                }
            }
        };
        let started = std::thread::Builder::new().name("wal-read".to_owned()).spawn_scoped(scope, read_all);
        Ahead { recovery, coming: started.is_ok().then_some(receiver) }
    }

    /// Nothing ahead.
    pub(crate) fn none(recovery: &'a Recovery<'a>) -> Self {
        Self { recovery, coming: None }
    }

    /// The file asked for; those that come before it in the order are passed over.
    pub(crate) fn take(&self, wanted: Wanted) -> Result<ReadSegment, Error> {
        for (id, segment) in self.coming.iter().flatten() {
            if id == wanted.id {
                return segment;
            }
        }
        read(self.recovery, wanted)
    }
}

/// Reads one file whole.
pub(crate) fn read(recovery: &Recovery<'_>, wanted: Wanted) -> Result<ReadSegment, Error> {
    let (path, mut file) = recovery.open(wanted.id, wanted.access)?;
    if wanted.access != Access::Read {
        // What is read from here on may be relied on: it must not be only in a cache.
        file.sync().map_err(|source| recovery.failed("sync", path.clone(), 0, source))?;
    }
    let file_bytes = file.length().map_err(|source| recovery.failed("measure", path.clone(), 0, source))?;
    let bytes = file_bytes.min(wanted.file_bytes);
    let mut lanes = Lanes::new(bytes);
    let parts: Mutex<VecDeque<_>> = Mutex::new(lanes.parts().collect());
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let fail = |error| {
        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        parts.lock().unwrap_or_else(PoisonError::into_inner).clear();
    };
    let work = |file: Box<dyn crate::io::File>| {
        let mut buffer = AlignedBuffer::new(PART_BYTES.min(bytes.next_multiple_of(BLOCK as u64) as usize));
        loop {
            let next = parts.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(mut part) = next else { return };
            match file.read_at(part.offset, buffer.as_mut()) {
                Ok(read) => {
                    let most = (bytes - part.offset).min(read as u64) as usize;
                    part.fill(wanted.id, &buffer.as_ref()[..most], wanted.foreign);
                }
                Err(source) => return fail(recovery.failed("read", path.clone(), part.offset, source)),
            }
        }
    };
    scope(|scope| {
        if bytes > ALONE_BYTES {
            for _ in 1..READERS {
                // One that does not come leaves its share to the others.
                let Ok((_, file)) = recovery.open(wanted.id, Access::Read) else { break };
                let spawned = std::thread::Builder::new().spawn_scoped(scope, || work(file));
                if spawned.is_err() {
                    break;
                }
            }
        }
        work(file);
    });
    drop(parts);
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(ReadSegment { path, file_bytes, lanes }),
    }
}
