//! The agent outside of the sandbox (decision 0014): a client of the API that drives a model and runs its tools.
//!
//! | file | what |
//! |---|---|
//! | `dialect` | what is said to a model and heard from it: Anthropic Messages |
//! | `log` | the turn log, read back into a conversation and what is left to do |
//! | `run` | one session, turn by turn, under its lease |
//! | `call` | what the driver and the tools say to each other |
//! | `tools` | Read, Write, Edit, Glob, Grep, Bash, Skill |
//! | `routes` | which path means a file, which a document |
//! | `skills` | instructions for models, kept as documents |
//! | `sandbox` | where Bash runs |
//! | `scripted` | a model that reads its lines from a script, for demonstrations |
//! | `mounts` | the workspace and the documents as the sandbox sees them |
//!
//! Keeps true: what has an effect is in the log before it happens, and its result is there before anybody sees it; the
//! key of the model and the token of the engine stay in this process.

pub mod call;
pub mod dialect;
pub mod limits;
pub mod log;
pub mod mounts;
pub mod routes;
pub mod run;
pub mod sandbox;
pub mod scripted;
pub mod skills;
pub mod tools;
