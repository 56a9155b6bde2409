//! The kernel's requests, translated.

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::{FallocateFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps};

use crate::control::{self, CONTROL};
use crate::disk::{self, Disk};
use crate::handles::Handle;
use crate::nodes::{Node, ROOT};

/// How long the kernel may remember names and sizes: all changes come through it.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// The control file's number; others count up from the root's.
const CONTROL_NODE: u64 = u64::MAX;
/// Requests that the kernel sends without waiting for others.
const IN_FLIGHT: u16 = 1024;

/// A mounted disk.
#[derive(Debug)]
pub(crate) struct Mounted(pub(crate) Arc<Disk>);

/// Every write and read comes here as it was made, with its flags; several at a time on one file.
fn open_flags() -> FopenFlags {
    FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES
}

fn to_flags(flags: i32) -> OFlags {
    OFlags::from_bits_retain(flags.cast_unsigned())
}

fn control_attributes() -> FileAttr {
    FileAttr {
        ino: INodeNo(CONTROL_NODE),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0o600,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn to_kind(kind: rustix::fs::FileType) -> FileType {
    match kind {
        rustix::fs::FileType::Directory => FileType::Directory,
        rustix::fs::FileType::Symlink => FileType::Symlink,
        rustix::fs::FileType::Fifo => FileType::NamedPipe,
        rustix::fs::FileType::Socket => FileType::Socket,
        rustix::fs::FileType::BlockDevice => FileType::BlockDevice,
        rustix::fs::FileType::CharacterDevice => FileType::CharDevice,
        _ => FileType::RegularFile,
    }
}

fn attributes(node: &Node) -> io::Result<FileAttr> {
    let stat = node.stat()?;
    let time = |seconds: i64, nanos: u64| {
        UNIX_EPOCH + Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0))
    };
    let modified = time(stat.st_mtime, stat.st_mtime_nsec);
    Ok(FileAttr {
        ino: INodeNo(node.id),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: modified,
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        crtime: modified,
        kind: to_kind(disk::kind(stat.st_mode)),
        perm: u16::try_from(stat.st_mode & 0o7777).expect("twelve bits"),
        nlink: u32::try_from(stat.st_nlink).unwrap_or(1),
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    })
}

fn timestamp(time: Option<TimeOrNow>) -> Timespec {
    let (tv_sec, tv_nsec) = match time {
        Some(TimeOrNow::SpecificTime(time)) => {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            (since.as_secs().cast_signed(), i64::from(since.subsec_nanos()))
        }
        Some(TimeOrNow::Now) => (0, rustix::fs::UTIME_NOW),
        None => (0, rustix::fs::UTIME_OMIT),
    };
    Timespec { tv_sec, tv_nsec }
}

/// What does not answer with an errno of its own.
fn to_errno(error: io::Error) -> Errno {
    match error.raw_os_error() {
        Some(number) => Errno::from_i32(number),
        None => Errno::EIO,
    }
}

fn entry(reply: ReplyEntry, found: io::Result<Arc<Node>>) {
    match found.and_then(|node| attributes(&node)) {
        Ok(attr) => reply.entry(&REMEMBERED, &attr, Generation(0)),
        Err(error) => reply.error(to_errno(error)),
    }
}

fn empty(reply: ReplyEmpty, done: io::Result<()>) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(to_errno(error)),
    }
}

impl Filesystem for Mounted {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Without these the layer works, with fewer operations at a time or without shared maps.
        for wanted in
            [InitFlags::FUSE_ASYNC_DIO, InitFlags::FUSE_PARALLEL_DIROPS, InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP]
        {
            let _ = config.add_capabilities(wanted);
        }
        let _ = config.set_max_background(IN_FLIGHT);
        let _ = config.set_congestion_threshold(IN_FLIGHT);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent.0 == ROOT && name == CONTROL {
            return reply.entry(&REMEMBERED, &control_attributes(), Generation(0));
        }
        entry(reply, self.0.look_up(parent.0, name));
    }

    fn forget(&self, _: &Request, ino: INodeNo, times: u64) {
        self.0.nodes.forget(ino.0, times);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        if ino.0 == CONTROL_NODE {
            return reply.attr(&REMEMBERED, &control_attributes());
        }
        match self.0.node(ino.0).and_then(|node| attributes(&node)) {
            Ok(attr) => reply.attr(&REMEMBERED, &attr),
            Err(error) => reply.error(to_errno(error)),
        }
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        if ino.0 == CONTROL_NODE {
            // A shell truncates what it writes to.
            return reply.attr(&REMEMBERED, &control_attributes());
        }
        let mode = mode.map(Mode::from_raw_mode);
        let times = (atime.is_some() || mtime.is_some())
            .then(|| Timestamps { last_access: timestamp(atime), last_modification: timestamp(mtime) });
        let resized = size.map_or(Ok(()), |to| self.0.resize(ino.0, fh.map(|fh| fh.0), to));
        match resized.and_then(|()| self.0.set_attributes(ino.0, mode, times.as_ref())) {
            Ok(()) => self.getattr(request, ino, fh, reply),
            Err(error) => reply.error(to_errno(error)),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        entry(reply, self.0.make_directory(parent.0, name, Mode::from_raw_mode(mode)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.0.remove(parent.0, name, false));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.0.remove(parent.0, name, true));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: fuser::RenameFlags,
        reply: ReplyEmpty,
    ) {
        let flags = RenameFlags::from_bits_retain(flags.bits());
        empty(reply, self.0.rename((parent.0, name), (newparent.0, newname), flags));
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let opened = if ino.0 == CONTROL_NODE {
            Ok(self.0.handles.open(Handle::Control { text: control::tell(&self.0) }))
        } else {
            self.0.open(ino.0, to_flags(flags.0))
        };
        match opened {
            Ok(handle) => reply.opened(FileHandle(handle), open_flags()),
            Err(error) => reply.error(to_errno(error)),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let made = self.0.create(parent.0, name, to_flags(flags), Mode::from_raw_mode(mode));
        match made.and_then(|(node, handle)| Ok((attributes(&node)?, handle))) {
            Ok((attr, handle)) => {
                reply.created(&REMEMBERED, &attr, Generation(0), FileHandle(handle), open_flags());
            }
            Err(error) => reply.error(to_errno(error)),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if let Ok(handle) = self.0.handles.get(fh.0)
            && let Handle::Control { text } = &*handle
        {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
            let to = from.saturating_add(size as usize).min(text.len());
            return reply.data(&text.as_bytes()[from..to]);
        }
        match self.0.read(fh.0, offset, size as usize) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(to_errno(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = if ino.0 == CONTROL_NODE {
            let text = String::from_utf8_lossy(data);
            control::follow(&self.0, &text).map_err(|_| rustix::io::Errno::INVAL.into())
        } else {
            self.0.write(fh.0, offset, data, to_flags(flags.0))
        };
        match written {
            Ok(()) => reply.written(u32::try_from(data.len()).expect("a request is below 4 GiB")),
            Err(error) => reply.error(to_errno(error)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Closing a file promises nothing.
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.0.handles.close(fh.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, fh: FileHandle, data_only: bool, reply: ReplyEmpty) {
        if ino.0 == CONTROL_NODE {
            return reply.ok();
        }
        empty(reply, self.0.sync(fh.0, data_only));
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.0.list(ino.0) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
            Err(error) => reply.error(to_errno(error)),
        }
    }

    fn readdir(&self, _: &Request, _: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let Ok(handle) = self.0.handles.get(fh.0) else { return reply.error(Errno::EBADF) };
        let Handle::Directory { entries } = &*handle else { return reply.error(Errno::ENOTDIR) };
        for (at, (number, kind, name)) in entries.iter().enumerate().skip(offset as usize) {
            if reply.add(INodeNo(*number), at as u64 + 1, to_kind(*kind), name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.0.handles.close(fh.0);
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(reply, self.0.sync_directory(ino.0));
    }

    fn statfs(&self, _: &Request, ino: INodeNo, reply: ReplyStatfs) {
        let id = if ino.0 == CONTROL_NODE { ROOT } else { ino.0 };
        match self.0.space(id) {
            Ok(space) => reply.statfs(
                space.f_blocks,
                space.f_bfree,
                space.f_bavail,
                space.f_files,
                space.f_ffree,
                u32::try_from(space.f_bsize).unwrap_or(4096),
                u32::try_from(space.f_namemax).unwrap_or(255),
                u32::try_from(space.f_frsize).unwrap_or(4096),
            ),
            Err(error) => reply.error(to_errno(error)),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let flags = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        empty(reply, self.0.allocate(fh.0, flags, offset, length));
    }
}
