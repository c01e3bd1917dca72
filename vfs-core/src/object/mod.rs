//! Pure values and their canonical bytes. No input, no output, no clock.
//!
//! Canonical bytes start with a kind tag and a format version; each value has exactly one encoding and the readers
//! refuse every other. `docs/format.md` is the specification.

pub mod blob;
pub mod codec;
pub mod node;
pub mod snapshot;
pub mod tree;
pub mod xattrs;

pub use blob::{Blob, Extent};
pub use node::{Body, ChunkRef, Content, FileKind, Ino, Node, Subtree, Totals, XattrsRef};
pub use snapshot::{Provenance, Snapshot};
pub use tree::{Child, Entry, Target, TreeNode};
pub use xattrs::Xattrs;
