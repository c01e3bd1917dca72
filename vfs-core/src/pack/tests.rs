//! Packs: golden bytes, round trips, and a reader that survives any damage.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::id::IdKey;

fn object(key: &IdKey, kind: ObjectKind, bytes: &[u8]) -> (ObjectId, Stored) {
    let canonical = Bytes::copy_from_slice(bytes);
    (key.object_id(kind, &canonical), Stored::new(&canonical).unwrap())
}

fn sample() -> Pack {
    let key = IdKey::golden();
    let mut writer = PackWriter::new(TenantId::from_bytes([7; 16]), PackClass::Contents);
    for content in [b"hello".to_vec(), b"abc".repeat(1000), Vec::new()] {
        let (id, stored) = object(&key, ObjectKind::Chunk, &content);
        writer.push(id, &stored);
    }
    let (id, stored) = object(&key, ObjectKind::Blob, b"B\0not really a blob");
    writer.push(id, &stored);
    writer.finish()
}

#[test]
fn golden_bytes() {
    let mut writer = PackWriter::new(TenantId::from_bytes([7; 16]), PackClass::Contents);
    let (id, stored) = object(&IdKey::golden(), ObjectKind::Chunk, b"hello");
    writer.push(id, &stored);
    let pack = writer.finish();
    insta::assert_snapshot!(hex::encode(&pack.bytes));
    insta::assert_snapshot!(pack.id.to_hex());
}

#[test]
fn what_is_written_can_be_read() {
    let pack = sample();
    let index = read_index(&pack.bytes).unwrap();
    assert_eq!(index.entries, pack.entries);
    assert_eq!((index.class, index.tenant), (PackClass::Contents, TenantId::from_bytes([7; 16])));
    let plain: Vec<Bytes> = index
        .entries
        .iter()
        .map(|entry| {
            let range = entry.offset as usize..entry.offset as usize + entry.stored_length as usize;
            unpack(&IdKey::golden(), entry, &pack.bytes.slice(range)).unwrap()
        })
        .collect();
    assert_eq!(plain[0], "hello");
    assert_eq!(plain[1], b"abc".repeat(1000));
    assert!(index.entries[1].compressed && !index.entries[0].compressed);
}

#[test]
fn a_wrong_byte_in_an_object_is_found() {
    let pack = sample();
    for entry in &pack.entries[..2] {
        let range = entry.offset as usize..entry.offset as usize + entry.stored_length as usize;
        for at in 0..range.len() {
            let mut stored = pack.bytes[range.clone()].to_vec();
            stored[at] ^= 0x10;
            if let Ok(plain) = unpack(&IdKey::golden(), entry, &stored.into()) {
                // zstd frames have a bit or two that mean nothing; the content must be right all the same.
                assert_eq!(IdKey::golden().object_id(entry.id.kind, &plain), entry.id);
            }
        }
    }
    let plain = &pack.entries[0];
    let error = unpack(&IdKey::golden(), plain, &Bytes::from_static(b"hellO")).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
}

#[test]
fn decompression_is_bounded_by_the_stated_length() {
    let (id, stored) = object(&IdKey::golden(), ObjectKind::Chunk, &vec![0; 1024 * 1024]);
    let entry =
        PackEntry { id, compressed: true, offset: 25, stored_length: stored.bytes.len() as u32, plain_length: 100 };
    assert_eq!(unpack(&IdKey::golden(), &entry, &stored.bytes).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn a_newer_format_is_named_as_such() {
    let mut pack = sample().bytes.to_vec();
    pack[7] = 1;
    assert_eq!(read_index(&pack).unwrap_err().kind(), Kind::Unsupported);
    assert_eq!(PackEntry::read_flags(2).unwrap_err().kind(), Kind::Unsupported);
    assert_eq!(PackEntry::read_flags(4).unwrap_err().kind(), Kind::Corrupt);
}

/// Puts `footer` behind the objects of a sample, with a hash that fits it.
fn with_footer(footer: &[u8]) -> Vec<u8> {
    let pack = sample();
    let end = pack.entries.last().map(|entry| entry.offset + u64::from(entry.stored_length)).unwrap();
    let mut bytes = pack.bytes[..end as usize].to_vec();
    bytes.extend_from_slice(footer);
    bytes.extend_from_slice(&(footer.len() as u32).to_le_bytes());
    bytes.extend_from_slice(blake3::hash(footer).as_bytes());
    bytes.extend_from_slice(END_MAGIC);
    bytes
}

#[test]
fn footers_that_lie_are_refused() {
    let good = sample().entries;
    assert_eq!(read_index(&with_footer(&encode_footer(&good))).unwrap().entries, good);
    let lies: [fn(&mut Vec<PackEntry>); 7] = [
        |entries| entries[1].offset += 1,
        |entries| entries[1].stored_length += 1,
        |entries| entries[0].plain_length += 1,
        |entries| entries[1].plain_length = u32::MAX,
        |entries| entries[0].id.kind = ObjectKind::Tree,
        |entries| entries[3].id = entries[0].id,
        |entries| entries.truncate(3),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let mut entries = good.clone();
        lie(&mut entries);
        let result = read_index(&with_footer(&encode_footer(&entries)));
        assert_eq!(result.map_err(|error| error.kind()), Err(Kind::Corrupt), "lie {number}");
    }
}

proptest! {
    #[test]
    fn any_changed_byte_outside_the_objects_is_found(at in 0usize..10_000, bit in 0u8..8) {
        let pack = sample();
        let objects = HEADER_LENGTH..(pack.entries[3].offset + u64::from(pack.entries[3].stored_length)) as usize;
        let mut bytes = pack.bytes.to_vec();
        let at = at % bytes.len();
        // The tenant is compared by whoever asked for the pack.
        prop_assume!(!objects.contains(&at) && !(9..25).contains(&at));
        bytes[at] ^= 1 << bit;
        prop_assert!(read_index(&bytes).is_err());
    }

    #[test]
    fn a_pack_cut_short_is_found(length in 0usize..10_000) {
        let pack = sample();
        let length = length % pack.bytes.len();
        prop_assert!(read_index(&pack.bytes[..length]).is_err());
    }

    #[test]
    fn any_footer_with_a_right_hash_is_read_without_harm(footer in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_index(&with_footer(&footer));
    }

    #[test]
    fn a_large_count_costs_no_memory(count in any::<u64>()) {
        let mut writer = Writer::default();
        writer.varint(count.max(1));
        prop_assert!(read_index(&with_footer(&writer.finish())).is_err());
    }
}
