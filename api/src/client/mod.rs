//! The client of an engine: over its Unix socket, over HTTP with a token, or in the engine's own process.
//!
//! | file | what |
//! |---|---|
//! | `transport` | one request: connect, start an engine, retry, versions, errors |
//! | `answer` | whole bodies, refusals, errors of the connection |
//! | `in_process` | the same without a socket: the router is called |
//! | `calls` | a typed method for each thing that people and scripts ask |
//! | `documents` `files` `sessions` | the same for what agents work with |
//! | `follow` | a turn log as it grows |
//! | `lines` | streams of progress |
//! | `holder` | one workspace in the hands of a mount: `Base` and `Publisher` over HTTP |
//! | `control` | the connection on which the engine asks the mount |
//!
//! Keeps true: what a mount gets from here was checked by plain digest (content) or decoded strictly (trees, blobs); a
//! step is sent again only if it may be.

mod answer;
mod calls;
pub mod control;
mod documents;
mod files;
mod follow;
mod holder;
mod in_process;
mod keep;
mod lines;
mod sessions;
mod transport;

#[cfg(test)]
mod tests;

pub use control::{ControlHandler, End};
pub use documents::{Basis, DocumentContent, Put};
pub use files::{FileBasis, FileContent};
pub use holder::WorkspaceClient;
pub use in_process::InProcess;
pub use transport::{Client, Endpoint, EngineStarter};
