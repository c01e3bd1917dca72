//! What `/proc/self/mountinfo` says about a path.

use std::path::Path;

use vfs_core::Result;

/// Lazily unmounts what a dead daemon left at `path` (every access answers ENOTCONN). Returns whether it did; anything
/// else is left untouched.
pub fn clear_dead_mount(path: &Path) -> Result<bool> {
    let _ = path;
    unimplemented!()
}

/// Checks that `path` is an empty directory on which nothing is mounted. Errors say what to do.
pub fn check_mountpoint(path: &Path) -> Result<()> {
    let _ = path;
    unimplemented!()
}

/// Whether something is mounted at `path`.
pub fn is_mounted(path: &Path) -> bool {
    let _ = path;
    unimplemented!()
}
