//! Packs: round trips of both versions, and readers that survive any damage.

mod damage;
mod version_0;

use bytes::Bytes;

use super::write::encode_footer;
use super::*;
use crate::error::Kind;
use crate::id::{IdKey, PackId, TenantId};
use crate::keys::{DataKey, TenantKeys};

const TENANT: TenantId = TenantId::from_bytes([7; 16]);
const ID: PackId = PackId::from_bytes([0x50; 32]);

fn plain_keys() -> TenantKeys {
    TenantKeys::plain(TENANT, IdKey::golden())
}

fn sealing_keys() -> TenantKeys {
    TenantKeys::new(TENANT, IdKey::golden(), vec![DataKey::new(1, [0x4b; 32])])
}

fn object(kind: ObjectKind, bytes: &[u8]) -> (ObjectId, Stored) {
    let canonical = Bytes::copy_from_slice(bytes);
    (IdKey::golden().object_id(kind, &canonical), Stored::new(&canonical).unwrap())
}

fn contents() -> Vec<(ObjectKind, Vec<u8>)> {
    vec![
        (ObjectKind::Chunk, b"hello".to_vec()),
        (ObjectKind::Chunk, b"abc".repeat(1000)),
        (ObjectKind::Chunk, Vec::new()),
        (ObjectKind::Blob, b"B\0not really a blob".to_vec()),
    ]
}

/// A pack in memory.
struct Sample {
    id: PackId,
    bytes: Bytes,
    entries: Vec<PackEntry>,
}

fn sample_named(keys: &TenantKeys, id: PackId) -> Sample {
    let mut writer = PackWriter::new(TENANT, PackClass::Contents, id, keys.for_new_pack(id));
    for (kind, content) in contents() {
        let (id, stored) = object(kind, &content);
        writer.push(id, &stored).unwrap();
    }
    let most = writer.size();
    let (pack, bytes) = writer.finish().unwrap();
    assert_eq!(pack.size, bytes.len() as u64);
    assert!(pack.size <= most);
    Sample { id, bytes, entries: pack.entries }
}

fn sample(keys: &TenantKeys) -> Sample {
    sample_named(keys, ID)
}

impl Sample {
    fn stored(&self, entry: &PackEntry) -> Bytes {
        self.bytes.slice(entry.offset as usize..entry.end() as usize)
    }

    fn objects_end(&self) -> usize {
        self.entries.last().unwrap().end() as usize
    }
}

#[test]
fn what_is_written_can_be_read() {
    for keys in [plain_keys(), sealing_keys()] {
        let pack = sample(&keys);
        let index = read_index(&keys, ID, &pack.bytes).unwrap();
        assert_eq!(index.entries, pack.entries);
        assert_eq!((index.class, index.tenant, index.version), (PackClass::Contents, TENANT, 1));
        assert_eq!(index.data_key, u32::from(keys.is_encrypted()));
        for (entry, (_, content)) in index.entries.iter().zip(contents()) {
            assert_eq!(unpack(&keys, ID, entry, &pack.stored(entry)).unwrap(), content);
        }
        assert!(index.entries[1].compressed && !index.entries[0].compressed);
        assert_eq!(index.entries[0].sealed, keys.is_encrypted());
    }
}

#[test]
fn parts_that_are_taken_are_the_pack() {
    for keys in [plain_keys(), sealing_keys()] {
        let whole = sample(&keys);
        let mut writer = PackWriter::new(TENANT, PackClass::Contents, ID, keys.for_new_pack(ID));
        let mut parts = Vec::new();
        for (kind, content) in contents() {
            let (id, stored) = object(kind, &content);
            writer.push(id, &stored).unwrap();
            let waiting = writer.waiting();
            parts.extend_from_slice(&writer.take(waiting));
            assert_eq!(writer.waiting(), 0);
        }
        let (pack, rest) = writer.finish().unwrap();
        parts.extend_from_slice(&rest);
        assert_eq!(parts, whole.bytes);
        assert_eq!(pack.entries, whole.entries);
    }
}

#[test]
fn the_tail_gives_the_index() {
    for keys in [plain_keys(), sealing_keys()] {
        let pack = sample(&keys);
        let size = pack.bytes.len() as u64;
        let first = &pack.bytes[..HEADER_LENGTH];
        let read = |length: usize| read_tail(&keys, ID, size, first, &pack.bytes[pack.bytes.len() - length..]);
        let Tail::Longer(needed) = read(100).unwrap() else { panic!("100 bytes are too few") };
        assert_eq!(needed as usize, pack.bytes.len() - pack.objects_end());
        assert!(matches!(read(needed as usize - 1).unwrap(), Tail::Longer(again) if again == needed));
        for length in [needed as usize, needed as usize + 1, pack.bytes.len()] {
            let Tail::Index(index) = read(length).unwrap() else { panic!("these are enough") };
            assert_eq!(index, read_index(&keys, ID, &pack.bytes).unwrap());
        }
        assert_eq!(read(20).unwrap_err().kind(), Kind::Corrupt);
    }
}

#[test]
fn nothing_of_an_object_is_visible_in_an_encrypted_pack() {
    let pack = sample(&sealing_keys());
    let visible = |part: &[u8]| pack.bytes.windows(part.len()).any(|window| window == part);
    assert!(!visible(b"hello") && !visible(b"not really"));
    assert!(!visible(&pack.entries[0].id.hash), "the footer is sealed too");
    assert_ne!(sample_named(&sealing_keys(), PackId::from_bytes([1; 32])).bytes[61..], pack.bytes[61..]);
}

#[test]
fn a_bundle_takes_objects_of_any_kind() {
    let mut writer = PackWriter::new(TENANT, PackClass::Bundle, ID, None);
    for kind in [ObjectKind::Tree, ObjectKind::Chunk, ObjectKind::Snapshot] {
        let (id, stored) = object(kind, b"anything");
        writer.push(id, &stored).unwrap();
    }
    let (_, bytes) = writer.finish().unwrap();
    let index = read_index(&plain_keys(), ID, &bytes).unwrap();
    assert_eq!((index.class, index.entries.len()), (PackClass::Bundle, 3));
}

#[test]
fn decompression_is_bounded_by_the_stated_length() {
    let (id, stored) = object(ObjectKind::Chunk, &vec![0; 1024 * 1024]);
    let stored_length = stored.bytes.len() as u32;
    let entry = PackEntry { id, compressed: true, sealed: false, offset: 61, stored_length, plain_length: 100 };
    assert_eq!(unpack(&plain_keys(), ID, &entry, &stored.bytes).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn a_newer_format_is_named_as_such() {
    for keys in [plain_keys(), sealing_keys()] {
        let mut pack = sample(&keys).bytes.to_vec();
        pack[7] = 2;
        assert_eq!(
            read_index(&keys, ID, &pack).unwrap_err().kind(),
            Kind::Corrupt,
            "a changed byte is not a newer Esker"
        );
        *pack.last_mut().unwrap() = b'2';
        assert_eq!(read_index(&keys, ID, &pack).unwrap_err().kind(), Kind::Unsupported);
        let (first, size) = (&pack[..HEADER_LENGTH], pack.len() as u64);
        assert_eq!(read_tail(&keys, ID, size, first, &pack).unwrap_err().kind(), Kind::Unsupported);
    }
    assert_eq!(PackEntry::read_flags(4).unwrap_err().kind(), Kind::Corrupt);
}
