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
