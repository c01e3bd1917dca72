//! The fault rig (decision 0019): what tests put around a repo to make the world as bad as it gets, the same way each time.
//!
//! | file | what |
//! |---|---|
//! | `clock` | a clock that is turned by hand |
//! | `chance` | a seeded generator, and ids that follow from a seed |
//! | `faults` | the twelve kinds of fault, the rules that choose them, the counters |
//! | `bucket` | [`FaultyStore`]: any object store, with faults |
//! | `upload` | the same for uploads in parts |
//! | `decoders` | every decoder behind one shape, for the fuzz targets |
//! | `turnstile` | actors that pass one at a time, as a seed says |
//! | `postgres` | a private PostgreSQL for the tests of a process |
//! | `decoders` | what is read from untrusted bytes, for fuzzers |
//! | `sabotage` | switches that break an invariant, so that the tests can prove that they see it |
//!
//! Keeps true: without a turnstile and without rules nothing of this changes what the crate does. Only built with the
//! feature `testing`.

mod bucket;
mod chance;
mod clock;
mod database;
pub mod decoders;
mod faults;
pub mod postgres;
pub mod sabotage;
mod threads;
mod turnstile;
mod upload;

pub use bucket::FaultyStore;
pub(crate) use chance::fill;
pub use chance::{Random, seed_ids};
pub use clock::HandClock;
pub use database::{DatabaseTrouble, trouble_database};
pub(crate) use database::{begun, step};
pub use faults::{Fault, Faults, Operation, Rule, Site, When};
pub use turnstile::{Passed, Turnstile, gate};
pub(crate) use turnstile::{detach, has_actor};
