//! The corpora of the fuzz targets through their decoders, on any compiler: each seed is what its name says.

use std::path::PathBuf;

use super::DECODERS;

/// Seeds of a decoder: name and bytes.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<_> = entries
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap()))
        .collect();
    seeds.sort();
    seeds
}

#[test]
fn seeds_are_understood_or_refused_as_their_names_say() {
    for decoder in DECODERS {
        let seeds = corpus(decoder.name);
        assert!(seeds.iter().any(|(name, _)| name.starts_with("good")), "{} has no good seed", decoder.name);
        for (name, bytes) in seeds {
            let understood = decoder.check(&bytes);
            if name.starts_with("good") || name.starts_with("bad") {
                assert_eq!(understood, name.starts_with("good"), "{}/{name}", decoder.name);
            }
        }
    }
}

#[test]
fn each_seed_cut_short_or_with_a_changed_byte_is_survived() {
    for decoder in DECODERS {
        for (_, bytes) in corpus(decoder.name) {
            for end in 0..bytes.len().min(300) {
                decoder.check(&bytes[..end]);
                for change in [1, 0x80, 0xff] {
                    let mut damaged = bytes.clone();
                    damaged[end] ^= change;
                    decoder.check(&damaged);
                }
            }
        }
    }
}
