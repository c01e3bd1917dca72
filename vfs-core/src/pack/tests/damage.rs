//! Every flipped bit, swapped object, other name, cut and lie is found, in both versions, encrypted or not.

use proptest::prelude::*;

use super::*;
use crate::object::codec::Writer;

/// All that a reader of the whole pack would hand out.
fn read_all(keys: &TenantKeys, id: PackId, bytes: &Bytes) -> Vec<(ObjectId, crate::Result<Bytes>)> {
    let Ok(index) = read_index(keys, id, bytes) else { return Vec::new() };
    let read = |entry: &PackEntry| {
        let stored = bytes.slice(entry.offset as usize..entry.end() as usize);
        (entry.id, unpack(keys, id, entry, &stored))
    };
    index.entries.iter().map(read).collect()
}

#[test]
fn every_flipped_bit_of_a_whole_pack_is_found() {
    for (keys, pack) in [
        (plain_keys(), sample(&plain_keys())),
        (sealing_keys(), sample(&sealing_keys())),
        (plain_keys(), version_0::sample()),
    ] {
        assert_eq!(read_all(&keys, pack.id, &pack.bytes).len(), 4);
        for at in 0..pack.bytes.len() {
            for bit in 0..8 {
                let mut bytes = pack.bytes.to_vec();
                bytes[at] ^= 1 << bit;
                let error = read_index(&keys, pack.id, &bytes).unwrap_err();
                let expected = if at == 7 { &[Kind::Unsupported, Kind::Corrupt][..] } else { &[Kind::Corrupt] };
                assert!(expected.contains(&error.kind()), "byte {at}, bit {bit}: {error}");
            }
        }
    }
}

/// Through the index of the database, nobody looks at header and trailer: each object stands for itself.
#[test]
fn every_flipped_bit_of_an_object_is_found() {
    for (keys, pack) in [(plain_keys(), sample(&plain_keys())), (sealing_keys(), sample(&sealing_keys()))] {
        for (entry, (_, content)) in pack.entries.iter().zip(contents()) {
            let stored = pack.stored(entry);
            for at in 0..stored.len() {
                for bit in 0..8 {
                    let mut bytes = stored.to_vec();
                    bytes[at] ^= 1 << bit;
                    match unpack(&keys, pack.id, entry, &bytes.into()) {
                        // zstd frames have a bit or two that mean nothing; AES-GCM has none.
                        Ok(plain) => assert!(!keys.is_encrypted() && plain == content, "byte {at}, bit {bit}"),
                        Err(error) => assert_eq!(error.kind(), Kind::Corrupt),
                    }
                }
            }
        }
    }
}

#[test]
fn the_tail_finds_every_flipped_bit_of_header_and_tail() {
    for keys in [plain_keys(), sealing_keys()] {
        let pack = sample(&keys);
        let size = pack.bytes.len() as u64;
        let read = |bytes: &[u8]| {
            let (first, last) = (&bytes[..HEADER_LENGTH], &bytes[pack.objects_end()..]);
            match read_tail(&keys, pack.id, size, first, last) {
                Ok(Tail::Index(index)) => Some(index.entries),
                Ok(Tail::Longer(_)) | Err(_) => None,
            }
        };
        assert_eq!(read(&pack.bytes).unwrap(), pack.entries);
        // The body's hash is not looked at here: that is for whoever reads the whole.
        let body_hash = pack.bytes.len() - 40..pack.bytes.len() - 8;
        for at in (0..HEADER_LENGTH).chain(pack.objects_end()..pack.bytes.len()).filter(|at| !body_hash.contains(at)) {
            for bit in 0..8 {
                let mut bytes = pack.bytes.to_vec();
                bytes[at] ^= 1 << bit;
                assert_eq!(read(&bytes), None, "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_pack_under_another_name_is_refused() {
    let other = PackId::from_bytes([0x51; 32]);
    for keys in [plain_keys(), sealing_keys()] {
        let pack = sample(&keys);
        assert_eq!(read_index(&keys, other, &pack.bytes).unwrap_err().kind(), Kind::Corrupt);
        let first = &pack.bytes[..HEADER_LENGTH];
        let error = read_tail(&keys, other, pack.bytes.len() as u64, first, &pack.bytes).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
    }
    // Whoever goes by the index alone finds out by the key.
    let (keys, pack) = (sealing_keys(), sample(&sealing_keys()));
    let entry = &pack.entries[0];
    assert_eq!(unpack(&keys, other, entry, &pack.stored(entry)).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn objects_do_not_change_places() {
    let keys = sealing_keys();
    let (one, two) = (sample(&keys), sample_named(&keys, PackId::from_bytes([0x51; 32])));
    // The same object at the same offset of another pack.
    let entry = &one.entries[0];
    let error = unpack(&keys, one.id, entry, &two.stored(entry)).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.context().contains("decrypted"), "{error}");
    // The right bytes for another id, and at another offset.
    let renamed = PackEntry { id: one.entries[3].id, ..*entry };
    assert_eq!(unpack(&keys, one.id, &renamed, &one.stored(entry)).unwrap_err().kind(), Kind::Corrupt);
    let moved = PackEntry { offset: entry.offset + 1, ..*entry };
    assert_eq!(unpack(&keys, one.id, &moved, &one.stored(entry)).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn other_keys_open_nothing() {
    let pack = sample(&sealing_keys());
    let other = TenantKeys::new(TENANT, IdKey::golden(), vec![DataKey::new(1, [0x4c; 32])]);
    let renumbered = TenantKeys::new(TENANT, IdKey::golden(), vec![DataKey::new(2, [0x4b; 32])]);
    let kinds = [(&other, Kind::Corrupt), (&renumbered, Kind::Denied), (&plain_keys(), Kind::Denied)];
    for (keys, kind) in kinds {
        assert_eq!(read_index(keys, ID, &pack.bytes).unwrap_err().kind(), kind, "{keys:?}");
    }
    let entry = &pack.entries[1];
    assert_eq!(unpack(&other, ID, entry, &pack.stored(entry)).unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(unpack(&plain_keys(), ID, entry, &pack.stored(entry)).unwrap_err().kind(), Kind::Denied);
    // An older data key of the tenant is found.
    let both = vec![DataKey::new(1, [0x4b; 32]), DataKey::new(2, [0x4d; 32])];
    let rotated = TenantKeys::new(TENANT, IdKey::golden(), both);
    assert_eq!(read_index(&rotated, ID, &pack.bytes).unwrap().data_key, 1);
    assert_eq!(unpack(&rotated, ID, entry, &pack.stored(entry)).unwrap(), b"abc".repeat(1000));
}

#[test]
fn a_plain_pack_in_an_encrypted_repo_is_refused() {
    let pack = sample(&plain_keys());
    assert_eq!(read_index(&sealing_keys(), ID, &pack.bytes).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn another_tenants_pack_is_refused() {
    let pack = sample(&plain_keys());
    let keys = TenantKeys::plain(TenantId::from_bytes([8; 16]), IdKey::golden());
    assert_eq!(read_index(&keys, ID, &pack.bytes).unwrap_err().kind(), Kind::Corrupt);
}

/// A plain pack of version 1 with another footer behind its objects, and hashes that fit.
fn with_footer(footer: &[u8]) -> Vec<u8> {
    let pack = sample(&plain_keys());
    let body = &pack.bytes[..pack.objects_end()];
    let hash = super::super::write::footer_hash(&pack.bytes[..HEADER_LENGTH], footer);
    let length = (footer.len() as u32).to_le_bytes();
    [body, footer, &length, hash.as_bytes(), blake3::hash(body).as_bytes(), b"ESKPEND1"].concat()
}

#[test]
fn footers_that_lie_are_refused() {
    let good = sample(&plain_keys()).entries;
    assert_eq!(read_index(&plain_keys(), ID, &with_footer(&encode_footer(&good))).unwrap().entries, good);
    let lies: [fn(&mut Vec<PackEntry>); 8] = [
        |entries| entries[1].offset += 1,
        |entries| entries[1].stored_length += 1,
        |entries| entries[0].plain_length += 1,
        |entries| entries[1].plain_length = u32::MAX,
        |entries| entries[0].id.kind = ObjectKind::Tree,
        |entries| entries[3].id = entries[0].id,
        |entries| entries[1].sealed = true,
        |entries| entries.truncate(3),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let mut entries = good.clone();
        lie(&mut entries);
        let result = read_index(&plain_keys(), ID, &with_footer(&encode_footer(&entries)));
        assert_eq!(result.map_err(|error| error.kind()), Err(Kind::Corrupt), "lie {number}");
    }
    let mut entries = version_0::sample().entries;
    entries[1].offset += 1;
    let pack = version_0::with_other_footer(&encode_footer(&entries));
    assert_eq!(read_index(&plain_keys(), pack.id, &pack.bytes).unwrap_err().kind(), Kind::Corrupt);
}

proptest! {
    #[test]
    fn a_pack_cut_short_is_found(length in 0usize..10_000, sealed in any::<bool>()) {
        let keys = if sealed { sealing_keys() } else { plain_keys() };
        let pack = sample(&keys);
        let length = length % pack.bytes.len();
        prop_assert_eq!(read_index(&keys, ID, &pack.bytes[..length]).unwrap_err().kind(), Kind::Corrupt);
    }

    #[test]
    fn any_footer_with_right_hashes_is_read_without_harm(footer in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_index(&plain_keys(), ID, &with_footer(&footer));
        let pack = version_0::with_other_footer(&footer);
        let _ = read_index(&plain_keys(), pack.id, &pack.bytes);
    }

    #[test]
    fn any_first_and_last_bytes_are_read_without_harm(
        mut first in proptest::collection::vec(any::<u8>(), 0..100),
        last in proptest::collection::vec(any::<u8>(), 0..200),
        size in any::<u64>(),
        start in any::<bool>(),
    ) {
        if start {
            first.splice(0..0, sample(&plain_keys()).bytes[..HEADER_LENGTH].iter().copied());
        }
        let _ = read_tail(&plain_keys(), ID, size, &first, &last);
        let mut ended = last.clone();
        ended.extend_from_slice(b"ESKPEND1");
        let _ = read_tail(&plain_keys(), ID, size % 1000, &first, &ended);
    }

    #[test]
    fn a_large_count_costs_no_memory(count in any::<u64>()) {
        let mut writer = Writer::default();
        writer.varint(count.max(1));
        prop_assert!(read_index(&plain_keys(), ID, &with_footer(&writer.finish())).is_err());
    }
}
