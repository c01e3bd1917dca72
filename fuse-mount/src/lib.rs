//! Shows an Esker workspace to Linux through FUSE: translates, decides nothing.
//!
//! * [`mount`](mod@mount): a running mount, from mount(2) to the last reply; what `esker mount` holds on to.
//! * `filesystem`: one FUSE request → one workspace operation → one reply. Answers on the session's thread from
//!   memory; only a miss leaves for the async runtime.
//! * `translate`: pure maps between fuser's values and the workspace's.
//! * `acl`: keeps access control lists and modes in step, which the kernel leaves to the daemon.
//! * `device`: gets `/dev/fuse` mounted, by mount(2) or through `fusermount3`, and unmounted again.
//! * [`mountinfo`](mod@mountinfo), `processes`: what `/proc` says about mounts and about who uses them.
//!
//! This crate knows no bucket, database, HTTP or journal.

mod acl;
pub mod counters;
mod device;
mod filesystem;
mod limits;
pub mod mount;
pub mod mountinfo;
mod processes;
mod translate;

pub use counters::Requests;
pub use mount::{Mount, MountOptions, unmount};
pub use mountinfo::{check_mountpoint, clear_dead_mount, is_mounted};
