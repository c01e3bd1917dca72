//! Counts the kernel's requests by operation: round trips are what a FUSE mount costs.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! operations {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// A kind of request.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Operation {
            $($variant),+
        }

        const NAMES: &[&str] = &[$($name),+];
    };
}

operations! {
    Lookup = "lookup", Forget = "forget", Getattr = "getattr", Setattr = "setattr", Readlink = "readlink",
    Mknod = "mknod", Mkdir = "mkdir", Unlink = "unlink", Rmdir = "rmdir", Symlink = "symlink", Rename = "rename",
    Link = "link", Open = "open", Read = "read", Write = "write", Flush = "flush", Release = "release",
    Fsync = "fsync", Opendir = "opendir", Readdir = "readdir", Readdirplus = "readdirplus",
    Releasedir = "releasedir", Fsyncdir = "fsyncdir", Statfs = "statfs", Setxattr = "setxattr",
    Getxattr = "getxattr", Listxattr = "listxattr", Removexattr = "removexattr", Access = "access",
    Create = "create", Fallocate = "fallocate", Lseek = "lseek", CopyFileRange = "copy_file_range",
    Other = "other", Misses = "misses",
}

/// Live counters.
#[derive(Debug)]
pub(crate) struct Counters([AtomicU64; NAMES.len()]);

impl Default for Counters {
    fn default() -> Self {
        Counters([const { AtomicU64::new(0) }; NAMES.len()])
    }
}

impl Counters {
    pub(crate) fn count(&self, operation: Operation) {
        self.0[operation as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Requests {
        let counts = NAMES.iter().zip(&self.0).map(|(name, count)| (*name, count.load(Ordering::Relaxed)));
        Requests { by_operation: counts.filter(|(_, count)| *count > 0).collect() }
    }
}

/// How many requests the kernel has sent since the mount began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    /// Operation and count, without those that never came. `misses` is not a request: it says how many requests
    /// had to leave the session's thread.
    pub by_operation: Vec<(&'static str, u64)>,
}

impl Requests {
    /// All requests.
    pub fn total(&self) -> u64 {
        self.by_operation.iter().filter(|(name, _)| *name != "misses").map(|(_, count)| count).sum()
    }

    /// The requests of one operation.
    pub fn of(&self, operation: &str) -> u64 {
        self.by_operation.iter().find(|(name, _)| *name == operation).map_or(0, |(_, count)| *count)
    }
}

#[cfg(test)]
mod tests;
