//! The limits of the command, each with its reason. Those of the filesystem are in `vfs_core::limits`.

use std::time::Duration;

/// How long a command waits for an engine that starts: it opens a database and a bucket, some milliseconds here.
pub(crate) const ENGINE_START: Duration = Duration::from_secs(10);
/// How long a command waits for a detached mount: it replays the journal first, which may be gigabytes.
pub(crate) const MOUNT_START: Duration = Duration::from_secs(120);
/// How long an engine that was asked to leave may take: it finishes what is under way within ten seconds.
pub(crate) const ENGINE_STOP: Duration = Duration::from_secs(20);
/// Pause before looking again for something that another process is about to do.
pub(crate) const POLL: Duration = Duration::from_millis(50);
/// How long the lock of a killed mount may take to be free: the kernel closes its files first.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// A mount publishes on its own once nothing has changed for this long.
pub(crate) const QUIET: Duration = Duration::from_secs(2);
/// … and this often while changes go on.
pub(crate) const LOADED: Duration = Duration::from_secs(10);
/// How often it looks whether either is the case.
pub(crate) const CHECKPOINT_TICK: Duration = Duration::from_millis(250);
/// First pause after an automatic checkpoint has failed; it doubles.
pub(crate) const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Longest pause after an automatic checkpoint has failed: an engine that is back is found within this.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// How often a mount that is asked to stop looks whether it is still busy.
pub(crate) const BUSY_RETRY: Duration = Duration::from_millis(500);
/// How long `status` waits for the mount's answer, which comes from memory.
pub(crate) const REPORT_PATIENCE: Duration = Duration::from_secs(5);
/// How long `unmount` waits for the mount's process to end: it publishes first.
pub(crate) const UNMOUNT_PATIENCE: Duration = Duration::from_secs(600);
/// How long `unmount --lazy` waits for the mount's process to end: that is up to whoever still uses the mount.
pub(crate) const LAZY_PATIENCE: Duration = Duration::from_secs(2);
/// How long a mount that was detached lazily may take to let its last user go before its process ends.
pub(crate) const LAZY_GRACE: Duration = Duration::from_secs(1);
/// How long a stopping mount waits for an engine that is away: the work is safe in the journal anyway.
pub(crate) const FINAL_PATIENCE: Duration = Duration::from_secs(90);
/// How often an engine looks whether it is still needed.
pub(crate) const IDLE_TICK: Duration = Duration::from_secs(1);
/// Open files that an engine asks for: a connection or a level of an exported tree each.
pub(crate) const OPEN_FILES_MAX: u64 = 65_536;
