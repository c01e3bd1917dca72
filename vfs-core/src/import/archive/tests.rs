//! Archives from real programs and back, and archives that attack.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;
use crate::change::bare_node;
use crate::clock::Time;
use crate::export::{ExportOptions, export, export_archive};
use crate::import::tests::{Counter, full_folder, import_all, snapshot};
use crate::name::Name;
use crate::name::TreePath;
use crate::object::{Body, Content, Entry, Ino, Node, Target};
use crate::objects::MemoryObjects;
use crate::progress::silent;
use crate::tree;
use crate::tree::resolve;
use crate::tree::tests::{memory, snapshot_of};

const NOW: Time = Time { seconds: 2_000_000_000, nanos: 7 };

async fn import(objects: &MemoryObjects, bytes: Vec<u8>) -> Result<Imported> {
    import_archive(objects, &Counter::default(), std::io::Cursor::new(bytes), None, NOW, &silent).await
}

async fn at(objects: &MemoryObjects, imported: &Imported, path: &[u8]) -> Node {
    resolve(objects, &snapshot(imported), &TreePath::parse(path).unwrap()).await.unwrap()
}

fn tar(arguments: &[&str], folder: &Path) -> Vec<u8> {
    let output = Command::new("tar").args(arguments).arg("-C").arg(folder).arg(".").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// All that a folder says of itself but inode numbers and times of change: one line a name.
fn manifest(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut groups = std::collections::HashMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let relative = path.strip_prefix(root).unwrap().to_owned();
        let group = match meta.nlink() > 1 && !meta.is_dir() {
            true => Some(groups.entry(meta.ino()).or_insert_with(|| relative.clone()).clone()),
            false => None,
        };
        let content = match () {
            () if meta.is_symlink() => blake3::hash(fs::read_link(&path).unwrap().as_os_str().as_bytes()).to_string(),
            () if meta.is_file() && meta.size() < 1 << 26 => blake3::hash(&fs::read(&path).unwrap()).to_string(),
            () => String::new(),
        };
        lines.push(format!(
            "{relative:?} {:o} {} {} {} {}.{:09} {} {group:?} {content}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            if meta.is_dir() { 0 } else { meta.size() },
            meta.mtime(),
            meta.mtime_nsec(),
            meta.nlink(),
        ));
        if meta.is_dir() {
            let mut below: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
            below.sort();
            below.reverse();
            pending.extend(below);
        }
    }
    lines
}

/// Removes what an archive may not bring in.
fn without_privileges(root: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(root.join("inline"), fs::Permissions::from_mode(0o755)).unwrap();
}

async fn exported(objects: &MemoryObjects, imported: &Imported) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (snapshot, root) = (snapshot(imported), TreePath::parse(b"").unwrap());
    let done = export_archive(objects, &snapshot, &root, file.reopen().unwrap(), &silent).await.unwrap();
    assert_eq!(done.skipped, []);
    fs::read(file.path()).unwrap()
}

#[tokio::test]
async fn a_folder_comes_back_through_real_tar_and_our_own() {
    let first = tempfile::tempdir().unwrap();
    full_folder(first.path());
    without_privileges(first.path());
    let deep = first.path().join("long/".repeat(60)).join("n".repeat(255));
    fs::create_dir_all(deep.parent().unwrap()).unwrap();
    fs::write(&deep, "deep").unwrap();
    fs::hard_link(&deep, first.path().join("of deep")).unwrap();
    let said = manifest(first.path());
    for format in [&["-c", "--format=pax", "--sparse", "--xattrs", "--xattrs-include=*"][..], &["-c", "--format=pax"]] {
        let objects = memory();
        let imported = import(&objects, tar(format, first.path())).await.unwrap();
        assert_eq!(imported.skipped, []);
        assert_eq!(at(&objects, &imported, b"hard").await.nlink, 3);
        assert_eq!(at(&objects, &imported, b"empty").await.ctime, NOW);

        // Ours to a folder, and ours to real tar.
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        export(&objects, &snapshot(&imported), &target, ExportOptions::default(), &silent).await.unwrap();
        assert_eq!(manifest(&target), said, "{format:?}");
        let archive = exported(&objects, &imported).await;
        let unpacked = tempfile::tempdir().unwrap();
        let mut child = Command::new("tar")
            .args(["-x", "-p", "--xattrs", "--xattrs-include=*", "--delay-directory-restore", "-C"])
            .arg(unpacked.path())
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&archive).unwrap();
        let output = child.wait_with_output().unwrap();
        // It says that 1969 is long ago, and nothing else.
        let said_by_tar = String::from_utf8_lossy(&output.stderr).into_owned();
        let worse = said_by_tar.lines().any(|line| !line.contains("implausibly old"));
        assert!(output.status.success() && !worse, "{said_by_tar}");
        assert_eq!(manifest(unpacked.path()), said, "{format:?}");
        if format.len() > 2 {
            // With attributes and holes nothing is lost: the same tree comes out of a second round.
            let blocks = |path: &Path| fs::metadata(path.join("sparse")).unwrap().blocks();
            assert!(blocks(unpacked.path()) < 1000 && blocks(&target) < 1000);
            let again = import(&objects, archive).await.unwrap();
            assert_eq!((again.root, again.links), (imported.root.clone(), imported.links));
            let folder = import_all(&objects, &Counter::default(), first.path()).await;
            for path in [&b"inline"[..], b"many chunks", b"directory", b"sparse", b"only hole", b"long link"] {
                let (archived, local) = (at(&objects, &imported, path).await, at(&objects, &folder, path).await);
                assert_eq!((archived.xattrs, archived.mtime), (local.xattrs, local.mtime));
                if !matches!(local.body, Body::Directory(_)) {
                    assert_eq!(archived.body, local.body, "{}", String::from_utf8_lossy(path));
                }
            }
        }
    }
}

#[tokio::test]
async fn other_formats_and_python_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("d").join("n".repeat(200)), "long").unwrap();
    fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xff")), "bytes").unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    for piece in 0..60u64 {
        std::os::unix::fs::FileExt::write_all_at(&sparse, &[piece as u8; 4096], piece * 1_000_000).unwrap();
    }
    let objects = memory();
    let plain = import_all(&objects, &Counter::default(), root).await;
    let digest = |imported: &Imported| match &imported.root.body {
        Body::Directory(subtree) => subtree.digest,
        _ => panic!(),
    };
    let formats: [&[&str]; 5] = [
        &["-c", "--format=gnu", "--sparse"],
        &["-c", "--format=gnu"],
        &["-c", "--format=pax", "--sparse", "--sparse-version=0.0"],
        &["-c", "--format=pax", "--sparse", "--sparse-version=0.1"],
        &["-c", "--format=pax", "--sparse", "--sparse-version=1.0"],
    ];
    for format in formats {
        let imported = import(&objects, tar(format, root)).await.unwrap();
        if format.contains(&"--sparse") {
            assert_eq!(digest(&imported), digest(&plain), "{format:?}");
        }
        assert_eq!(at(&objects, &imported, b"sparse").await.size(), plain_size(root));
    }
    // Packed, and by Python.
    let packed = zstd::encode_all(&tar(&["-c", "--format=pax", "--sparse"], root)[..], 3).unwrap();
    assert_eq!(digest(&import(&objects, packed).await.unwrap()), digest(&plain));
    let script = "import sys,tarfile; t=tarfile.open(fileobj=sys.stdout.buffer,mode='w|',format=tarfile.PAX_FORMAT); \
                  t.add(sys.argv[1],arcname='.'); t.close()";
    let python = Command::new("python3").args(["-c", script]).arg(root).output().unwrap();
    if python.status.success() {
        let imported = import(&objects, python.stdout).await.unwrap();
        assert_eq!(at(&objects, &imported, b"sparse").await.size(), plain_size(root));
        let list = "import sys,tarfile; print(len(tarfile.open(fileobj=sys.stdin.buffer,mode='r|').getnames()))";
        let ours = exported(&objects, &plain).await;
        let mut child =
            Command::new("python3").args(["-c", list]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&ours).unwrap();
        assert_eq!(child.wait_with_output().unwrap().stdout, b"5\n");
    }
}

fn plain_size(root: &Path) -> u64 {
    fs::metadata(root.join("sparse")).unwrap().size()
}

/// One member.
fn member(kind: u8, path: &[u8], link: &[u8], content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o4755);
    header.set_size(content.len() as u64);
    header.set_uid(1);
    header.set_gid(1);
    header.set_mtime(5);
    header.as_mut_bytes()[..path.len()].copy_from_slice(path);
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = members.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn pax(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest + 1..).find(|length| *length == rest + length.to_string().len()).unwrap();
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    member(b'x', b"pax", b"", &record)
}

#[tokio::test]
async fn what_leads_out_is_refused() {
    let objects = memory();
    let file = |path: &[u8]| member(b'0', path, b"", b"x");
    let attacks = [
        vec![file(b"/etc/passwd")],
        vec![file(b"../up")],
        vec![file(b"a/../../up")],
        vec![file(b"a/..")],
        vec![pax("path", b"/absolute"), file(b"harmless")],
        vec![pax("path", b"a/../../b"), file(b"harmless")],
        vec![pax("path", b"nul\0byte"), file(b"harmless")],
        vec![pax("path", &[b'n'; 300]), file(b"harmless")],
        vec![member(b'2', b"link", b"/etc", b""), file(b"link/passwd")],
        vec![file(b"file"), file(b"file/below")],
        vec![member(b'1', b"hard", b"nothing", b"")],
        vec![member(b'1', b"hard", b"../outside", b"")],
        vec![member(b'1', b"hard", b"/etc/passwd", b"")],
        vec![member(b'1', b"hard", b"hard", b"")],
        vec![member(b'5', b"d", b"", b""), member(b'1', b"hard", b"d", b"")],
        vec![file(b"later"), member(b'2', b"s", b"later", b""), member(b'1', b"h", b"s/x", b"")],
        vec![member(b'5', b"d/e", b"", b""), file(b"d")],
        vec![member(b'0', b".", b"", b"x")],
        vec![member(b'Q', b"odd", b"", b"")],
        vec![pax("uid", b"4294967296"), file(b"a")],
        vec![pax("size", b"18446744073709551615"), file(b"a")],
    ];
    for (number, attack) in attacks.iter().enumerate() {
        let error = import(&objects, archive(attack)).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::Invalid | Kind::LimitExceeded), "{number}: {error}");
        assert!(error.to_string().starts_with("the archive cannot be imported"), "{number}: {error}");
    }
}

#[tokio::test]
async fn damage_and_truncation_are_refused_at_every_byte() {
    let objects = memory();
    let whole =
        archive(&[pax("path", b"some/where"), member(b'0', b"x", b"", &[7; 700]), member(b'5', b"d", b"", b"")]);
    assert_eq!(import(&objects, whole.clone()).await.unwrap().totals.nodes, 3);
    for length in (0..whole.len() - 1024).step_by(64) {
        assert!(import(&objects, whole[..length].to_vec()).await.is_err(), "cut at {length}");
    }
    for bit in 0..512 * 8 {
        let mut bytes = whole.clone();
        bytes[1024 + bit / 8] ^= 1 << (bit % 8);
        let _ = import(&objects, bytes).await;
    }
    let packed = zstd::encode_all(&whole[..], 3).unwrap();
    for length in 0..packed.len() {
        assert!(import(&objects, packed[..length].to_vec()).await.is_err(), "packed, cut at {length}");
    }
    for other in [&b"\x1f\x8b\x08"[..], b"BZh9", b"\xfd7zXZ\0"] {
        assert_eq!(import(&objects, other.to_vec()).await.unwrap_err().kind(), Kind::Unsupported);
    }
}

/// A stream that repeats one part without end.
struct Endless {
    part: Vec<u8>,
    at: usize,
    given: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl Read for Endless {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let rest = &self.part[self.at..];
        let length = rest.len().min(into.len());
        into[..length].copy_from_slice(&rest[..length]);
        self.at = (self.at + length) % self.part.len();
        self.given.fetch_add(length as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(length)
    }
}

#[tokio::test]
async fn bombs_end_within_bounds() {
    let deep = "a/".repeat(5000);
    let sparse_map = vec![0; 512];
    let parts = [
        // Extended headers without an end, of the same kind and of different ones.
        (member(b'x', b"x", b"", b"11 path=ab\n"), 1 << 20),
        ([member(b'L', b"x", b"", b"name"), member(b'g', b"x", b"", b"11 path=ab\n")].concat(), 1 << 20),
        // One that says it is huge.
        (huge(b'x'), 1 << 20),
        (huge(b'L'), 1 << 20),
        // Directories in each other, in one name.
        ([pax("path", deep.as_bytes()), member(b'5', b"d", b"", b"")].concat(), 1 << 20),
        // A map that says it has 10^18 pieces.
        (
            [
                member(b'x', b"x", b"", b"22 GNU.sparse.major=1\n25 GNU.sparse.realsize=9\n"),
                member(b'0', b"s", b"", &[b"999999999999999999\n".to_vec(), sparse_map].concat()),
            ]
            .concat(),
            1 << 20,
        ),
    ];
    for (number, (part, most)) in parts.into_iter().enumerate() {
        let given = std::sync::Arc::<std::sync::atomic::AtomicU64>::default();
        let endless = Endless { part, at: 0, given: given.clone() };
        let objects = memory();
        let error = import_archive(&objects, &Counter::default(), endless, None, NOW, &silent).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::LimitExceeded | Kind::Invalid), "{number}: {error}");
        assert!(given.load(std::sync::atomic::Ordering::Relaxed) < most, "{number}: {error}");
    }
    // A few kilobytes that unpack to gigabytes.
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.write_all(&huge_file(4 << 30)).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..200 {
        encoder.write_all(&zeros).unwrap();
    }
    let packed = encoder.finish().unwrap();
    assert!(packed.len() < 100_000);
    let error = import(&memory(), packed).await.unwrap_err();
    assert_eq!(error.kind(), Kind::LimitExceeded, "{error}");
}

fn huge(kind: u8) -> Vec<u8> {
    let mut bytes = member(kind, b"huge", b"", b"");
    bytes[124..136].copy_from_slice(b"77777777777\0");
    fix_sum(&mut bytes);
    bytes
}

fn huge_file(size: u64) -> Vec<u8> {
    let mut bytes = member(b'0', b"huge", b"", b"");
    bytes[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    fix_sum(&mut bytes);
    bytes
}

fn fix_sum(bytes: &mut [u8]) {
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[tokio::test]
async fn an_archive_gives_no_privileges_and_says_so() {
    let objects = memory();
    let members = [
        member(b'0', b"set", b"", b"x"),
        pax("SCHILY.xattr.security.capability", b"\x01\0\0\x02"),
        member(b'0', b"capable", b"", b"x"),
        member(b'3', b"null", b"", b""),
        member(b'5', b"d", b"", b""),
    ];
    let imported = import(&objects, archive(&members)).await.unwrap();
    assert_eq!(at(&objects, &imported, b"set").await.mode, 0o755);
    assert_eq!(at(&objects, &imported, b"capable").await.xattrs, XattrsRef::None);
    let skipped: Vec<&str> = imported.skipped.iter().filter_map(|(path, _)| path.to_str()).collect();
    assert!(skipped.contains(&"set") && skipped.contains(&"capable") && skipped.contains(&"null"), "{skipped:?}");
    assert_eq!(imported.totals.entries, 3);
    // Nothing that it says makes a later import of a folder believe it.
    assert_eq!(at(&objects, &imported, b"set").await.ctime, NOW);
    let Body::File(Content::Inline(content)) = at(&objects, &imported, b"set").await.body else { panic!() };
    assert_eq!(&content[..], b"x");
}

#[tokio::test]
async fn the_same_archive_again_is_the_same_tree_and_the_last_of_two_names_counts() {
    let objects = memory();
    let counter = Counter::default();
    let members =
        [member(b'0', b"d/a", b"", b"one"), member(b'5', b"d/", b"", b""), member(b'0', b"./d/a", b"", b"two")];
    let bytes = archive(&members);
    let first =
        import_archive(&objects, &counter, std::io::Cursor::new(bytes.clone()), None, NOW, &silent).await.unwrap();
    let Body::File(Content::Inline(content)) = at(&objects, &first, b"d/a").await.body else { panic!() };
    assert_eq!(&content[..], b"two");
    let earlier = snapshot(&first);
    let later = Time { seconds: NOW.seconds + 100, nanos: 0 };
    let again = import_archive(&objects, &counter, std::io::Cursor::new(bytes), Some(&earlier), later, &silent);
    let again = again.await.unwrap();
    assert_eq!(at(&objects, &again, b"d/a").await, at(&objects, &first, b"d/a").await);
}

#[tokio::test]
async fn what_an_archive_leaves_out_is_left_out_under_each_of_its_names() {
    let objects = memory();
    let names = [(20, Body::Socket), (21, Body::CharDevice(259)), (22, Body::Fifo), (23, Body::File(inline("x")))];
    let mut links = Vec::new();
    let mut entries = Vec::new();
    for (ino, body) in names {
        let node = Node { nlink: 2, ..bare_node(Ino(ino), body, 0o644, 0, 0, NOW) };
        links.push(Entry { name: crate::object::tree::link_name(Ino(ino)), target: Target::Node(node) });
        entries.extend(["one", "two"].map(|word| Entry {
            name: Name::new(format!("{ino}-{word}").as_bytes()).unwrap(),
            target: Target::Link(Ino(ino)),
        }));
    }
    let links = tree::build(&objects, links).await.unwrap();
    let below = tree::build(&objects, entries).await.unwrap();
    let snapshot = snapshot_of(bare_node(Ino::ROOT, Body::Directory(below), 0o755, 0, 0, NOW), Some(links));
    let (file, root) = (tempfile::NamedTempFile::new().unwrap(), TreePath::parse(b"").unwrap());
    let output = file.reopen().unwrap();
    let done = export_archive(&objects, &snapshot, &root, output, &silent).await.unwrap();
    assert_eq!(done.skipped.len(), 4);
    let bytes = fs::read(file.path()).unwrap();
    let again = import(&objects, bytes.clone()).await.unwrap();
    assert_eq!(at(&objects, &again, b"23-one").await.ino, at(&objects, &again, b"23-two").await.ino);
    let target = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar").arg("-x").arg("-C").arg(target.path()).stdin(Stdio::piped()).spawn().unwrap();
    tar.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(tar.wait().unwrap().success());
    let mut names: Vec<_> = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["22-one", "22-two", "23-one", "23-two"]);
}

fn inline(text: &'static str) -> Content {
    Content::Inline(bytes::Bytes::from_static(text.as_bytes()))
}
