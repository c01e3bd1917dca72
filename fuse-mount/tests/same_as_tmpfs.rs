//! The same calls on tmpfs and on a mount give the same answers, and leave the same tree.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod world;

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    CWD, FallocateFlags, FileType, Mode, RenameFlags, XattrFlags, fallocate, mknodat, removexattr, renameat_with,
    setxattr,
};
use world::{World, can_mount, shell_as};

type Step = (&'static str, fn(&Path) -> io::Result<String>);

fn done<T>(result: io::Result<T>) -> io::Result<String> {
    result.map(|_| String::new())
}

fn code<T>(result: rustix::io::Result<T>) -> io::Result<String> {
    done(result.map_err(Into::into))
}

fn as_user(root: &Path, script: &str) -> io::Result<String> {
    let (text, success) = shell_as(4242, root, script);
    Ok(format!("{success} {text}"))
}

/// Order matters: each step finds what those before it left.
const STEPS: &[Step] = &[
    ("make a file", |r| done(fs::write(r.join("file"), "hello"))),
    ("make a directory", |r| done(fs::create_dir(r.join("dir")))),
    ("make it again", |r| done(fs::create_dir(r.join("dir")))),
    ("exclusive create over a file", |r| done(File::create_new(r.join("file")))),
    ("exclusive create", |r| done(File::create_new(r.join("dir/new")))),
    ("look below a file", |r| done(fs::metadata(r.join("file/x")))),
    ("look for nothing", |r| done(fs::metadata(r.join("absent")))),
    ("a name of 255 bytes", |r| done(fs::write(r.join("n".repeat(255)), ""))),
    ("a name of 256 bytes", |r| done(fs::write(r.join("n".repeat(256)), ""))),
    ("append", |r| done(OpenOptions::new().append(true).open(r.join("file"))?.write_all(b" world"))),
    ("read back", |r| fs::read_to_string(r.join("file"))),
    ("write in the middle", |r| done(File::options().write(true).open(r.join("file"))?.write_at(b"J", 0))),
    ("truncate", |r| done(File::options().write(true).open(r.join("file"))?.set_len(3))),
    ("extend", |r| done(File::options().write(true).open(r.join("file"))?.set_len(10_000))),
    ("see zeros", |r| Ok(format!("{:?}", &fs::read(r.join("file"))?[..6]))),
    ("truncate on open", |r| done(File::options().write(true).truncate(true).open(r.join("file")))),
    ("write past the end", |r| done(File::options().write(true).open(r.join("file"))?.write_at(b"end", 70_000))),
    ("see size", |r| Ok(fs::metadata(r.join("file"))?.len().to_string())),
    ("open a directory for writing", |r| done(File::options().write(true).open(r.join("dir")))),
    ("truncate a directory", |r| code(rustix::fs::open(r.join("dir"), rustix::fs::OFlags::RDWR, Mode::empty()))),
    ("hard link", |r| done(fs::hard_link(r.join("file"), r.join("dir/link")))),
    ("hard link over a name", |r| done(fs::hard_link(r.join("file"), r.join("dir/link")))),
    ("hard link of a directory", |r| done(fs::hard_link(r.join("dir"), r.join("dir2")))),
    ("count names", |r| Ok(fs::metadata(r.join("file"))?.nlink().to_string())),
    ("write through a link", |r| done(fs::write(r.join("dir/link"), "linked"))),
    ("read at the other name", |r| fs::read_to_string(r.join("file"))),
    ("symlink", |r| done(symlink("dir/link", r.join("sym")))),
    ("follow it", |r| fs::read_to_string(r.join("sym"))),
    ("read it", |r| Ok(fs::read_link(r.join("sym"))?.display().to_string())),
    ("a long symlink", |r| done(symlink("t".repeat(4095), r.join("long")))),
    ("a longer symlink", |r| done(symlink("t".repeat(4096), r.join("longer")))),
    ("a loop", |r| done(symlink("loop", r.join("loop"))).and(done(fs::read(r.join("loop"))))),
    ("rmdir a file", |r| done(fs::remove_dir(r.join("file")))),
    ("unlink a directory", |r| code(rustix::fs::unlink(r.join("dir")))),
    ("rmdir a full directory", |r| done(fs::remove_dir(r.join("dir")))),
    ("rename a file", |r| done(fs::rename(r.join("dir/new"), r.join("moved")))),
    ("rename over a file", |r| {
        done(fs::write(r.join("over"), "x")).and(done(fs::rename(r.join("moved"), r.join("over"))))
    }),
    ("rename a file over a directory", |r| done(fs::rename(r.join("over"), r.join("dir")))),
    ("rename a directory over a file", |r| done(fs::rename(r.join("dir"), r.join("over")))),
    ("rename a directory into itself", |r| done(fs::rename(r.join("dir"), r.join("dir/sub")))),
    ("rename over an empty directory", |r| {
        fs::create_dir(r.join("empty"))?;
        done(fs::rename(r.join("dir"), r.join("empty")))
    }),
    ("rename an empty over a full directory", |r| {
        fs::create_dir(r.join("dir"))?;
        done(fs::rename(r.join("dir"), r.join("empty")))
    }),
    ("rename between two names of a file", |r| done(fs::rename(r.join("file"), r.join("empty/link")))),
    ("both names are there", |r| Ok(fs::metadata(r.join("file"))?.nlink().to_string())),
    ("rename without replacing", |r| {
        code(renameat_with(CWD, r.join("file"), CWD, r.join("over"), RenameFlags::NOREPLACE))
    }),
    ("rename without replacing, free", |r| {
        code(renameat_with(CWD, r.join("over"), CWD, r.join("free"), RenameFlags::NOREPLACE))
    }),
    ("exchange", |r| code(renameat_with(CWD, r.join("free"), CWD, r.join("empty"), RenameFlags::EXCHANGE))),
    ("exchange with nothing", |r| code(renameat_with(CWD, r.join("free"), CWD, r.join("no"), RenameFlags::EXCHANGE))),
    ("exchange a directory with what is in it", |r| {
        code(renameat_with(CWD, r.join("free"), CWD, r.join("free/link"), RenameFlags::EXCHANGE))
    }),
    ("chmod", |r| done(fs::set_permissions(r.join("file"), fs::Permissions::from_mode(0o6711)))),
    ("root writes and keeps setuid", |r| {
        File::options().write(true).open(r.join("file"))?.write_all(b"root")?;
        Ok(format!("{:o}", fs::metadata(r.join("file"))?.mode()))
    }),
    ("root truncates and keeps setuid", |r| {
        File::options().write(true).open(r.join("file"))?.set_len(2)?;
        Ok(format!("{:o}", fs::metadata(r.join("file"))?.mode()))
    }),
    ("root's chown clears setuid", |r| {
        std::os::unix::fs::chown(r.join("file"), Some(4242), Some(4242))?;
        Ok(format!("{:o}", fs::metadata(r.join("file"))?.mode()))
    }),
    ("chown of a directory keeps setgid", |r| {
        fs::set_permissions(r.join("dir"), fs::Permissions::from_mode(0o2775))?;
        std::os::unix::fs::chown(r.join("dir"), Some(4242), Some(4243))?;
        Ok(format!("{:o}", fs::metadata(r.join("dir"))?.mode()))
    }),
    ("a setgid directory hands its group down", |r| {
        fs::write(r.join("dir/of-group"), "")?;
        fs::create_dir(r.join("dir/sub"))?;
        let (file, sub) = (fs::metadata(r.join("dir/of-group"))?, fs::metadata(r.join("dir/sub"))?);
        Ok(format!("{} {:o} {} {:o}", file.gid(), file.mode(), sub.gid(), sub.mode()))
    }),
    ("another user writes: setuid goes", |r| as_user(r, "chmod 6777 file && echo more >> file && stat -c %a file")),
    ("another user writes: setgid without execution stays", |r| {
        as_user(r, "chmod 6766 file && echo more >> file && stat -c %a file")
    }),
    ("another user truncates: setuid goes", |r| as_user(r, "chmod 6777 file && truncate -s 1 file && stat -c %a file")),
    ("another user may not", |r| {
        as_user(r, "echo x > over; mkdir y; rm free; chmod 1 over; chown 1 file; cat dir/of-group; ls dir")
    }),
    ("sticky directory", |r| {
        fs::create_dir(r.join("sticky"))?;
        fs::set_permissions(r.join("sticky"), fs::Permissions::from_mode(0o1777))?;
        fs::write(r.join("sticky/root"), "")?;
        as_user(r, "echo mine > sticky/mine && rm -f sticky/mine; rm -f sticky/root; mv sticky/root sticky/r")
    }),
    ("umask", |r| as_user(r, "umask 027; echo > sticky/u; mkdir sticky/d; stat -c %a sticky/u sticky/d")),
    ("fifo", |r| code(mknodat(CWD, r.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0))),
    ("device", |r| code(mknodat(CWD, r.join("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o600), 259))),
    ("device number", |r| {
        let metadata = fs::metadata(r.join("null"))?;
        Ok(format!("{} {}", metadata.rdev(), metadata.file_type().is_char_device()))
    }),
    ("socket", |r| done(std::os::unix::net::UnixListener::bind(r.join("socket")))),
    ("set an attribute", |r| code(setxattr(r.join("file"), "user.one", b"1", XattrFlags::empty()))),
    ("create it again", |r| code(setxattr(r.join("file"), "user.one", b"2", XattrFlags::CREATE))),
    ("replace another", |r| code(setxattr(r.join("file"), "user.two", b"2", XattrFlags::REPLACE))),
    ("get into little space", |r| {
        let mut small = [0; 0];
        let mut tiny = [0; 1];
        setxattr(r.join("file"), "user.long", b"12345", XattrFlags::empty())?;
        let size = rustix::fs::getxattr(r.join("file"), "user.long", &mut small[..])?;
        let error = rustix::fs::getxattr(r.join("file"), "user.long", &mut tiny[..]).unwrap_err();
        Ok(format!("{size} {error}"))
    }),
    ("get nothing", |r| code(rustix::fs::getxattr(r.join("file"), "user.absent", &mut [0; 8][..]))),
    ("remove it", |r| code(removexattr(r.join("file"), "user.long"))),
    ("remove it again", |r| code(removexattr(r.join("file"), "user.long"))),
    ("attributes of a symlink", |r| code(rustix::fs::lsetxattr(r.join("sym"), "user.one", b"1", XattrFlags::empty()))),
    ("holes", |r| {
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(r.join("holes"))?;
        file.write_all(&[1; 300_000])?;
        fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 65_536, 131_072)?;
        let mut content = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut content)?;
        Ok(format!("{} {}", content.len(), content.iter().filter(|&&byte| byte == 0).count()))
    }),
    ("reserve", |r| {
        let file = File::options().write(true).open(r.join("holes"))?;
        fallocate(&file, FallocateFlags::KEEP_SIZE, 300_000, 65_536)?;
        let kept = file.metadata()?.len();
        fallocate(&file, FallocateFlags::empty(), 300_000, 65_536)?;
        Ok(format!("{kept} {}", file.metadata()?.len()))
    }),
    ("collapse", |r| {
        let file = File::options().write(true).open(r.join("holes"))?;
        code(fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, 4096))
    }),
    ("seek beyond the end", |r| {
        let file = File::open(r.join("holes"))?;
        code(rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(1 << 30)))
    }),
    ("copy a range", |r| {
        let (from, into) = (File::open(r.join("holes"))?, File::create(r.join("copy"))?);
        let mut offset = 60_000;
        let copied = rustix::fs::copy_file_range(&from, Some(&mut offset), &into, None, 100_000)?;
        Ok(format!("{copied} {}", fs::read(r.join("copy"))?.iter().map(|&byte| u64::from(byte)).sum::<u64>()))
    }),
    ("a removed open file lives on", |r| {
        let mut file = File::options().read(true).write(true).create_new(true).open(r.join("gone"))?;
        file.write_all(b"still ")?;
        fs::remove_file(r.join("gone"))?;
        file.write_all(b"here")?;
        let nlink = file.metadata()?.nlink();
        let mut text = String::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_string(&mut text)?;
        Ok(format!("{text} {nlink}"))
    }),
    ("a removed open file that was replaced", |r| {
        fs::write(r.join("old"), "old")?;
        let mut file = File::open(r.join("old"))?;
        fs::write(r.join("fresh"), "new")?;
        fs::rename(r.join("fresh"), r.join("old"))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(format!("{text} {}", fs::read_to_string(r.join("old"))?))
    }),
    ("make something in a removed directory", |r| {
        fs::create_dir(r.join("doomed"))?;
        let folder = File::open(r.join("doomed"))?;
        fs::remove_dir(r.join("doomed"))?;
        code(rustix::fs::openat(&folder, "x", rustix::fs::OFlags::CREATE, Mode::from_raw_mode(0o600)))
    }),
    ("O_TMPFILE is refused or works", |r| {
        // tmpfs offers it, FUSE through fuser does not; a program must be able to tell.
        let result =
            rustix::fs::open(r, rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR, Mode::from_raw_mode(0o600));
        Ok(matches!(result, Ok(_) | Err(rustix::io::Errno::OPNOTSUPP)).to_string())
    }),
    ("times", |r| {
        let old = std::time::UNIX_EPOCH - std::time::Duration::new(1, 250_000_000);
        let times = fs::FileTimes::new().set_modified(old).set_accessed(old);
        File::options().write(true).open(r.join("over"))?.set_times(times)?;
        let metadata = fs::metadata(r.join("over"))?;
        Ok(format!("{} {} {}", metadata.mtime(), metadata.mtime_nsec(), metadata.atime()))
    }),
    ("direct and synchronous writes", |r| {
        let mut file = OpenOptions::new().create(true).append(true).custom_flags(0o4_010_000).open(r.join("sync"))?;
        done(file.write_all(b"durable"))
    }),
    ("big file", |r| {
        let content: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
        fs::write(r.join("big"), &content)?;
        Ok((fs::read(r.join("big"))? == content).to_string())
    }),
];

fn play(root: &Path) -> Vec<String> {
    let answer = |step: &Step| match step.1(root) {
        Ok(text) => format!("{}: {text}", step.0),
        Err(error) => format!("{}: {:?}", step.0, error.raw_os_error().ok_or(error)),
    };
    STEPS.iter().map(answer).collect()
}

/// Everything but what file systems may differ in: inode numbers, times, sizes of directories.
fn dump(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut paths: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let (kind, name) = (metadata.file_type(), path.strip_prefix(root).unwrap().display().to_string());
            let size = if kind.is_dir() { 0 } else { metadata.len() };
            let content =
                if kind.is_file() { format!("{:016x}", sum(&fs::read(&path).unwrap())) } else { String::new() };
            let target =
                if kind.is_symlink() { fs::read_link(&path).unwrap().into_os_string() } else { OsStr::new("").into() };
            let (mode, nlink, uid, gid) = (metadata.mode(), metadata.nlink(), metadata.uid(), metadata.gid());
            lines.push(format!("{name} {mode:o} {nlink} {uid}:{gid} {size} {content} {target:?}"));
            if kind.is_dir() {
                folders.push(path);
            }
        }
    }
    lines
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[test]
fn same_answers_and_same_tree() {
    if !can_mount() {
        return;
    }
    let tmpfs = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::set_permissions(tmpfs.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let world = World::new();
    let (expected, found) = (play(tmpfs.path()), play(world.mount().mountpoint()));
    let different: Vec<_> = expected.iter().zip(&found).filter(|(a, b)| a != b).collect();
    assert!(different.is_empty(), "tmpfs against the mount: {different:#?}");
    assert_eq!(dump(tmpfs.path()), dump(world.mount().mountpoint()));

    let world = world.remount_cold();
    assert_eq!(dump(tmpfs.path()), dump(world.mount().mountpoint()), "after publishing and a cold mount");
}
