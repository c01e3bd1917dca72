//! Shows Esker's workspaces and documents to Linux through FUSE: translates, decides nothing.
//!
//! * [`mount`](mod@mount): a workspace shown at a path; what `esker mount` holds on to.
//! * [`documents`]: the documents of a view shown at a path, in a session of its own kind.
//! * `session`: one FUSE session of either kind, from mount(2) to its end.
//! * `filesystem`: one FUSE request → one workspace operation → one reply. Answers on the session's thread from
//!   memory; only a miss leaves for the async runtime.
//! * `translate`: pure maps between fuser's values and the workspace's.
//! * `acl`: keeps access control lists and modes in step, which the kernel leaves to the daemon.
//! * `device`: gets `/dev/fuse` mounted, by mount(2) or through `fusermount3`, and unmounted again.
//! * [`mountinfo`](mod@mountinfo), `processes`: what `/proc` says about mounts and about who uses them.
//!
//! This crate knows no bucket, database or journal; of HTTP only the client that `documents` calls.

mod acl;
pub mod counters;
mod device;
pub mod documents;
mod filesystem;
mod limits;
pub mod mount;
pub mod mountinfo;
mod processes;
mod session;
mod translate;

pub use counters::Requests;
pub use mount::{Mount, MountOptions};
pub use mountinfo::{check_mountpoint, clear_dead_mount, is_mounted};
pub use session::unmount;
