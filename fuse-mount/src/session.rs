//! One FUSE session, from mount(2) to its end, whatever file system it shows.
//!
//! * Only what was mounted here is ever unmounted: what lies at the path is compared by device number first.
//! * When the session has ended, for whatever reason, no descriptor of it is left, so the kernel answers ENOTCONN
//!   instead of waiting.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use fuser::{Config, Filesystem, INodeNo, Notifier, Session, SessionACL};
use parking_lot::{Condvar, Mutex};
use vfs_core::workspace::Invalidation;
use vfs_core::{Error, Kind, Result};

use crate::device::Permissions;
use crate::limits::THREADS_MAX;
use crate::mount::MountOptions;
use crate::mountinfo::Mounted;
use crate::{device, mountinfo, processes};

/// A session that runs, or has ended.
pub(crate) struct Running {
    pub(crate) mountpoint: PathBuf,
    /// `st_dev` of what is shown.
    pub(crate) device: u64,
    /// Taken away at the end: it keeps the descriptor open.
    voice: Mutex<Option<Voice>>,
    /// `None` while the session runs; then how it ended.
    end: Mutex<Option<std::result::Result<(), String>>>,
    ended: Condvar,
}

impl Running {
    /// Mounts `filesystem` at `mountpoint` and begins to answer.
    pub(crate) fn start<F: Filesystem>(
        filesystem: F,
        mountpoint: &Path,
        options: &MountOptions,
        permissions: Permissions,
    ) -> Result<Arc<Running>> {
        mountinfo::check_mountpoint(mountpoint)?;
        let mountpoint = mountinfo::absolute(mountpoint)?;
        let kernel = device::mount(&mountpoint, options, permissions)?;
        // Until the session runs, an early return must not leave a dead mount behind.
        let guard = Unmounter(&mountpoint);
        let raw = kernel.try_clone().map_err(|error| Error::io("no second descriptor of the mount", error))?;
        let mut config = Config::default();
        // The kernel itself turns other users away unless `allow_other` is set.
        config.acl = SessionACL::All;
        config.n_threads = Some(options.threads.clamp(1, THREADS_MAX));
        let session = Session::from_fd(filesystem, kernel, SessionACL::All, config)
            .map_err(|error| Error::io("the kernel and this program did not agree on a FUSE session", error))?;
        let device = device::device_of(&mountpoint)
            .map_err(|error| Error::io(format!("{} is not there after mounting", mountpoint.display()), error))?;
        let running = Arc::new(Running {
            mountpoint: mountpoint.clone(),
            device,
            voice: Mutex::new(Some(Voice { notifier: session.notifier(), raw: Arc::new(raw) })),
            end: Mutex::new(None),
            ended: Condvar::new(),
        });
        let of_session = Arc::clone(&running);
        spawn("esker-session", move || of_session.run(session))?;
        std::mem::forget(guard);
        Ok(running)
    }

    /// Waits until the session has ended, whoever ended it.
    pub(crate) fn wait(&self) -> Result<()> {
        let mut end = self.end.lock();
        while end.is_none() {
            self.ended.wait(&mut end);
        }
        match end.as_ref() {
            Some(Err(why)) => Err(Error::new(Kind::Internal, format!("the FUSE session broke off: {why}"))),
            _ => Ok(()),
        }
    }

    /// Whether the session has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.end.lock().is_some()
    }

    /// Unmounts lazily unless the session has ended: for whoever lets go of it.
    pub(crate) fn abandon(&self) {
        if !self.has_ended()
            && let Err(error) = self.unmount(true)
        {
            tracing::warn!("{} stays mounted: {}", self.mountpoint.display(), error.chain());
        }
    }

    /// Runs the session to its end, then makes sure that nothing of it is left.
    fn run<F: Filesystem>(&self, session: Session<F>) {
        let result = session.run().map_err(|error| error.to_string());
        self.voice.lock().take();
        if let Err(why) = &result {
            tracing::error!("the FUSE session of {} broke off: {why}", self.mountpoint.display());
            if let Err(error) = self.unmount(true) {
                tracing::error!("{} stays as a dead mount: {}", self.mountpoint.display(), error.chain());
            }
        }
        *self.end.lock() = Some(result);
        self.ended.notify_all();
    }

    /// Unmounts. `Busy` names who still uses it; `lazy` detaches it at once and ends when the last user has left.
    pub(crate) fn unmount(&self, lazy: bool) -> Result<()> {
        match mountinfo::topmost(&self.mountpoint)? {
            None => Ok(()),
            Some(top) if top.device != self.device => {
                let shown = self.mountpoint.display();
                let context = format!("something else ({}) is mounted over {shown}; unmount that first", top.kind);
                Err(Error::new(Kind::Busy, context))
            }
            Some(top) => unmount_device(&top, lazy),
        }
    }

    /// Tells the kernel. Dirty pages of mappings go first, each file at once: left to the invalidation they would be
    /// written one by one.
    pub(crate) fn tell(&self, list: &[Invalidation]) {
        if list.iter().any(|item| matches!(item, Invalidation::Inode(_)))
            && let Err(error) = processes::flush_mapped(self.device)
        {
            tracing::warn!("before an invalidation: {}", error.chain());
        }
        let Some(voice) = self.voice.lock().clone() else { return };
        voice.tell(list);
    }
}

/// Unmounts what some process of Esker's shows at `path`. `Busy` names who still uses it; `lazy` detaches it at once.
pub fn unmount(path: &Path, lazy: bool) -> Result<()> {
    let path = mountinfo::absolute(path)?;
    match mountinfo::topmost(&path)? {
        None => Err(Error::new(Kind::NotFound, format!("nothing is mounted at {}", path.display()))),
        Some(top) if top.kind != device::KIND => {
            let context = format!("{} is a mount of type {}, not one of esker's", path.display(), top.kind);
            Err(Error::new(Kind::Invalid, context))
        }
        Some(top) => unmount_device(&top, lazy),
    }
}

fn unmount_device(mounted: &Mounted, lazy: bool) -> Result<()> {
    match device::unmount(&mounted.mountpoint, lazy) {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        Err(error) if error.kind() == Kind::Busy => Err(busy(mounted, error)),
        result => result,
    }
}

fn busy(mounted: &Mounted, error: Error) -> Error {
    let users: Vec<String> = processes::users(mounted.device).iter().map(ToString::to_string).collect();
    let by = if users.is_empty() { "a process that cannot be seen from here".into() } else { users.join(", ") };
    let shown = mounted.mountpoint.display();
    let context = format!("{shown} is in use by {by}; let it finish or leave the folder, or unmount lazily");
    Error::new(Kind::Busy, context).because(error)
}

/// How the kernel is spoken to without being asked.
#[derive(Clone)]
struct Voice {
    notifier: Notifier,
    raw: Arc<OwnedFd>,
}

impl Voice {
    fn tell(&self, list: &[Invalidation]) {
        let mut all_names = false;
        for item in list {
            let told = match item {
                Invalidation::AllNames => self.forget_all_names().inspect(|()| all_names = true),
                Invalidation::Inode(ino) | Invalidation::Listing(ino) => {
                    self.notifier.inval_inode(INodeNo(ino.0), 0, 0)
                }
                // A negative offset leaves the pages alone.
                Invalidation::Attributes(ino) => self.notifier.inval_inode(INodeNo(ino.0), -1, 0),
                Invalidation::Entry(..) if all_names => Ok(()),
                Invalidation::Entry(parent, name) => {
                    self.notifier.inval_entry(INodeNo(parent.0), OsStr::from_bytes(name.as_bytes()))
                }
            };
            if let Err(error) = told {
                tracing::debug!(?item, %error, "the kernel did not take an invalidation");
            }
        }
    }

    /// `FUSE_NOTIFY_INC_EPOCH`, which fuser lacks: every name is looked up again before it is used. Linux 6.16 has it.
    fn forget_all_names(&self) -> io::Result<()> {
        const LENGTH_BYTES: u32 = 16;
        const INC_EPOCH: i32 = 8;
        // fuse_out_header: length, code, and request 0, which marks a notification.
        let mut message = [0; LENGTH_BYTES as usize];
        message[..4].copy_from_slice(&LENGTH_BYTES.to_ne_bytes());
        message[4..8].copy_from_slice(&INC_EPOCH.to_ne_bytes());
        rustix::io::write(&*self.raw, &message)?;
        Ok(())
    }
}

/// Starts a thread that belongs to a mount.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
    let started = thread::Builder::new().name(name.into()).spawn(body);
    started.map(drop).map_err(|error| Error::io("a thread of the mount could not be started", error))
}

/// Unmounts lazily when dropped.
struct Unmounter<'a>(&'a Path);

impl Drop for Unmounter<'_> {
    fn drop(&mut self) {
        if let Err(error) = device::unmount(self.0, true) {
            tracing::warn!("{} stays mounted: {}", self.0.display(), error.chain());
        }
    }
}
