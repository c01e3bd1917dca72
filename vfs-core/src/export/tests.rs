//! Out and in again gives the same; nothing that exists is touched.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::*;
use crate::diff::diff;
use crate::import::tests::{Counter, full_folder, import_all, snapshot};
use crate::object::{Entry, Ino, Target};
use crate::progress::silent;
use crate::tree;
use crate::tree::tests::{file, memory, name, snapshot_of};

const OPTIONS: ExportOptions = ExportOptions { owner: false, fsync: false };

/// What `find` says about everything below a folder; inode numbers are replaced by the least name they stand at.
fn listing(root: &Path) -> Vec<String> {
    let format = "%P\\0%y %m %U %G %s %T@ %l %n\\0%i\\n";
    let output = Command::new("find").arg(root).args(["-printf", format]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\0').collect()).collect();
    lines.sort();
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    lines
        .iter()
        .map(|line| {
            let least = first.entry(line[2]).or_insert(line[0]);
            // The size of a directory belongs to its file system.
            let facts = if line[1].starts_with('d') { line[1].replace(" 4096 ", " ") } else { line[1].to_string() };
            format!("{} {facts} {least}", line[0])
        })
        .collect()
}

fn attributes(root: &Path) -> String {
    let mut text = String::new();
    let mut paths: Vec<PathBuf> = vec![root.to_owned()];
    paths.extend(fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()));
    paths.sort();
    for path in paths {
        let mut list = vec![0; 10_000];
        let length = rustix::fs::llistxattr(&path, &mut list[..]).unwrap();
        for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let mut value = vec![0; 10_000];
            let length = rustix::fs::lgetxattr(&path, name, &mut value[..]).unwrap();
            let shown = path.strip_prefix(root).unwrap();
            text += &format!("{shown:?} {} {}\n", String::from_utf8_lossy(name), hex::encode(&value[..length]));
        }
    }
    text
}

#[tokio::test]
async fn a_folder_comes_out_as_it_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    fs::create_dir(&source).unwrap();
    full_folder(&source);
    let (objects, counter) = (memory(), Counter::default());
    let imported = import_all(&objects, &counter, &source).await;
    let options = ExportOptions { fsync: true, ..ExportOptions::default() };
    let exported = export(&objects, &snapshot(&imported), &target, options, &silent).await.unwrap();
    assert_eq!(exported.skipped, []);
    assert_eq!(exported.names, imported.totals.nodes);
    assert_eq!(listing(&source), listing(&target));
    assert!(listing(&target).len() > 15);
    assert_eq!(attributes(&source), attributes(&target));
    assert!(attributes(&target).contains("user.long"));
    let mut compare = Command::new("diff");
    compare.args(["-r", "--no-dereference", "-x", "pipe", "-x", "only hole"]).arg(&source).arg(&target);
    let same = compare.status().unwrap();
    assert!(same.success());
    for sparse in ["sparse", "only hole"] {
        let blocks = |root: &Path| fs::metadata(root.join(sparse)).unwrap().blocks();
        assert!(blocks(&target) <= blocks(&source) + 16, "{sparse} lost its holes");
    }
    let again = import_all(&objects, &counter, &target).await;
    let (changes, _) = diff(&objects, &snapshot(&imported), &snapshot(&again), 10).await.unwrap();
    assert_eq!(changes, []);
}

#[tokio::test]
async fn a_target_with_something_in_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let objects = memory();
    let empty = tree::build(&objects, []).await.unwrap();
    let snapshot =
        snapshot_of(crate::change::bare_node(Ino::ROOT, Body::Directory(empty), 0o750, 0, 0, Default::default()), None);
    let refused = async |path: &Path| export(&objects, &snapshot, path, OPTIONS, &silent).await.unwrap_err().kind();
    fs::write(folder.path().join("file"), "mine").unwrap();
    assert_eq!(refused(folder.path()).await, Kind::NotEmpty);
    assert_eq!(refused(&folder.path().join("file")).await, Kind::NotADirectory);
    assert_eq!(refused(&folder.path().join("no/parent")).await, Kind::NotFound);
    assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"mine");
    let fresh = folder.path().join("fresh");
    export(&objects, &snapshot, &fresh, OPTIONS, &silent).await.unwrap();
    assert_eq!(fs::metadata(&fresh).unwrap().mode() & 0o7777, 0o750);
}

#[tokio::test]
async fn device_nodes_are_refused_and_sockets_made() {
    let folder = tempfile::tempdir().unwrap();
    let objects = memory();
    let special = |text: &str, body| Entry { name: name(text), target: Target::Node(Node { body, ..file(9, "") }) };
    let entries = [
        special("block", Body::BlockDevice(1)),
        special("char", Body::CharDevice(259)),
        special("socket", Body::Socket),
    ];
    let tree = tree::build(&objects, entries).await.unwrap();
    let root = crate::change::bare_node(Ino::ROOT, Body::Directory(tree), 0o755, 0, 0, Default::default());
    let target = folder.path().join("out");
    let exported = export(&objects, &snapshot_of(root, None), &target, OPTIONS, &silent).await.unwrap();
    let skipped: Vec<&Path> = exported.skipped.iter().map(|(path, _)| path.as_path()).collect();
    assert_eq!(skipped, [Path::new("block"), Path::new("char")]);
    let names: Vec<_> = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["socket"]);
    assert_eq!(fs::symlink_metadata(target.join("socket")).unwrap().mode(), 0o140_644);
}

#[tokio::test]
async fn content_of_a_wrong_length_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let objects = memory();
    let bytes = Bytes::from_static(b"four");
    let mut chunk = crate::chunk::chunk_ref(objects.key(), &bytes);
    crate::objects::NewObjects::add(&objects, crate::id::ObjectKind::Chunk, bytes).await.unwrap();
    chunk.length = 5;
    let node = Node { body: Body::File(Content::Chunk(chunk)), ..file(9, "") };
    let tree = tree::build(&objects, [Entry { name: name("f"), target: Target::Node(node) }]).await.unwrap();
    let root = crate::change::bare_node(Ino::ROOT, Body::Directory(tree), 0o755, 0, 0, Default::default());
    let result = export(&objects, &snapshot_of(root, None), &folder.path().join("out"), OPTIONS, &silent).await;
    assert_eq!(result.unwrap_err().kind(), Kind::Corrupt);
}

#[tokio::test]
async fn an_error_behind_many_parcels_ends_the_export() {
    let folder = tempfile::tempdir().unwrap();
    let objects = memory();
    let mut entries = Vec::new();
    for number in 0..60u8 {
        let bytes = Bytes::from(vec![number; 1 << 20]);
        let chunk = crate::chunk::chunk_ref(objects.key(), &bytes);
        if number < 59 {
            crate::objects::NewObjects::add(&objects, crate::id::ObjectKind::Chunk, bytes).await.unwrap();
        }
        let node = Node { body: Body::File(Content::Chunk(chunk)), ..file(9, "") };
        entries.push(Entry { name: name(&format!("f{number:02}")), target: Target::Node(node) });
    }
    let tree = tree::build(&objects, entries).await.unwrap();
    let root = crate::change::bare_node(Ino::ROOT, Body::Directory(tree), 0o755, 0, 0, Default::default());
    let (snapshot, target) = (snapshot_of(root, None), folder.path().join("out"));
    let result = export(&objects, &snapshot, &target, OPTIONS, &silent);
    let result = tokio::time::timeout(std::time::Duration::from_secs(60), result).await.expect("the export hangs");
    assert_eq!(result.unwrap_err().kind(), Kind::NotFound);
}
