//! What tests need of this crate beyond its own: only with the feature `testing`.

pub mod postgres;
