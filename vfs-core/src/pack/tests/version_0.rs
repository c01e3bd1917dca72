//! Packs of version 0, which nothing writes any more, are read as ever.

use super::super::header::PackHeader;
use super::*;

/// What the writer of version 0 made.
pub(super) fn sample() -> Sample {
    let mut bytes = b"ESKPACK\0C".to_vec();
    bytes.extend_from_slice(TENANT.as_bytes());
    let mut entries = Vec::new();
    for (kind, content) in contents() {
        let (id, stored) = object(kind, &content);
        entries.push(PackEntry {
            id,
            compressed: stored.compressed,
            sealed: false,
            offset: bytes.len() as u64,
            stored_length: stored.bytes.len() as u32,
            plain_length: stored.plain_length,
        });
        bytes.extend_from_slice(&stored.bytes);
    }
    with_footer(&bytes, &encode_footer(&entries), entries)
}

fn with_footer(objects: &[u8], footer: &[u8], entries: Vec<PackEntry>) -> Sample {
    let length = (footer.len() as u32).to_le_bytes();
    let bytes = [objects, footer, &length, blake3::hash(footer).as_bytes(), b"ESKPEND0"].concat();
    Sample { id: PackId::from_bytes(*blake3::hash(&bytes).as_bytes()), bytes: bytes.into(), entries }
}

/// Puts `footer` behind the objects of a sample, with hashes that fit it.
pub(super) fn with_other_footer(footer: &[u8]) -> Sample {
    let pack = sample();
    with_footer(&pack.bytes[..pack.objects_end()], footer, pack.entries.clone())
}

#[test]
fn is_read_whole_and_by_its_tail() {
    let (pack, keys) = (sample(), plain_keys());
    let index = read_index(&keys, pack.id, &pack.bytes).unwrap();
    assert_eq!((index.version, index.data_key), (0, 0));
    assert_eq!(index.entries, pack.entries);
    for (entry, (_, content)) in index.entries.iter().zip(contents()) {
        assert_eq!(unpack(&keys, pack.id, entry, &pack.stored(entry)).unwrap(), content);
    }
    let size = pack.bytes.len() as u64;
    let last = &pack.bytes[pack.objects_end()..];
    let Tail::Index(by_tail) = read_tail(&keys, pack.id, size, &pack.bytes[..HEADER_LENGTH], last).unwrap() else {
        panic!("the footer is there")
    };
    assert_eq!(by_tail, index);
}

/// The writer above is the old one: what it makes is among the golden vectors.
#[test]
fn the_sample_is_golden() {
    let golden = include_str!("../../../tests/golden/pack.json");
    assert!(golden.contains(&hex::encode(&sample().bytes)), "{} {}", sample().id, hex::encode(&sample().bytes));
}

#[test]
fn another_name_is_refused() {
    let pack = sample();
    assert_eq!(read_index(&plain_keys(), ID, &pack.bytes).unwrap_err().kind(), Kind::Corrupt);
    let error = read_index(&sealing_keys(), pack.id, &pack.bytes).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "nothing of an encrypted repo is of version 0");
}

#[test]
fn a_bundle_is_not_of_version_0() {
    let mut bytes = sample().bytes.to_vec();
    bytes[8] = b'B';
    assert_eq!(PackHeader::read(&bytes).unwrap_err().kind(), Kind::Corrupt);
}
