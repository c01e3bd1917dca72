//! The limits of this crate, each with its reason.

use std::time::Duration;

/// How long the kernel may keep names, absent names and attributes. It is told when something changes; ten years
/// stay far below what overflows the kernel's jiffies.
pub(crate) const CACHE_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Largest WRITE and READ: what 256 pages hold, the kernel's default limit of a request.
pub(crate) const REQUEST_MAX: u32 = 1024 * 1024;
/// Requests that the kernel may have under way on its own account (read-ahead, releases).
pub(crate) const BACKGROUND_MAX: u16 = 64;
/// Processes that a "busy" message names; more would not help.
pub(crate) const HOLDERS_SHOWN: usize = 8;
/// How long a barrier waits for mapped files to be written back. Checked between files: one fsync is not cut short.
pub(crate) const FLUSH_DEADLINE: Duration = Duration::from_secs(60);
/// Bytes that one copy_file_range copies before it answers: some milliseconds of a session's thread.
pub(crate) const COPY_MAX: u64 = 8 * 1024 * 1024;
/// Most session threads: above the number of processors they only take turns.
pub(crate) const THREADS_MAX: usize = 64;
/// Lists of invalidations that may wait. Whoever swaps bases faster than the kernel forgets has to wait.
pub(crate) const INVALIDATIONS_QUEUED: usize = 64;

/// Documents that may be open at once: each is kept in memory whole.
pub(crate) const DOCUMENTS_OPEN_MAX: usize = 256;
/// Empty directories that are kept in memory.
pub(crate) const DIRECTORIES_MADE_MAX: usize = 4096;
/// A list of the view's documents that is at most this old answers without asking the engine: one command of a shell
/// looks at many names at once. Names that it lacks are asked for all the same.
pub(crate) const LISTING_AGE_MAX: Duration = Duration::from_millis(100);
/// Paths of which the version that was opened last is remembered, or the scope that they were removed from.
pub(crate) const PATHS_REMEMBERED_MAX: usize = 4096;
/// A path that was removed and is made again within this goes back to its scope: editors rename a file away and write
/// a new one.
pub(crate) const SCOPE_REMEMBERED: Duration = Duration::from_secs(60);
/// First pause before an engine that is away is asked again; it doubles.
pub(crate) const RETRY_PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause before an engine that is away is asked again.
pub(crate) const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);
/// What `df` shows as free: there is no quota of documents yet.
pub(crate) const DOCUMENTS_FREE_BYTES: u64 = 1024 * 1024 * 1024;
