//! Folders with everything in them, imported; what cannot be kept; what changes meanwhile.

mod one_at_a_time;
mod unchanged;

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use globset::{Glob, GlobSetBuilder};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};

use super::*;
use crate::diff::diff;
use crate::id::TreeId;
use crate::name::TreePath;
use crate::object::{Blob, Body, Content, Extent, FileKind, Target, Xattrs, XattrsRef};
use crate::objects::{MemoryObjects, Objects};
use crate::progress::silent;
use crate::tree::tests::{memory, snapshot_of};
use crate::tree::{Entries, resolve};

/// Gives out numbers from 16 on.
pub(crate) struct Counter(AtomicU64);

impl Default for Counter {
    fn default() -> Self {
        Counter(AtomicU64::new(16))
    }
}

#[async_trait]
impl InoSource for Counter {
    async fn take(&self, count: u64) -> Result<Ino> {
        Ok(Ino(self.0.fetch_add(count, Ordering::Relaxed)))
    }
}

pub(crate) fn snapshot(imported: &Imported) -> Snapshot {
    snapshot_of(imported.root.clone(), imported.links)
}

pub(crate) async fn import_all(objects: &MemoryObjects, counter: &Counter, folder: &Path) -> Imported {
    import(objects, counter, folder, None, &ImportOptions::default(), &silent).await.unwrap()
}

async fn again(objects: &MemoryObjects, counter: &Counter, folder: &Path, previous: &Snapshot) -> Imported {
    import(objects, counter, folder, Some(previous), &ImportOptions::default(), &silent).await.unwrap()
}

async fn at(objects: &MemoryObjects, imported: &Imported, path: &[u8]) -> Node {
    resolve(objects, &snapshot(imported), &TreePath::parse(path).unwrap()).await.unwrap()
}

pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

async fn content(objects: &MemoryObjects, node: &Node) -> Vec<u8> {
    let (Body::File(content) | Body::Symlink(content)) = &node.body else { panic!("{node:?} has no content") };
    let blob = match content {
        Content::Inline(bytes) => return bytes.to_vec(),
        Content::Chunk(chunk) => Blob::new([Extent::Chunk(*chunk)]),
        Content::Blob { id, .. } => Blob::decode(&objects.read((*id).into()).await.unwrap()).unwrap(),
    };
    let mut bytes = Vec::new();
    for extent in blob.extents() {
        match extent {
            Extent::Hole(length) => bytes.resize(bytes.len() + *length as usize, 0),
            Extent::Chunk(chunk) => bytes.extend_from_slice(&objects.read(chunk.id.into()).await.unwrap()),
        }
    }
    bytes
}

/// A folder with one of everything.
pub(crate) fn full_folder(root: &Path) {
    fs::create_dir(root.join("directory")).unwrap();
    fs::create_dir(root.join("empty directory")).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::write(root.join("inline"), noise(1, 256)).unwrap();
    fs::write(root.join("one chunk"), noise(2, 257)).unwrap();
    fs::write(root.join("many chunks"), noise(3, 5_000_000)).unwrap();
    fs::write(root.join(std::ffi::OsStr::from_bytes(b"not \xff utf-8")), "x").unwrap();
    fs::write(root.join("directory/inner"), "inner").unwrap();
    symlink("directory/inner", root.join("link")).unwrap();
    symlink("x".repeat(1000), root.join("long link")).unwrap();
    fs::write(root.join("hard"), noise(4, 100_000)).unwrap();
    fs::hard_link(root.join("hard"), root.join("directory/hard")).unwrap();
    fs::hard_link(root.join("hard"), root.join("again hard")).unwrap();
    fs::hard_link(root.join("link"), root.join("link twin")).unwrap();
    mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(10_000_000).unwrap();
    sparse.write_all_at(&noise(5, 100_000), 4_096_000).unwrap();
    File::create(root.join("only hole")).unwrap().set_len(1 << 30).unwrap();
    for (name, mode) in [("inline", 0o4755), ("one chunk", 0o400), ("directory", 0o1777), ("empty", 0o000)] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    for (name, key, length) in
        [("inline", "user.short", 5), ("many chunks", "user.long", 3000), ("directory", "user.d", 9)]
    {
        lsetxattr(root.join(name), key, &noise(6, length), XattrFlags::empty()).unwrap();
    }
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(root.join("empty"), Some(12), Some(34)).unwrap();
        std::os::unix::fs::lchown(root.join("long link"), Some(56), Some(78)).unwrap();
        lsetxattr(root.join("long link"), "trusted.t", b"on a symlink", XattrFlags::empty()).unwrap();
    }
    let times = [("inner time", -5.25), ("inline", 1_000_000_000.123_456_7), ("directory", 7.0)];
    fs::write(root.join("inner time"), "old").unwrap();
    for (name, seconds) in times {
        let when = format!("@{seconds:.7}");
        assert!(Command::new("touch").args(["-h", "-d", &when]).arg(root.join(name)).status().unwrap().success());
    }
}

#[tokio::test]
async fn everything_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    full_folder(root);
    let objects = memory();
    let scanned = scan(root, &ImportOptions::default()).await.unwrap();
    let imported = import_all(&objects, &Counter::default(), root).await;
    assert_eq!(imported.skipped, []);
    assert_eq!(imported.totals.nodes, scanned.names);
    assert_eq!(imported.totals.bytes + imported.links.unwrap().totals.bytes, scanned.bytes);
    assert_eq!(imported.root.ino, Ino::ROOT);

    let mut names = 0;
    for entry in fs::read_dir(root).unwrap().map(Result::unwrap) {
        names += 1;
        let meta = entry.metadata().unwrap();
        let node = at(&objects, &imported, entry.file_name().as_bytes()).await;
        let path = entry.path();
        assert_eq!(node.body.kind(), FileKind::from_mode(meta.mode()).unwrap(), "{path:?}");
        assert_eq!(
            (u32::from(node.mode), node.uid, node.gid),
            (meta.mode() & 0o7777, meta.uid(), meta.gid()),
            "{path:?}"
        );
        assert_eq!((node.mtime.seconds, i64::from(node.mtime.nanos)), (meta.mtime(), meta.mtime_nsec()), "{path:?}");
        assert_eq!((node.ctime.seconds, i64::from(node.ctime.nanos)), (meta.ctime(), meta.ctime_nsec()), "{path:?}");
        assert_eq!(u64::from(node.stat_nlink()), meta.nlink(), "{path:?}");
        if meta.is_file() && meta.size() < 1 << 30 {
            assert_eq!(content(&objects, &node).await, fs::read(&path).unwrap(), "{path:?}");
        }
        if meta.is_symlink() {
            assert_eq!(content(&objects, &node).await, fs::read_link(&path).unwrap().as_os_str().as_bytes());
        }
    }
    assert_eq!(names, imported.totals.entries);
    let hard = at(&objects, &imported, b"hard").await;
    assert_eq!(hard.nlink, 3);
    assert_eq!(at(&objects, &imported, b"directory/hard").await, hard);
    assert_eq!(at(&objects, &imported, b"link twin").await, at(&objects, &imported, b"link").await);
}

#[tokio::test]
async fn holes_and_attributes_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    full_folder(folder.path());
    let objects = memory();
    let imported = import_all(&objects, &Counter::default(), folder.path()).await;
    let Body::File(Content::Blob { id, size: 10_000_000 }) = at(&objects, &imported, b"sparse").await.body else {
        panic!("a sparse file is a blob")
    };
    let blob = Blob::decode(&objects.read(id.into()).await.unwrap()).unwrap();
    assert_eq!(blob.extents()[0], Extent::Hole(4_096_000));
    assert!(matches!(blob.extents().last(), Some(Extent::Hole(length)) if *length > 5_000_000));
    let Body::File(Content::Blob { id, .. }) = at(&objects, &imported, b"only hole").await.body else { panic!() };
    let blob = Blob::decode(&objects.read(id.into()).await.unwrap()).unwrap();
    assert_eq!(blob.extents(), [Extent::Hole(1 << 30)]);

    let XattrsRef::Inline(short) = at(&objects, &imported, b"inline").await.xattrs else { panic!("short and inline") };
    assert_eq!(Xattrs::decode(&short).unwrap().get(b"user.short").unwrap(), &noise(6, 5));
    let XattrsRef::Chunk(long) = at(&objects, &imported, b"many chunks").await.xattrs else {
        panic!("long, so a chunk")
    };
    let long = objects.read(long.id.into()).await.unwrap();
    assert_eq!(Xattrs::decode(&long).unwrap().get(b"user.long").unwrap(), &noise(6, 3000));
    assert!(matches!(at(&objects, &imported, b"directory").await.xattrs, XattrsRef::Inline(_)));
}

#[tokio::test]
async fn an_unchanged_folder_keeps_its_numbers() {
    let folder = tempfile::tempdir().unwrap();
    full_folder(folder.path());
    let (objects, counter) = (memory(), Counter::default());
    let first = import_all(&objects, &counter, folder.path()).await;
    let second = again(&objects, &counter, folder.path(), &snapshot(&first)).await;
    assert_eq!((&second.root, second.links), (&first.root, first.links));

    // A new name, a name of another kind, and one hard link less.
    fs::write(folder.path().join("a new name"), "").unwrap();
    fs::remove_file(folder.path().join("inline")).unwrap();
    fs::create_dir(folder.path().join("inline")).unwrap();
    fs::remove_file(folder.path().join("again hard")).unwrap();
    fs::write(folder.path().join("again hard"), "alone now").unwrap();
    let third = again(&objects, &counter, folder.path(), &snapshot(&first)).await;
    for path in [&b"one chunk"[..], b"directory", b"directory/inner", b"pipe", b"link"] {
        assert_eq!(at(&objects, &third, path).await.ino, at(&objects, &first, path).await.ino);
    }
    assert_ne!(at(&objects, &third, b"inline").await.ino, at(&objects, &first, b"inline").await.ino);
    all_numbers_differ(&objects, &third).await;
    let (changes, _) = diff(&objects, &snapshot(&first), &snapshot(&third), 100).await.unwrap();
    let paths: Vec<String> = changes.iter().map(|change| change.path.to_string()).collect();
    assert_eq!(paths, ["a new name", "again hard", "inline"]);
}

/// Each inode number stands for one file.
async fn all_numbers_differ(objects: &MemoryObjects, imported: &Imported) {
    let mut seen = std::collections::HashSet::from([Ino::ROOT]);
    let mut trees: Vec<TreeId> = imported.links.iter().map(|links| links.tree).collect();
    let Body::Directory(root) = &imported.root.body else { panic!() };
    trees.push(root.tree);
    while let Some(tree) = trees.pop() {
        let mut entries = Entries::new(objects, tree);
        while let Some(entry) = entries.next().await.unwrap() {
            let Target::Node(node) = entry.target else { continue };
            assert!(seen.insert(node.ino), "{:?} stands for two files", node.ino);
            if let Body::Directory(subtree) = node.body {
                trees.push(subtree.tree);
            }
        }
    }
}

#[tokio::test]
async fn what_is_left_out_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["keep", "target", "data", "deep"] {
        fs::create_dir(root.join(name)).unwrap();
        fs::write(root.join(name).join("file.o"), "x").unwrap();
        fs::write(root.join(name).join("file.c"), "x").unwrap();
    }
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let device = mknodat(CWD, root.join("null"), FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(1, 3));
    let mut excludes = GlobSetBuilder::new();
    excludes.add(Glob::new("target").unwrap()).add(Glob::new("**/*.o").unwrap());
    let options = ImportOptions {
        excludes: excludes.build().unwrap(),
        skip: vec![root.join("data")],
        ..ImportOptions::default()
    };
    let objects = memory();
    let imported = import(&objects, &Counter::default(), root, None, &options, &silent).await.unwrap();
    let skipped: Vec<&str> = imported.skipped.iter().map(|(path, _)| path.to_str().unwrap()).collect();
    let expected: &[&str] = if device.is_ok() { &["data", "null", "socket"] } else { &["data", "socket"] };
    assert_eq!(skipped, expected);
    let Body::Directory(subtree) = &imported.root.body else { panic!() };
    assert_eq!((subtree.totals.entries, subtree.totals.nodes), (2, 4));
}

#[tokio::test]
async fn other_file_systems_are_left_out() {
    let device = |path| fs::metadata(path).map(|meta| meta.dev()).unwrap_or(0);
    if device("/dev/pts") == device("/dev") {
        return;
    }
    let one = scan(Path::new("/dev"), &ImportOptions::default()).await.unwrap();
    let all = ImportOptions { one_file_system: false, ..ImportOptions::default() };
    let all = scan(Path::new("/dev"), &all).await.unwrap();
    assert!(one.names < all.names, "{one:?} {all:?}");
}

#[tokio::test]
async fn a_folder_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let objects = memory();
    fs::write(folder.path().join("file"), "").unwrap();
    for (name, kind) in [("none", Kind::NotFound), ("file", Kind::NotADirectory)] {
        let path = folder.path().join(name);
        let result = import(&objects, &Counter::default(), &path, None, &ImportOptions::default(), &silent).await;
        assert_eq!(result.unwrap_err().kind(), kind);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_is_never_stored_torn_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("restless");
    let length = 6_000_000;
    fs::write(&path, vec![0; length]).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (stop, file) = (stop.clone(), File::options().write(true).open(&path).unwrap());
        move || {
            for round in (0..=255).cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                (0..length / 1000).for_each(|part| file.write_all_at(&[round; 1000], part as u64 * 1000).unwrap());
            }
        }
    });
    let objects = memory();
    let mut reported = 0;
    for _ in 0..5 {
        let imported = import_all(&objects, &Counter::default(), folder.path()).await;
        let bytes = content(&objects, &at(&objects, &imported, b"restless").await).await;
        // At any moment the file holds one round, or the beginning of one and the rest of the round before.
        let torn = bytes.windows(2).filter(|pair| pair[0] != pair[1]).count() > 1;
        assert!(!torn || imported.skipped.len() == 1, "a mixed file was stored without a word");
        reported += imported.skipped.len();
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert!(reported > 0, "the file was never caught changing");
    assert_eq!(import_all(&objects, &Counter::default(), folder.path()).await.skipped, []);
}

#[tokio::test]
async fn deep_and_wide_folders_are_walked() {
    let folder = tempfile::tempdir().unwrap();
    let mut path = folder.path().to_owned();
    for level in 0..400 {
        fs::write(path.join("z"), format!("{level}")).unwrap();
        path.push("d");
        fs::create_dir(&path).unwrap();
    }
    for n in 0..5000 {
        fs::write(path.join(format!("{n}")), "").unwrap();
    }
    let objects = memory();
    let imported = import_all(&objects, &Counter::default(), folder.path()).await;
    assert_eq!(imported.totals.nodes, 400 * 2 + 5000);
    let deep = format!("{}z", "d/".repeat(399));
    assert_eq!(content(&objects, &at(&objects, &imported, deep.as_bytes()).await).await, b"399");
}

#[tokio::test]
async fn progress_reaches_its_total() {
    let folder = tempfile::tempdir().unwrap();
    full_folder(folder.path());
    let last = Arc::new(parking_lot::Mutex::new(HashMap::new()));
    let noted = last.clone();
    let note = move |progress: crate::progress::Progress| {
        noted.lock().insert(progress.what, progress);
    };
    let objects = memory();
    import(&objects, &Counter::default(), folder.path(), None, &ImportOptions::default(), &note).await.unwrap();
    for what in ["files", "bytes"] {
        let progress = last.lock()[what];
        assert_eq!(Some(progress.done), progress.total, "{what}");
    }
}

#[tokio::test]
async fn differences_since_an_import_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    full_folder(root);
    let objects = memory();
    let imported = snapshot(&import_all(&objects, &Counter::default(), root).await);
    let options = ImportOptions::default();
    let compare = async |limit| differences(&objects, root, &imported, &options, limit).await.unwrap();
    assert_eq!(compare(10).await, Vec::<PathBuf>::new());

    let mtime = |path: &Path| fs::symlink_metadata(path).unwrap().modified().unwrap();
    let before = mtime(root);
    fs::write(root.join("directory/inner"), "changed").unwrap();
    fs::write(root.join("zzz new"), "").unwrap();
    fs::remove_file(root.join("pipe")).unwrap();
    fs::set_permissions(root.join("hard"), fs::Permissions::from_mode(0o600)).unwrap();
    File::open(root).unwrap().set_modified(before).unwrap();
    let found: Vec<String> = compare(10).await.iter().map(|path| path.display().to_string()).collect();
    assert_eq!(found, ["again hard", "directory/hard", "directory/inner", "hard", "pipe", "zzz new"]);
    assert_eq!(compare(2).await.len(), 2);
}

#[test]
fn an_import_can_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let (objects, counter, options) = (memory(), Counter::default(), ImportOptions::default());
    is_send(&import(&objects, &counter, Path::new("/"), None, &options, &silent));
}
