//! Every decoder of this crate behind one shape, for the fuzz targets in `fuzz/` and for the test of their corpora.
//!
//! A decoder gets bytes that an enemy wrote. It refuses them or understands them; it does not panic, and what it takes of memory is
//! paid for by the input. What it understood is written again: the same bytes where the format is canonical (every object, record
//! and footer), else bytes that mean the same, which then stay as they are.

use std::cell::RefCell;
use std::future::Future;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::change::ChangeSet;
use crate::clock::Time;
use crate::documents::{DocumentPath, Scope};
use crate::error::{Error, Result};
use crate::files::check_glob;
use crate::id::{IdKey, ObjectId, ObjectKind, PackId, TenantId};
use crate::import::InoSource;
use crate::import::archive::import_archive;
use crate::keys::{DataKey, TenantKeys};
use crate::limits::OBJECT_MAX;
use crate::name::Name;
use crate::object::{Blob, Ino, Snapshot, TreeNode, Xattrs};
use crate::objects::MemoryObjects;
use crate::pack::{self, HEADER_LENGTH, PackClass, PackEntry, PackHeader, PackIndex, Stored, Tail};
use crate::progress::silent;

/// One decoder.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    /// The name of its fuzz target and of the folder of its corpus.
    pub name: &'static str,
    /// Understands bytes and writes them again; an error refuses them.
    pub round: fn(&[u8]) -> Result<Vec<u8>>,
    /// One value has one encoding: what is understood is written again byte by byte.
    pub canonical: bool,
    /// The largest single allocation for an input of so many bytes.
    pub memory_max: fn(usize) -> usize,
}

/// All of them.
pub const DECODERS: &[Decoder] = &[
    canonical("tree", |bytes| TreeNode::decode(bytes).map(|value| value.encode())),
    canonical("blob", |bytes| Blob::decode(bytes).map(|value| value.encode())),
    canonical("snapshot", |bytes| Snapshot::decode(bytes).map(|value| value.encode())),
    canonical("attributes", |bytes| Xattrs::decode(bytes).map(|value| value.encode())),
    canonical("change_set", |bytes| ChangeSet::decode(bytes).map(|value| value.encode())),
    canonical("journal_record", crate::workspace::decoders::record),
    canonical("pack_index", pack_index),
    canonical("name", |bytes| Name::new(bytes).map(|name| name.as_bytes().to_vec())),
    canonical("scope", |bytes| text(bytes)?.parse::<Scope>().map(|scope| scope.to_string().into())),
    canonical("document_path", |bytes| text(bytes)?.parse::<DocumentPath>().map(|path| path.to_string().into())),
    // Digits may be large: people copy them from anywhere.
    loose("object_id", |bytes| PackId::from_str(text(bytes)?).map(|id| id.to_hex().into())),
    // Compressed bytes may become as many as their index entry states, and never more.
    Decoder { name: "stored_object", round: stored_object, canonical: false, memory_max: |_| 2 * OBJECT_MAX },
    canonical("sealed_object", sealed_object),
    loose("config", config),
    loose("ref_log_entry", crate::repo::decoders::ref_log_entry),
    // Contents are cut in pieces of up to a MiB, whatever the archive says of their length.
    Decoder { name: "tar", round: tar, canonical: false, memory_max: |input| 40 * input + (4 << 20) },
    loose("glob", |bytes| check_glob(text(bytes)?).map(|()| bytes.to_vec())),
];

/// The decoder of this name.
pub fn find(name: &str) -> &'static Decoder {
    DECODERS.iter().find(|decoder| decoder.name == name).expect("because fuzz targets are named after decoders")
}

impl Decoder {
    /// Decodes, and panics if the decoder is not what it should be. Whether the bytes were understood.
    pub fn check(&self, bytes: &[u8]) -> bool {
        let Ok(again) = (self.round)(bytes) else { return false };
        if self.canonical {
            assert!(again == bytes, "{}: understood, but written in another way: {again:02x?}", self.name);
        } else {
            let third = (self.round)(&again)
                .unwrap_or_else(|error| panic!("{}: its own bytes are refused: {error}", self.name));
            assert!(third == again, "{}: its own bytes mean something else", self.name);
        }
        true
    }
}

const fn canonical(name: &'static str, round: fn(&[u8]) -> Result<Vec<u8>>) -> Decoder {
    Decoder { name, round, canonical: true, memory_max: small_multiple }
}

const fn loose(name: &'static str, round: fn(&[u8]) -> Result<Vec<u8>>) -> Decoder {
    Decoder { name, round, canonical: false, memory_max: small_multiple }
}

/// Errors carry backtraces and texts of their own, which do not grow with the input.
fn small_multiple(input: usize) -> usize {
    4 * input + 64 * 1024
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| Error::corrupt("this is no UTF-8").because(error))
}

/// The keys of the golden vectors, so that these are seeds.
const TENANT: TenantId = TenantId::from_bytes([7; 16]);
const PACK: PackId = PackId::from_bytes([0x50; 32]);
const SEALED_NAME: &str = "t/07070707070707070707070707070707/reflog/77777777777777777777777777777777/0000000000000003-0000000000000013-5353535353535353";

/// Keys of a tenant whose objects are not encrypted.
fn plain_keys() -> TenantKeys {
    TenantKeys::plain(TENANT, IdKey::golden())
}

/// Keys of one whose objects are.
fn sealing_keys() -> TenantKeys {
    TenantKeys::new(TENANT, IdKey::golden(), vec![DataKey::new(3, [0x4b; 32])])
}

/// The first byte says which pack: its low bits version 0, version 1, an encrypted one, or one as it is; the next two bits the class.
/// Then what lies between a pack's header and its trailer, behind the length of the footer in two bytes: a fuzzer would never find a
/// footer's hash nor its seal, so those are made to fit. Of a pack as it is, everything follows.
fn pack_index(bytes: &[u8]) -> Result<Vec<u8>> {
    let Some((&shape, rest)) = bytes.split_first() else { return Err(Error::corrupt("no shape")) };
    if shape & 3 == 3 {
        return whole_pack(bytes, rest);
    }
    let class = match shape >> 2 {
        0 => PackClass::Contents,
        1 => PackClass::Trees,
        2 => PackClass::Bundle,
        _ => return Err(Error::corrupt("no such shape")),
    };
    let Some((length, body)) = rest.split_at_checked(2) else { return Err(Error::corrupt("no length")) };
    let footer_length = usize::from(u16::from_le_bytes([length[0], length[1]]));
    let Some(objects) = body.len().checked_sub(footer_length) else { return Err(Error::corrupt("no such footer")) };
    let (objects, footer) = body.split_at(objects);
    let keys = if shape & 3 == 2 { sealing_keys() } else { plain_keys() };
    let (id, whole) = if shape & 3 == 0 {
        let whole = pack::testing::pack_0(&keys, class, objects, footer);
        (PackId::from_bytes(*blake3::hash(&whole).as_bytes()), whole)
    } else {
        (PACK, pack::testing::pack_1(&keys, class, PACK, objects, footer)?)
    };
    let index = both_ways(&keys, id, &whole)?;
    let again = pack::testing::footer(&index.entries);
    Ok([&bytes[..3], objects, &again].concat())
}

/// A pack of which nothing is made to fit.
fn whole_pack(bytes: &[u8], pack: &[u8]) -> Result<Vec<u8>> {
    let header = PackHeader::read(pack)?;
    let id = header.id.unwrap_or_else(|| PackId::from_bytes(*blake3::hash(pack).as_bytes()));
    let keys = if header.data_key == 0 { plain_keys() } else { sealing_keys() };
    both_ways(&keys, id, pack)?;
    Ok(bytes.to_vec())
}

/// The index, from the whole pack. Its two ends must say the same.
fn both_ways(keys: &TenantKeys, id: PackId, pack: &[u8]) -> Result<PackIndex> {
    let tail = pack::read_tail(keys, id, pack.len() as u64, &pack[..pack.len().min(HEADER_LENGTH)], pack);
    let index = pack::read_index(keys, id, pack)?;
    match tail {
        Ok(Tail::Index(by_tail)) => assert!(by_tail == index, "a pack and its ends say different things"),
        other => panic!("a pack is understood, its ends are not: {other:?}"),
    }
    Ok(index)
}

/// The input says how long the object should be (three bytes), whether it is compressed and whether it is sealed (one); the rest is what
/// a pack stores, before it is sealed. The id never fits, so nothing is understood; what is stored by us must come back.
fn stored_object(bytes: &[u8]) -> Result<Vec<u8>> {
    if let Some((head, stored)) = bytes.split_at_checked(4) {
        let plain_length = u32::from_le_bytes([head[0], head[1], head[2], 0]) % (OBJECT_MAX as u32 + 2);
        let id = ObjectId { kind: ObjectKind::Chunk, hash: [7; 32] };
        let keys = if head[3] & 2 == 2 { sealing_keys() } else { plain_keys() };
        let (entry, stored) = entry(&keys, id, head[3] & 1 == 1, plain_length, stored)?;
        assert!(pack::unpack(&keys, PACK, &entry, &stored).is_err(), "a wrong id was believed");
    }
    let canonical = Bytes::copy_from_slice(bytes);
    let stored = Stored::new(&canonical)?;
    for keys in [plain_keys(), sealing_keys()] {
        let id = keys.id().object_id(ObjectKind::Chunk, &canonical);
        let (entry, stored) = entry(&keys, id, stored.compressed, stored.plain_length, &stored.bytes)?;
        let back = pack::unpack(&keys, PACK, &entry, &stored)
            .unwrap_or_else(|error| panic!("what was stored is gone: {error}"));
        assert!(back == canonical, "what was stored came back changed");
    }
    Ok(bytes.to_vec())
}

/// An object at the begin of a pack: its place and its bytes there, sealed if the keys encrypt.
fn entry(
    keys: &TenantKeys,
    id: ObjectId,
    compressed: bool,
    plain_length: u32,
    stored: &[u8],
) -> Result<(PackEntry, Bytes)> {
    let offset = HEADER_LENGTH as u64;
    let mut bytes = stored.to_vec();
    let key = keys.for_new_pack(PACK);
    if let Some(key) = &key {
        let tag = key.seal_object(&id, offset, &mut bytes)?;
        bytes.extend_from_slice(&tag);
    }
    let stored_length = bytes.len() as u32;
    let entry = PackEntry { id, compressed, sealed: key.is_some(), offset, stored_length, plain_length };
    Ok((entry, bytes.into()))
}

/// An object of its own of an encrypted repo. What is sealed by us must come back.
fn sealed_object(bytes: &[u8]) -> Result<Vec<u8>> {
    let (keys, plain) = (sealing_keys(), Bytes::copy_from_slice(bytes));
    let sealed = keys.seal_object(SEALED_NAME, bytes, [0x5a; 32])?;
    assert!(keys.open_object(SEALED_NAME, &sealed)? == plain, "what was sealed came back changed");
    let opened = keys.open_object(SEALED_NAME, &plain)?;
    Ok(keys.seal_object(SEALED_NAME, &opened, [0x5a; 32])?.into())
}

/// An archive, imported into memory twice: the same tree both times.
fn tar(bytes: &[u8]) -> Result<Vec<u8>> {
    struct Counter(AtomicU64);
    #[async_trait::async_trait]
    impl InoSource for Counter {
        async fn take(&self, count: u64) -> Result<Ino> {
            Ok(Ino(self.0.fetch_add(count, Ordering::Relaxed)))
        }
    }
    let import = || {
        let (objects, inos) = (MemoryObjects::new(IdKey::golden()), Counter(AtomicU64::new(16)));
        let input = std::io::Cursor::new(bytes.to_vec());
        let time = Time { seconds: 1_700_000_000, nanos: 0 };
        block_on(import_archive(&objects, &inos, input, None, time, &silent))
    };
    let (first, second) = (import()?, import()?);
    assert!(first.root == second.root && first.links == second.links, "one archive became two trees");
    Ok(bytes.to_vec())
}

fn config(bytes: &[u8]) -> Result<Vec<u8>> {
    block_on(crate::repo::decoders::config(bytes))
}

/// Buckets and archives want a runtime; one a thread.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: RefCell<Option<tokio::runtime::Runtime>> = const { RefCell::new(None) };
    }
    RUNTIME.with_borrow_mut(|slot| {
        let runtime = slot.get_or_insert_with(|| {
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("because a thread can be had")
        });
        runtime.block_on(work)
    })
}

#[cfg(test)]
mod tests;
