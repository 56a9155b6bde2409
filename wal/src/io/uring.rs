//! Durable writes through io_uring. The only file of this crate with `unsafe`.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::AlignedBuffer;

/// `RWF_DSYNC`: durable when complete. Part of the kernel's interface.
const RWF_DSYNC: i32 = 0x2;

/// A ring for one write at a time.
pub(super) struct Ring {
    ring: IoUring,
}

fn set_up(entries: u32) -> io::Result<IoUring> {
    IoUring::builder().setup_coop_taskrun().build(entries)
}

impl Ring {
    /// Sets the ring up, where the kernel permits it: containers often answer EPERM or ENOSYS.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { ring: set_up(4)? })
    }

    /// Writes durably and waits. Returns the bytes written.
    pub(super) fn write_durable(&mut self, file: &OwnedFd, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let entry = opcode::Write::new(types::Fd(file.as_raw_fd()), bytes.as_ptr(), length)
            .offset(offset)
            .rw_flags(RWF_DSYNC)
            .build();
        // SAFETY: the kernel reads `bytes` and uses `file` until the completion arrives. Both are borrowed for the
        // whole call, and `next_completion` does not return, nor unwind, before it has taken that completion: where
        // waiting fails for good, it ends the process.
        unsafe { self.ring.submission().push(&entry) }.map_err(|_| io::Error::other("the ring is full"))?;
        result_of(&next_completion(&mut self.ring))
    }
}

/// Submits what waits for it, and waits. Does not return, nor unwind, without a completion: where waiting fails for good, the
/// process ends.
fn next_completion(ring: &mut IoUring) -> cqueue::Entry {
    loop {
        let waited = ring.submit_and_wait(1);
        if let Some(completion) = ring.completion().next() {
            return completion;
        }
        match waited {
            Ok(_) => {}
            Err(error) if is_passing(&error) => {}
            // The write may be in flight, so that its buffer must not be given back: stop here.
            Err(_) => std::process::abort(),
        }
    }
}

fn result_of(completion: &cqueue::Entry) -> io::Result<usize> {
    let result = completion.result();
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

/// Interrupted, or the kernel asks to be asked again.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy
    )
}

/// How a [`RingWriter`] makes its writes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingSync {
    /// Each write carries `RWF_DSYNC`, as the log's do.
    Dsync,
    /// Each write is linked to an fsync of the data.
    LinkedFsync,
}

/// Durable writes through io_uring, several at a time. The log does not use it: it is what measurements compare the
/// log's method with.
///
/// The file and the bytes, the same for every write, belong to the writer: the kernel uses both until a write is finished.
pub struct RingWriter {
    ring: IoUring,
    file: OwnedFd,
    bytes: AlignedBuffer,
    sync: RingSync,
    /// For each slot whether it is in flight, and what the write in it came to before its fsync.
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    in_flight: bool,
    written: Option<i32>,
}

/// In the user data of a write that an fsync follows; the slot stands below it.
const FSYNC_FOLLOWS: u64 = 1 << 32;

impl RingWriter {
    /// A ring for as many writes at a time as `depth`, of up to as many bytes as `bytes` has. Fails where the kernel refuses
    /// rings.
    pub fn new(file: OwnedFd, bytes: &[u8], depth: u16, sync: RingSync) -> io::Result<Self> {
        let mut aligned = AlignedBuffer::new(bytes.len());
        aligned.as_mut()[..bytes.len()].copy_from_slice(bytes);
        // A linked pair takes two entries.
        let ring = set_up(u32::from(depth).max(1) * 2)?;
        let slots = vec![Slot::default(); usize::from(depth)];
        Ok(Self { ring, file, bytes: aligned, sync, slots })
    }

    /// Puts one durable write of the first `length` bytes under way, under the name of a slot. It reaches the kernel at the
    /// next [`RingWriter::finish`].
    ///
    /// # Panics
    ///
    /// If the slot is not below the depth or is in flight, or if there are not so many bytes.
    pub fn start(&mut self, slot: u16, offset: u64, length: usize) -> io::Result<()> {
        let state = &mut self.slots[usize::from(slot)];
        assert!(!state.in_flight, "a slot holds one write at a time");
        assert!(length <= self.bytes.len(), "no more bytes than there are");
        let length = u32::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
        let file = types::Fd(self.file.as_raw_fd());
        let write = opcode::Write::new(file, self.bytes.as_ref().as_ptr(), length).offset(offset);
        let number = u64::from(slot);
        let entries = match self.sync {
            RingSync::Dsync => vec![write.rw_flags(RWF_DSYNC).build().user_data(number)],
            RingSync::LinkedFsync => vec![
                write.build().flags(squeue::Flags::IO_LINK).user_data(number | FSYNC_FOLLOWS),
                opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build().user_data(number),
            ],
        };
        // SAFETY: the kernel reads `bytes` and uses `file` until the completion arrives. Both belong to this writer; neither
        // is changed, moved in memory (the buffer is a heap allocation) or given back before `drop` has taken every
        // completion, and a writer that is forgotten leaks them.
        unsafe { self.ring.submission().push_multiple(&entries) }
            .map_err(|_| io::Error::other("the ring is full"))?;
        *state = Slot { in_flight: true, written: None };
        Ok(())
    }

    /// Waits for a write to be durable: its slot, and the bytes written or why it failed. Not to be called with none under way.
    ///
    /// # Panics
    ///
    /// If nothing is under way.
    pub fn finish(&mut self) -> (u16, io::Result<usize>) {
        assert!(self.slots.iter().any(|slot| slot.in_flight), "something is under way");
        loop {
            let completion = next_completion(&mut self.ring);
            let number = (completion.user_data() & u64::from(u16::MAX)) as u16;
            let slot = &mut self.slots[usize::from(number)];
            if completion.user_data() & FSYNC_FOLLOWS != 0 {
                slot.written = Some(completion.result());
                continue;
            }
            slot.in_flight = false;
            // The fsync of a failed write says only that it was canceled.
            let result = match slot.written.take() {
                Some(written) if written < 0 => Err(io::Error::from_raw_os_error(-written)),
                Some(written) => result_of(&completion).map(|_| written as usize),
                None => result_of(&completion),
            };
            return (number, result);
        }
    }
}

impl Drop for RingWriter {
    fn drop(&mut self) {
        while self.slots.iter().any(|slot| slot.in_flight) {
            // Whatever became of it, the kernel has let go of the buffer.
            let _ = self.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// None where the kernel refuses rings, as container runtimes have it.
    fn writer(file: File, depth: u16, sync: RingSync) -> Option<RingWriter> {
        match RingWriter::new(file.into(), &[7; 8192], depth, sync) {
            Ok(writer) => Some(writer),
            Err(error) => {
                eprintln!("SKIPPED: no ring here: {error}");
                None
            }
        }
    }

    #[test]
    fn several_in_flight_all_land() {
        let dir = tempfile::tempdir().unwrap();
        for sync in [RingSync::Dsync, RingSync::LinkedFsync] {
            let path = dir.path().join(format!("{sync:?}"));
            let Some(mut writer) = writer(File::create(&path).unwrap(), 4, sync) else { return };
            for slot in 0..4 {
                writer.start(slot, u64::from(slot) * 4096, 4096).unwrap();
            }
            let mut seen = vec![];
            for next in 4..9 {
                let (slot, written) = writer.finish();
                assert_eq!(written.unwrap(), 4096);
                seen.push(slot);
                writer.start(slot, next * 4096, 4096).unwrap();
            }
            assert!(seen.iter().all(|slot| *slot < 4), "{seen:?}");
            // Four are in flight still.
            drop(writer);
            assert_eq!(std::fs::read(&path).unwrap(), vec![7; 9 * 4096]);
        }
    }

    #[test]
    fn a_failed_write_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "content").unwrap();
        for sync in [RingSync::Dsync, RingSync::LinkedFsync] {
            // Open for reading only.
            let Some(mut writer) = writer(File::open(&path).unwrap(), 1, sync) else { return };
            writer.start(0, 0, 4096).unwrap();
            let (slot, written) = writer.finish();
            let error = written.unwrap_err();
            assert_eq!((slot, error.raw_os_error()), (0, Some(rustix::io::Errno::BADF.raw_os_error())));
        }
    }
}
