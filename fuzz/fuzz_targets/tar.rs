//! The decoder `tar` of `vfs_core::testing::decoders`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| esker_fuzz::decode("tar", bytes));
