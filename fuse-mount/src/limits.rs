//! The limits of this crate, each with its reason.

use std::time::Duration;

/// How long the kernel may keep names, absent names and attributes. It is told when something changes; ten years
/// stay far below what overflows the kernel's jiffies.
pub(crate) const CACHE_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Largest WRITE and READ: what 256 pages hold, the kernel's default limit of a request.
pub(crate) const REQUEST_MAX: u32 = 1024 * 1024;
/// Requests that the kernel may have under way on its own account (read-ahead, releases).
pub(crate) const BACKGROUND_MAX: u16 = 64;
