//! Mounting, and taking it away again whatever happens.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use fuser::{Config, MountOption, Session};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::control;
use crate::disk::{Counted, Cut, CutReport, Disk};
use crate::error::{Error, Result};
use crate::faults::{Faults, size};
use crate::filesystem::Mounted;

/// What cannot change while it is mounted.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many operations are served at a time.
    pub threads: usize,
    /// With it, a cut takes back what was not synced: at most so many bytes, as a disk's cache of that size would hold.
    pub volatile: Option<u64>,
    /// At first.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Options { threads: 32, volatile: None, faults: Faults::default() }
    }
}

impl Options {
    /// One of `threads`, `volatile` (bytes, like `64MiB`) or a setting of [`Faults`].
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let wrong = |what: &str| Error::Setting(format!("{name} {value}: is not {what}"));
        match name {
            "threads" => {
                let threads = value.parse().ok().filter(|threads| (1..=1024).contains(threads));
                self.threads = threads.ok_or_else(|| wrong("a number from 1 to 1024"))?;
            }
            "volatile" => self.volatile = Some(size(value).ok_or_else(|| wrong("bytes like 64MiB"))?),
            _ => self.faults.set(name, value)?,
        }
        Ok(())
    }
}

/// A mounted layer. Dropping it unmounts, also while files are open: their users get errors from then on.
#[derive(Debug)]
pub struct Layer {
    disk: Arc<Disk>,
    mountpoint: PathBuf,
    session: Option<JoinHandle<io::Result<()>>>,
}

impl Layer {
    /// Mounts the directory `backing` on the directory `mountpoint`. What a layer that was killed left mounted there is
    /// unmounted first.
    pub fn mount(backing: &Path, mountpoint: &Path, options: &Options) -> Result<Layer> {
        OpenOptions::new().read(true).write(true).open("/dev/fuse").map_err(Error::NoFuse)?;
        let bad = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Directory { path, source }
        };
        // Not `stat`, which the kernel answers from memory also when nobody is there any more.
        if let Err(Errno::NOTCONN) = rustix::fs::statfs(mountpoint) {
            let unmounted = rustix::mount::unmount(mountpoint, UnmountFlags::DETACH);
            unmounted.map_err(|error| bad(mountpoint)(error.into()))?;
        }
        for path in [backing, mountpoint] {
            let found = std::fs::metadata(path).map_err(bad(path))?;
            if !found.is_dir() {
                return Err(bad(path)(io::Error::from(io::ErrorKind::NotADirectory)));
            }
        }
        let backing = backing.canonicalize().map_err(bad(backing))?;
        let mountpoint = mountpoint.canonicalize().map_err(bad(mountpoint))?;
        if backing.starts_with(&mountpoint) {
            return Err(Error::Setting("the backing directory lies below the mount point".to_owned()));
        }
        let disk = Disk::new(&backing, options.faults.clone(), options.volatile).map_err(bad(&backing))?;
        let disk = Arc::new(disk);
        let mut config = Config::default();
        config.mount_options =
            vec![MountOption::FSName("graven-layer".to_owned()), MountOption::DefaultPermissions];
        config.n_threads = Some(options.threads);
        config.clone_fd = true;
        let mounted = Session::new(Mounted(disk.clone()), &mountpoint, &config);
        let session = mounted.and_then(|session| {
            std::thread::Builder::new().name("layer".to_owned()).spawn(move || session.run())
        });
        match session {
            Ok(session) => Ok(Layer { disk, mountpoint, session: Some(session) }),
            Err(source) => Err(Error::Mount { path: mountpoint, source }),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.mountpoint
    }

    /// Changes a setting; rates begin with full credit, stalls and the neighbor anew.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        self.disk.set(name, value)
    }

    /// Follows lines as the control file does.
    pub fn control(&self, lines: &str) -> Result<()> {
        control::follow(&self.disk, lines)
    }

    /// What was asked of it so far.
    pub fn counted(&self) -> Counted {
        self.disk.counted()
    }

    /// The power fails: every operation fails from now on, and the backing directory holds what the medium would.
    pub fn cut(&self, cut: Cut, seed: u64) -> Result<CutReport> {
        self.disk.cut(cut, seed)
    }

    /// The power fails at the sync or durable write of that number from now, which is not done.
    pub fn cut_after(&self, count: u64, cut: Cut, seed: u64) -> Result<()> {
        self.disk.cut_after(count, cut, seed)
    }

    /// What the cut did, once there was one.
    pub fn cut_report(&self) -> Option<CutReport> {
        self.disk.cut_report()
    }

    /// Whether it is still there; somebody may have unmounted it.
    pub fn is_mounted(&self) -> bool {
        self.session.as_ref().is_some_and(|session| !session.is_finished())
    }

    /// Unmounts.
    pub fn unmount(mut self) -> Result<()> {
        self.take_away()
    }

    fn take_away(&mut self) -> Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        let fail = |source| Error::Mount { path: self.mountpoint.clone(), source };
        // Force ends what is in flight; where a file is still open that is not enough to get it out of sight.
        let unmount = |flags| rustix::mount::unmount(&self.mountpoint, flags);
        match unmount(UnmountFlags::FORCE) {
            Ok(()) | Err(Errno::INVAL) => {}
            Err(_) => unmount(UnmountFlags::DETACH).map_err(|error| fail(error.into()))?,
        }
        // What the threads say at the end of the connection is of no interest.
        let _ = session.join();
        Ok(())
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        let _ = self.take_away();
    }
}

/// Whether the path is on a FUSE file system: for tests that must know that they are where they think.
pub fn is_fuse(path: &Path) -> io::Result<bool> {
    const FUSE: i64 = 0x6573_5546;
    Ok(rustix::fs::fstatfs(File::open(path)?)?.f_type == FUSE)
}
