//! libFuzzer, on the decoder that ESKER_FUZZ names.

#![no_main]

use std::sync::LazyLock;

static NAME: LazyLock<String> = LazyLock::new(|| std::env::var("ESKER_FUZZ").expect("ESKER_FUZZ names a decoder"));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| esker_fuzz::decode(&NAME, bytes));
