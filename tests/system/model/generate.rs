//! Which operation comes next: mostly on names that exist, often on the same few, with a taste for edges.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::chance::Chance;
use super::operation::{Flag, How, Only, Operation, SET_TIME_END, SLOTS};

/// Names are few, so that they collide; two are not ASCII, one of those not UTF-8.
const NAMES: [&[u8]; 12] = [
    b"a",
    b"b",
    b"c",
    b"d",
    b"e",
    b"file.txt",
    b"sub",
    b".hidden",
    b"with space",
    "schön".as_bytes(),
    b"\xff\xfe",
    b"x:y",
];
const XATTRS: [&str; 4] = ["user.one", "user.two", "user.three", "user.with.dots"];
const MODES: [u32; 8] = [0o644, 0o600, 0o755, 0o444, 0o000, 0o4755, 0o2775, 0o1777];
/// Sizes around the places where something changes: inline content, pages, chunks.
const EDGES: [u64; 12] = [0, 1, 255, 256, 257, 4095, 4096, 4097, 65_536, 65_537, 131_071, 262_144];
/// Beyond this many names, removing becomes more likely than making.
const NAMES_MAX: usize = 250;

/// Makes operations from chance and from what exists.
pub(crate) struct Generator {
    chance: Chance,
    known: Vec<PathBuf>,
}

impl Generator {
    /// A generator that knows of no name yet.
    pub(crate) fn new(chance: Chance) -> Generator {
        Generator { chance, known: Vec::new() }
    }

    /// The seed of the sequence.
    pub(crate) fn seed(&self) -> u64 {
        self.chance.seed()
    }

    /// Looks which names exist now.
    pub(crate) fn learn(&mut self, root: &Path) {
        self.known.clear();
        collect(root, Path::new(""), &mut self.known);
        self.known.sort();
    }

    /// The next operation.
    pub(crate) fn next(&mut self) -> Operation {
        let removing = if self.known.len() > NAMES_MAX { 40 } else { 10 };
        match self.chance.below(100 + removing) {
            0..22 => self.make(),
            22..48 => self.change_content(),
            48..66 => self.open_file(),
            66..76 => self.move_name(),
            76..88 => self.change_attributes(),
            88..100 => self.look(),
            _ => self.remove(),
        }
    }

    fn make(&mut self) -> Operation {
        let path = self.fresh();
        let mode = self.chance.pick(&MODES);
        match self.chance.below(10) {
            0..4 => Operation::Create { path, mode, exclusive: self.chance.percent(50) },
            4..7 => Operation::Mkdir { path, mode: mode | 0o700 },
            7 => Operation::Symlink { target: self.target(), path },
            8 => Operation::Link { from: self.existing(), to: path },
            _ => Operation::Mkfifo { path, mode },
        }
    }

    fn change_content(&mut self) -> Operation {
        let path = self.existing();
        let (offset, fill) = (self.place(), self.chance.bits() as u8);
        match self.chance.below(8) {
            0..3 => Operation::Write { path, offset, length: self.length(), fill },
            3 => Operation::Append { path, length: self.length(), fill },
            4..7 => Operation::Read { path, offset, length: self.length() },
            _ => Operation::Truncate { path, length: offset },
        }
    }

    fn open_file(&mut self) -> Operation {
        let slot = self.chance.below(SLOTS as u64) as usize;
        let offset = self.place();
        match self.chance.below(12) {
            0..3 => {
                let path = if self.chance.percent(70) { self.existing() } else { self.fresh() };
                Operation::Open { path, slot, append: self.chance.percent(20), truncate: self.chance.percent(20) }
            }
            3..6 => Operation::SlotWrite { slot, offset, length: self.length(), fill: self.chance.bits() as u8 },
            6 | 7 => Operation::SlotRead { slot, offset, length: self.length() },
            8 => Operation::SlotTruncate { slot, length: offset },
            9 => match self.chance.below(3) {
                0 => Operation::SlotStat { slot },
                1 => Operation::SlotSync { slot, data_only: self.chance.percent(50) },
                _ => Operation::Close { slot },
            },
            _ => {
                let how = self.chance.pick(&[How::Reserve, How::ReserveKeepSize, How::Punch, How::Zero]);
                Operation::SlotAllocate { slot, how, offset, length: self.place() }
            }
        }
    }

    fn move_name(&mut self) -> Operation {
        let from = self.existing();
        let to = if self.chance.percent(50) { self.existing() } else { self.fresh() };
        let flag = self.chance.pick(&[Flag::None, Flag::None, Flag::None, Flag::NoReplace, Flag::Exchange]);
        Operation::Rename { from, to, flag }
    }

    fn change_attributes(&mut self) -> Operation {
        let path = self.existing();
        let name = self.chance.pick(&XATTRS);
        match self.chance.below(8) {
            0 | 1 => Operation::Chmod { path, mode: self.chance.pick(&MODES) },
            2 => Operation::Chown { path, uid: self.chance.below(3) as u32, gid: self.chance.below(3) as u32 },
            3 | 4 => {
                let seconds = self.chance.below(SET_TIME_END as u64) as i64;
                Operation::SetTimes { path, seconds, nanos: self.chance.below(1_000_000_000) as i64 }
            }
            5 | 6 => {
                let only = self.chance.pick(&[Only::Any, Only::Any, Only::New, Only::Existing]);
                Operation::SetXattr { path, name, length: self.chance.below(120) as usize, only }
            }
            _ => Operation::RemoveXattr { path, name },
        }
    }

    fn look(&mut self) -> Operation {
        let path = self.existing();
        match self.chance.below(8) {
            0..3 => Operation::Stat { path, follow: self.chance.percent(50) },
            3 => Operation::List { path: path.parent().unwrap_or(Path::new("")).to_owned() },
            4 => Operation::Readlink { path },
            5 => Operation::GetXattr { path, name: self.chance.pick(&XATTRS) },
            6 => Operation::ListXattr { path },
            _ => Operation::SyncFolder { path: path.parent().unwrap_or(Path::new("")).to_owned() },
        }
    }

    fn remove(&mut self) -> Operation {
        let path = self.existing();
        if self.chance.percent(65) { Operation::Unlink { path } } else { Operation::Rmdir { path } }
    }

    /// Mostly a path that existed a moment ago.
    fn existing(&mut self) -> PathBuf {
        if self.known.is_empty() || self.chance.percent(5) { self.fresh() } else { self.chance.pick(&self.known) }
    }

    /// A name below a directory, a file or nothing, new or taken.
    fn fresh(&mut self) -> PathBuf {
        let below = if self.known.is_empty() || self.chance.percent(30) {
            PathBuf::new()
        } else {
            let path = self.chance.pick(&self.known);
            if self.chance.percent(50) { path } else { path.parent().unwrap_or(Path::new("")).to_owned() }
        };
        let below = if below.components().count() > 5 { PathBuf::new() } else { below };
        match self.chance.below(60) {
            0 => below.join("n".repeat(255)),
            1 => below.join("n".repeat(256)),
            2..20 => below.join(format!("n{}", self.chance.below(40))),
            _ => below.join(OsStr::from_bytes(self.chance.pick(&NAMES))),
        }
    }

    /// Symlink targets stay inside: never absolute, never upwards.
    fn target(&mut self) -> PathBuf {
        let first = Path::new(OsStr::from_bytes(self.chance.pick(&NAMES))).to_owned();
        if self.chance.percent(30) { first.join(OsStr::from_bytes(self.chance.pick(&NAMES))) } else { first }
    }

    fn place(&mut self) -> u64 {
        if self.chance.percent(50) { self.chance.pick(&EDGES) } else { self.chance.below(300_000) }
    }

    fn length(&mut self) -> usize {
        let longest = if self.chance.percent(15) { 100_000 } else { 5_000 };
        if self.chance.percent(25) {
            (self.chance.pick(&EDGES)).min(100_000) as usize
        } else {
            self.chance.below(longest) as usize
        }
    }
}

fn collect(root: &Path, below: &Path, known: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(root.join(below)).into_iter().flatten().flatten() {
        let path = below.join(entry.file_name());
        known.push(path.clone());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(root, &path, known);
        }
    }
}
