//! Durable writes through io_uring. The only file of this crate with `unsafe`.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::{IoUring, opcode, types};

/// `RWF_DSYNC`: durable when complete. Part of the kernel's interface.
const RWF_DSYNC: i32 = 0x2;

/// A ring for one write at a time.
pub(super) struct Ring {
    ring: IoUring,
}

impl Ring {
    /// Sets the ring up, where the kernel permits it: containers often answer EPERM or ENOSYS.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { ring: IoUring::builder().setup_coop_taskrun().build(4)? })
    }

    /// Writes durably and waits. Returns the bytes written.
    pub(super) fn write_durable(&mut self, file: &OwnedFd, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let entry = opcode::Write::new(types::Fd(file.as_raw_fd()), bytes.as_ptr(), length)
            .offset(offset)
            .rw_flags(RWF_DSYNC)
            .build();
        // SAFETY: the kernel reads `bytes` and uses `file` until the completion arrives. Both are borrowed for the
        // whole call, and `complete` does not return, nor unwind, before it has taken that completion: where waiting
        // fails for good, it ends the process.
        unsafe { self.ring.submission().push(&entry) }.map_err(|_| io::Error::other("the ring is full"))?;
        self.complete()
    }

    fn complete(&mut self) -> io::Result<usize> {
        loop {
            let waited = self.ring.submit_and_wait(1);
            if let Some(completion) = self.ring.completion().next() {
                let result = completion.result();
                return usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
            }
            match waited {
                Ok(_) => {}
                Err(error) if is_passing(&error) => {}
                // The write may be in flight, so that its buffer must not be given back: stop here.
                Err(_) => std::process::abort(),
            }
        }
    }
}

/// Interrupted, or the kernel asks to be asked again.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy
    )
}
