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
use crate::keys::TenantKeys;
use crate::limits::OBJECT_MAX;
use crate::name::Name;
use crate::object::{Blob, Ino, Snapshot, TreeNode, Xattrs};
use crate::objects::MemoryObjects;
use crate::pack::{self, PackEntry, Stored};
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

/// The input is what lies between a pack's header and its trailer, behind the length of the footer in two bytes: a fuzzer would never
/// find a footer's hash, so the trailer is made to fit.
fn pack_index(bytes: &[u8]) -> Result<Vec<u8>> {
    let Some((length, body)) = bytes.split_at_checked(2) else { return Err(Error::corrupt("no length")) };
    let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
    let Some(objects) = body.len().checked_sub(length) else { return Err(Error::corrupt("no such footer")) };
    let (objects, footer) = body.split_at(objects);
    let whole = pack::testing::whole_pack(objects, footer);
    let id = PackId::from_bytes(*blake3::hash(&whole).as_bytes());
    let index = pack::read_index(&keys(), id, &whole)?;
    let again = pack::testing::footer(&index.entries);
    Ok([&bytes[..2], objects, &again].concat())
}

/// Keys of a tenant whose objects are not encrypted.
fn keys() -> TenantKeys {
    TenantKeys::plain(TenantId::from_bytes([1; 16]), IdKey::golden())
}

/// The input says how long the object should be (three bytes) and whether it is compressed (one); the rest is what a pack stores. The id
/// never fits, so nothing is understood; what is stored by us must come back.
fn stored_object(bytes: &[u8]) -> Result<Vec<u8>> {
    let (keys, pack) = (keys(), PackId::from_bytes([2; 32]));
    if let Some((head, stored)) = bytes.split_at_checked(4) {
        let plain_length = u32::from_le_bytes([head[0], head[1], head[2], 0]) % (OBJECT_MAX as u32 + 2);
        let id = ObjectId { kind: ObjectKind::Chunk, hash: [7; 32] };
        let compressed = head[3] & 1 == 1;
        let stored = Bytes::copy_from_slice(stored);
        let entry =
            PackEntry { id, compressed, sealed: false, offset: 0, stored_length: stored.len() as u32, plain_length };
        assert!(pack::unpack(&keys, pack, &entry, &stored).is_err(), "a wrong id was believed");
    }
    let canonical = Bytes::copy_from_slice(bytes);
    let stored = Stored::new(&canonical)?;
    let entry = PackEntry {
        id: keys.id().object_id(ObjectKind::Chunk, &canonical),
        compressed: stored.compressed,
        sealed: false,
        offset: 0,
        stored_length: stored.bytes.len() as u32,
        plain_length: stored.plain_length,
    };
    let back = pack::unpack(&keys, pack, &entry, &stored.bytes)
        .unwrap_or_else(|error| panic!("what was stored is gone: {error}"));
    assert!(back == canonical, "what was stored came back changed");
    Ok(bytes.to_vec())
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
