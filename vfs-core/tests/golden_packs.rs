//! Golden vectors of what lies in the bucket around objects: packs of versions 0 and 1, sealed objects, the ref log.
//!
//! As in `golden.rs`: `tests/golden/{pack,sealed,reflog}.json` are made anew and compared, `ESKER_WRITE_GOLDEN=1` writes
//! them. Packs of version 0 are only read: nothing writes them any more.

#![allow(clippy::unwrap_used, reason = "a test or example may panic")]

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use serde_json::{Value, json};
use vfs_core::clock::Time;
use vfs_core::id::{HolderId, IdKey, ObjectKind, PackId, SnapshotId, TenantId, WorkspaceId};
use vfs_core::keys::{DataKey, TenantKeys};
use vfs_core::pack::{HEADER_LENGTH, PackClass, PackIndex, PackWriter, Stored, Tail, read_index, read_tail, unpack};
use vfs_core::repo::RefLogEntry;

const TENANT: TenantId = TenantId::from_bytes([7; 16]);
const ID: PackId = PackId::from_bytes([0x50; 32]);
/// The data key of the golden vectors; never used for a real tenant.
const DATA_KEY: [u8; 32] = [0x4b; 32];

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

fn golden(file: &str) -> Value {
    let text = fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_json::from_str(&text).unwrap()
}

/// Compares with the file, or writes it.
fn check(file: &str, made: &Value) {
    if std::env::var_os("ESKER_WRITE_GOLDEN").is_some() {
        fs::write(path(file), serde_json::to_string_pretty(made).unwrap() + "\n").unwrap();
    }
    assert_eq!(&golden(file), made, "{file}: stored bytes changed; that needs a new format version");
}

fn plain_keys() -> TenantKeys {
    TenantKeys::plain(TENANT, IdKey::golden())
}

fn sealing_keys() -> TenantKeys {
    TenantKeys::new(TENANT, IdKey::golden(), vec![DataKey::new(3, DATA_KEY)])
}

fn write(keys: &TenantKeys, class: PackClass, contents: &[(ObjectKind, Vec<u8>)]) -> Bytes {
    let mut writer = PackWriter::new(TENANT, class, ID, keys.for_new_pack(ID));
    for (kind, content) in contents {
        let content = Bytes::copy_from_slice(content);
        writer.push(keys.id().object_id(*kind, &content), &Stored::new(&content).unwrap()).unwrap();
    }
    writer.finish().unwrap().1
}

/// Reads everything in both ways, and says it.
fn described(keys: &TenantKeys, id: PackId, bytes: &Bytes) -> Value {
    let index = read_index(keys, id, bytes).unwrap();
    let first = &bytes[..HEADER_LENGTH.min(bytes.len())];
    let Tail::Index(by_tail) = read_tail(keys, id, bytes.len() as u64, first, bytes).unwrap() else {
        panic!("the whole pack holds its footer")
    };
    assert_eq!(by_tail, index);
    let object = |entry: &vfs_core::pack::PackEntry| {
        let stored = bytes.slice(entry.offset as usize..entry.end() as usize);
        let content = unpack(keys, id, entry, &stored).unwrap();
        json!({
            "kind": entry.id.kind as u8, "id": hex::encode(entry.id.hash), "flags": entry.flags(), "offset": entry.offset,
            "stored_length": entry.stored_length, "plain_length": entry.plain_length, "content": hex::encode(content),
        })
    };
    let PackIndex { version, class, tenant, data_key, entries, .. } = &index;
    let objects: Vec<Value> = entries.iter().map(object).collect();
    let class = char::from(class.tag()).to_string();
    json!({"version": version, "class": class, "tenant": tenant, "data_key": data_key, "objects": objects})
}

#[test]
fn packs() {
    let contents = vec![
        (ObjectKind::Chunk, b"hello".to_vec()),
        (ObjectKind::Chunk, b"abc".repeat(1000)),
        (ObjectKind::Blob, b"B\0not really a blob".to_vec()),
    ];
    let bundled = vec![(ObjectKind::Snapshot, b"S\0not one".to_vec()), (ObjectKind::Chunk, b"hello".to_vec())];
    // Made by the last version that wrote them.
    let old: Vec<Value> = golden("pack.json")["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|vector| vector["value"]["version"] == 0)
        .cloned()
        .collect();
    assert_eq!(old.len(), 2);
    let mut vectors = Vec::new();
    for vector in old {
        let bytes = Bytes::from(hex::decode(vector["bytes"].as_str().unwrap()).unwrap());
        let id: PackId = vector["id"].as_str().unwrap().parse().unwrap();
        vectors.push(json!({"id": id, "bytes": hex::encode(&bytes), "value": described(&plain_keys(), id, &bytes)}));
    }
    for (keys, class, contents) in [
        (plain_keys(), PackClass::Contents, &contents),
        (plain_keys(), PackClass::Bundle, &bundled),
        (sealing_keys(), PackClass::Contents, &contents),
    ] {
        let bytes = write(&keys, class, contents);
        vectors.push(json!({"id": ID, "bytes": hex::encode(&bytes), "value": described(&keys, ID, &bytes)}));
    }
    let whole = write(&plain_keys(), PackClass::Contents, &contents);
    let at = |place: usize, value: u8| {
        let mut bytes = whole.to_vec();
        bytes[place] = value;
        bytes
    };
    let entry = whole.windows(32).position(|window| window == plain_keys().id().chunk_id(b"hello").as_bytes()).unwrap();
    let refused = [
        ("another class", at(8, b'T')),
        ("an unknown class", at(8, b'X')),
        ("the magic of no pack", at(0, b'e')),
        ("cut short", whole[..whole.len() - 1].to_vec()),
        ("an unknown kind of object", at(entry - 1, 9)),
        ("unknown flags", at(entry + 32, 4)),
        ("an encrypted object in a pack that is not", at(entry + 32, 2)),
        ("a gap", at(entry + 33, 62)),
    ];
    let refused: Vec<Value> = refused
        .iter()
        .map(|(why, bytes)| {
            read_index(&plain_keys(), ID, bytes).unwrap_err();
            json!({"why": why, "bytes": hex::encode(bytes)})
        })
        .collect();
    check("pack.json", &json!({"data_key": hex::encode(DATA_KEY), "vectors": vectors, "refused": refused}));
}

/// Two as they were written before they had inode numbers and digests, and one of today.
fn entries() -> [RefLogEntry; 3] {
    let move_of = RefLogEntry {
        format: RefLogEntry::FORMAT,
        workspace: WorkspaceId::from_bytes([0x77; 16]),
        name: "größer".into(),
        snapshot: Some(SnapshotId::from_bytes([0x53; 32])),
        parent: Some(SnapshotId::from_bytes([0x54; 32])),
        epoch: 3,
        sequence: 19,
        time: Time { seconds: 1_700_000_000, nanos: 5 },
        holder: Some(HolderId::from_bytes([0x48; 16])),
        position: 4096,
        ino: None,
        digest: None,
    };
    let deletion = RefLogEntry { name: String::new(), snapshot: None, holder: None, position: 0, ..move_of.clone() };
    let with_digest = RefLogEntry { ino: Some(65_552), ..move_of.clone() }.with_digest().unwrap();
    [move_of, deletion, with_digest]
}

#[test]
fn ref_log_entries() {
    let vectors: Vec<Value> = entries()
        .iter()
        .map(|entry| {
            let (name, bytes) = (entry.object_name(TENANT), entry.to_bytes().unwrap());
            assert_eq!(&RefLogEntry::parse(TENANT, &name, &bytes).unwrap(), entry);
            json!({"name": name, "bytes": String::from_utf8(bytes).unwrap()})
        })
        .collect();
    check("reflog.json", &json!({"vectors": vectors}));
    // Under another name it is another move.
    let [one, two, _] = entries();
    RefLogEntry::parse(TENANT, &two.object_name(TENANT), &one.to_bytes().unwrap()).unwrap_err();
}

#[test]
fn sealed_objects() {
    let keys = sealing_keys();
    let vectors: Vec<Value> = entries()
        .iter()
        .map(|entry| {
            let (name, plain) = (entry.object_name(TENANT), entry.to_bytes().unwrap());
            let sealed = keys.seal_object(&name, &plain, [0x5a; 32]).unwrap();
            assert_eq!(keys.open_object(&name, &sealed).unwrap(), plain);
            json!({"name": name, "bytes": hex::encode(sealed), "plain": String::from_utf8(plain).unwrap()})
        })
        .collect();
    check("sealed.json", &json!({"data_key": hex::encode(DATA_KEY), "number": 3, "vectors": vectors}));
}
