//! The whole system, from outside: the built `esker` binary, real engines, real mounts, real programs.
//!
//! One binary for all of it, so that it is linked once. What it keeps true: a test never skips in CI, leaves no mount and no
//! process behind, uses only its own temporary folder, and a random test prints its seed.

#![allow(clippy::unwrap_used, reason = "a test or example may panic")]

mod acceptance;
mod agent;
mod agent_bad_input;
mod azure;
mod bad_input;
mod claude_code;
mod commands;
mod concurrency;
mod crash;
mod damage;
mod docs_mount;
mod documents;
mod encryption;
mod engines;
mod files;
mod model;
mod outside;
mod page;
mod random;
mod repair;
mod s3;
mod sessions;
mod team;
mod tidy;
mod tools;
mod world;
