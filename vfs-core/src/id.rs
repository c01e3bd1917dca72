//! Typed ids and the keys that make them.
//!
//! An object's id is keyed BLAKE3 over its canonical bytes. The key differs per tenant and per kind, so equal bytes
//! in two tenants, or a chunk and a tree, never share an id. Ids are compared and looked up, never trusted: whoever
//! reads an object hashes it again.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind, Result};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $length]);

        impl $name {
            /// Length in bytes.
            pub const LENGTH: usize = $length;

            /// The id with these bytes.
            pub const fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }

            /// The id held by a slice, which must have the right length.
            pub fn from_slice(bytes: &[u8]) -> Result<Self> {
                let bytes = bytes.try_into().map_err(|_| {
                    Error::new(Kind::Invalid, concat!("a ", stringify!($name), " has another length"))
                })?;
                Ok(Self(bytes))
            }

            /// Lower-case hexadecimal.
            pub fn to_hex(self) -> String {
                hex::encode(self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), &self.to_hex()[..8])
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                let mut bytes = [0; $length];
                hex::decode_to_slice(text, &mut bytes).map_err(|error| {
                    Error::new(
                        Kind::Invalid,
                        format!(concat!("{:?} is not a ", stringify!($name), " ({} hexadecimal digits)"), text, $length * 2),
                    )
                    .because(error)
                })?;
                Ok(Self(bytes))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.to_hex())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// Names a chunk: a piece of file content.
    ChunkId, 32
);
id!(
    /// Names a blob: the extents of a file of more than one chunk.
    BlobId, 32
);
id!(
    /// Names one node of a tree (or of a link table).
    TreeId, 32
);
id!(
    /// Names a snapshot.
    SnapshotId, 32
);
id!(
    /// Names a pack: random bytes; in version 0 the plain BLAKE3 of all its stored bytes.
    PackId, 32
);
id!(
    /// Plain, unkeyed BLAKE3 of content: what a mount, which has no id key, checks content by.
    PlainDigest, 32
);
id!(
    /// What a subtree holds (names, kinds, modes, owners, contents) without times and inode numbers.
    ContentDigest, 32
);
id!(
    /// A tenant: packs, ids and keys are never shared across tenants.
    TenantId, 16
);
id!(
    /// A workspace; stable when it is renamed.
    WorkspaceId, 16
);
id!(
    /// A session: a conversation bound to a workspace.
    SessionId, 8
);
id!(
    /// A holder: one journal on one machine.
    HolderId, 16
);
id!(
    /// A reader: somebody who keeps a snapshot for as long as it is read.
    ReaderId, 16
);
id!(
    /// A repo: one bucket and one database.
    RepoId, 16
);

impl ReaderId {
    /// One that nobody else has.
    pub fn random() -> Result<Self> {
        crate::chance::random().map(ReaderId)
    }
}

impl PlainDigest {
    /// The digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        PlainDigest(*blake3::hash(content).as_bytes())
    }
}

/// An object id of any kind, as packs and the index hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// What kind of object it names.
    pub kind: ObjectKind,
    /// The keyed hash.
    pub hash: [u8; 32],
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), hex::encode(self.hash))
    }
}

/// The kinds of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ObjectKind {
    /// File content.
    Chunk = 1,
    /// A list of extents.
    Blob = 2,
    /// A node of a directory or of a link table.
    Tree = 3,
    /// A snapshot.
    Snapshot = 4,
}

impl ObjectKind {
    /// The kind with this tag.
    pub fn from_tag(tag: u8) -> Result<Self> {
        match tag {
            1 => Ok(ObjectKind::Chunk),
            2 => Ok(ObjectKind::Blob),
            3 => Ok(ObjectKind::Tree),
            4 => Ok(ObjectKind::Snapshot),
            _ => Err(Error::corrupt(format!("unknown object kind {tag}"))),
        }
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            ObjectKind::Chunk => "chunk",
            ObjectKind::Blob => "blob",
            ObjectKind::Tree => "tree",
            ObjectKind::Snapshot => "snapshot",
        }
    }
}

macro_rules! object_id {
    ($name:ident, $kind:ident) => {
        impl From<$name> for ObjectId {
            fn from(id: $name) -> ObjectId {
                ObjectId { kind: ObjectKind::$kind, hash: id.0 }
            }
        }
    };
}
object_id!(ChunkId, Chunk);
object_id!(BlobId, Blob);
object_id!(TreeId, Tree);
object_id!(SnapshotId, Snapshot);

/// A tenant's secret from which the ids of its objects are made.
#[derive(Clone)]
pub struct IdKey {
    chunk: [u8; 32],
    blob: [u8; 32],
    tree: [u8; 32],
    snapshot: [u8; 32],
    digest: [u8; 32],
}

impl fmt::Debug for IdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdKey(..)")
    }
}

impl IdKey {
    /// Derives the keys of all kinds from a tenant's secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        IdKey {
            chunk: blake3::derive_key("esker v0 chunk id", secret),
            blob: blake3::derive_key("esker v0 blob id", secret),
            tree: blake3::derive_key("esker v0 tree id", secret),
            snapshot: blake3::derive_key("esker v0 snapshot id", secret),
            digest: blake3::derive_key("esker v0 content digest", secret),
        }
    }

    /// The key of the golden vectors: 32 bytes of `0x45`. Never used for a real tenant.
    pub fn golden() -> Self {
        IdKey::new(&[0x45; 32])
    }

    fn key(&self, kind: ObjectKind) -> &[u8; 32] {
        match kind {
            ObjectKind::Chunk => &self.chunk,
            ObjectKind::Blob => &self.blob,
            ObjectKind::Tree => &self.tree,
            ObjectKind::Snapshot => &self.snapshot,
        }
    }

    /// Names canonical bytes of any kind.
    pub fn object_id(&self, kind: ObjectKind, canonical: &[u8]) -> ObjectId {
        ObjectId { kind, hash: *blake3::keyed_hash(self.key(kind), canonical).as_bytes() }
    }

    /// Names a chunk.
    pub fn chunk_id(&self, content: &[u8]) -> ChunkId {
        ChunkId(self.object_id(ObjectKind::Chunk, content).hash)
    }

    /// Names a blob.
    pub fn blob_id(&self, canonical: &[u8]) -> BlobId {
        BlobId(self.object_id(ObjectKind::Blob, canonical).hash)
    }

    /// Names a tree node.
    pub fn tree_id(&self, canonical: &[u8]) -> TreeId {
        TreeId(self.object_id(ObjectKind::Tree, canonical).hash)
    }

    /// Names a snapshot.
    pub fn snapshot_id(&self, canonical: &[u8]) -> SnapshotId {
        SnapshotId(self.object_id(ObjectKind::Snapshot, canonical).hash)
    }

    /// A hasher for content digests.
    pub fn content_digest(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&self.digest)
    }
}
