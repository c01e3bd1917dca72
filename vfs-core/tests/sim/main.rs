//! The store in a simulated world: a faulty bucket, crashes at every step, several engines, gc beside writers, and a
//! model that knows what everybody may see (decision 0019).
//!
//! One seed is one world. `ESKER_SIM_SEEDS` says how many worlds each test runs, `ESKER_SIM_SEED` runs one again. A world
//! that fails prints the command that replays it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod client;
mod crash;
mod degrade;
mod faults;
mod files;
mod gc;
mod model;
mod moments;
mod refs;
mod rig;
mod sabotage;
mod verify;
mod world;
mod worlds;
