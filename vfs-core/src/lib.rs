//! Esker's filesystem without a kernel.
//!
//! Content-addressed objects in packs on object storage, names that move by compare-and-set in a database, and a
//! workspace: a snapshot with a crash-safe overlay on top. This crate names no FUSE, HTTP or model type.
//!
//! Each line may use only lines below it:
//!
//! ```text
//! repair  rebuild             damage undone | a database made anew from the bucket
//! repo                        the façade: opens bucket and database, hands out workspaces; the one publish
//! files                       a workspace by path
//! workspace  documents  sessions  gc  check  import  export
//! diff  build                 two snapshots compared | a change set applied to one
//! reach                       what objects lead to
//! store  db                   named by content | names that move, and the index
//! tree                        directories over stored nodes
//! base  change  quota         what a workspace stands on | what a publish carries | how much it may hold
//! objects  pack  chunk  bucket
//! keys                        the operator's, a tenant's, and what they seal
//! object                      pure values and their canonical bytes
//! id  name  error  limits  clock  chance  progress
//! ```

/// Whether a test has broken an invariant (see `testing::sabotage`). Without the feature nothing ever is.
#[cfg(feature = "testing")]
macro_rules! sabotaged {
    ($what:ident) => {
        $crate::testing::sabotage::is($crate::testing::sabotage::Sabotage::$what)
    };
}
#[cfg(not(feature = "testing"))]
macro_rules! sabotaged {
    ($what:ident) => {
        false
    };
}

mod ahead;
pub mod base;
pub mod bucket;
pub mod build;
pub mod chance;
pub mod change;
mod check;
pub mod chunk;
pub mod clock;
pub mod db;
pub mod diff;
pub mod documents;
pub mod error;
pub mod export;
pub mod files;
mod gc;
pub mod id;
pub mod import;
pub mod keys;
pub mod limits;
pub mod name;
pub mod object;
pub mod objects;
pub mod pack;
pub mod progress;
pub mod quota;
mod reach;
pub mod rebuild;
pub mod repair;
pub mod repo;
pub mod sessions;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tree;
pub mod workspace;

pub use error::{Error, Kind, Result};
