//! A snapshot: one immutable state of a workspace and where it came from.

use super::codec::{Reader, Writer};
use super::node::{FileKind, Ino, Node, Subtree};
use crate::clock::Time;
use crate::error::{Error, Kind, Result};
use crate::id::SnapshotId;

const TAG: u8 = b'S';
const VERSION: u8 = 0;
/// A merge has two parents; a few more are allowed.
const PARENTS_MAX: usize = 8;
/// Longest message in bytes: a long commit message.
pub const MESSAGE_MAX: usize = 64 * 1024;
/// Longest author, session, turn or tool call in bytes.
pub const LABEL_MAX: usize = 1024;

/// One state of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The root directory.
    pub root: Node,
    /// Inodes with several names: a tree whose names are inode numbers. `None` if there are none.
    pub links: Option<Subtree>,
    /// The snapshots it was made from. Automatic ones are skipped, so that they can be dropped.
    pub parents: Vec<SnapshotId>,
    /// Who asked for it.
    pub author: String,
    /// When it was made.
    pub time: Time,
    /// Why.
    pub message: String,
    /// Made by the mount on its own, not asked for.
    pub automatic: bool,
    /// What an agent was doing.
    pub provenance: Provenance,
}

/// Which turn of which session wrote a snapshot; empty where nobody said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenance {
    /// The session.
    pub session: String,
    /// The turn of the session.
    pub turn: String,
    /// The tool call of the turn.
    pub tool_call: String,
}

impl Snapshot {
    /// Refuses what the reader would refuse.
    pub fn validate(&self) -> Result<()> {
        let too_long = |what: &str, limit: usize| {
            Err(Error::new(Kind::LimitExceeded, format!("a snapshot's {what} may have at most {limit} bytes")))
        };
        let labels = [&self.author, &self.provenance.session, &self.provenance.turn, &self.provenance.tool_call];
        if self.message.len() > MESSAGE_MAX {
            return too_long("message", MESSAGE_MAX);
        }
        if labels.iter().any(|label| label.len() > LABEL_MAX) {
            return too_long("author, session, turn or tool call", LABEL_MAX);
        }
        Ok(())
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_header(TAG, VERSION);
        self.root.encode(&mut writer);
        writer.u8(self.links.is_some().into());
        if let Some(links) = &self.links {
            links.encode(&mut writer);
        }
        writer.varint(self.parents.len() as u64);
        for parent in &self.parents {
            writer.fixed(parent.as_bytes());
        }
        writer.bytes(self.author.as_bytes());
        writer.time(self.time);
        writer.bytes(self.message.as_bytes());
        writer.u8(self.automatic.into());
        for label in [&self.provenance.session, &self.provenance.turn, &self.provenance.tool_call] {
            writer.bytes(label.as_bytes());
        }
        writer.finish()
    }

    /// Reads canonical bytes.
    pub fn decode(bytes: &[u8]) -> Result<Snapshot> {
        let mut reader = Reader::with_header(bytes, "snapshot", TAG, VERSION)?;
        let root = Node::decode(&mut reader)?;
        if root.ino != Ino::ROOT || root.body.kind() != FileKind::Directory {
            return Err(reader.corrupt("has a root that is not the directory with inode number 1"));
        }
        let links = if reader.flag()? { Some(Subtree::decode(&mut reader)?) } else { None };
        let count = reader.varint()?;
        if count > PARENTS_MAX as u64 {
            return Err(reader.corrupt(format!("has {count} parents")));
        }
        let parents = (0..count).map(|_| reader.array().map(SnapshotId::from_bytes)).collect::<Result<_>>()?;
        let snapshot = Snapshot {
            root,
            links,
            parents,
            author: reader.text(LABEL_MAX)?,
            time: reader.time()?,
            message: reader.text(MESSAGE_MAX)?,
            automatic: reader.flag()?,
            provenance: Provenance {
                session: reader.text(LABEL_MAX)?,
                turn: reader.text(LABEL_MAX)?,
                tool_call: reader.text(LABEL_MAX)?,
            },
        };
        reader.finish()?;
        Ok(snapshot)
    }
}
