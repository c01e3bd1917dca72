//! What travels between client and engine.
//!
//! JSON for what people and scripts use, binary frames ([`frames`]) for objects in bulk. Ids are lower-case hexadecimal.
//! Names and paths are bytes: in JSON they stand as (lossy) text, with their exact bytes in hexadecimal beside it where
//! they are not UTF-8; in queries they are percent-encoded bytes. These types decide nothing.

pub mod admin;
pub mod control;
pub mod diff;
pub mod document;
pub mod error;
pub mod file;
pub mod frames;
pub mod gc;
pub mod job;
pub mod keep;
pub mod mount;
pub mod name;
pub mod quota;
pub mod repair;
pub mod session;
pub mod snapshot;
pub mod stats;
pub mod transfer;
pub mod workspace;

#[cfg(test)]
mod tests;

pub use control::{ControlAnswer, ControlCall, ControlRequest, Outcome};
pub use error::{ErrorBody, ErrorDetail};
pub use job::JobLine;
pub use name::Time;
pub use workspace::Workspace;
