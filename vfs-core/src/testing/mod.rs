//! For tests only (feature `testing`): what they need of the inside.

pub mod decoders;
