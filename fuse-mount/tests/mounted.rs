//! What a mount does beyond single calls: caches, listings under change, sparse files, misses, extended rights.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod world;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fuse_mount::MountOptions;
use vfs_core::object::Ino;
use vfs_core::workspace::{Invalidation, NewNode};
use world::{World, can_mount, shell, shell_as};

/// Requests that `work` made the kernel send.
fn requests(world: &World, work: impl FnOnce()) -> u64 {
    let before = world.mount().counters().total();
    work();
    world.mount().counters().total() - before
}

#[test]
fn what_the_kernel_knows_it_does_not_ask_for() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    fs::write(world.path("file"), vec![7; 100_000]).unwrap();
    fs::create_dir(world.path("folder")).unwrap();
    let round = || {
        fs::metadata(world.path("file")).unwrap();
        fs::metadata(world.path("absent")).unwrap_err();
        fs::read(world.path("file")).unwrap();
        assert_eq!(fs::read_dir(world.path("folder")).unwrap().count(), 0);
    };
    // The first rounds teach the kernel: that nothing need be opened, what is there and what is not.
    round();
    round();
    let asked = requests(&world, || (0..100).for_each(|_| round()));
    assert!(asked <= 4, "{asked} requests for 400 answers that the kernel had");
}

#[test]
fn a_directory_can_be_emptied_while_it_is_read() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    fs::create_dir(world.path("many")).unwrap();
    for number in 0..5000 {
        File::create(world.path(&format!("many/file-{number}"))).unwrap();
    }
    let mut removed = 0;
    for entry in fs::read_dir(world.path("many")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
        removed += 1;
    }
    assert_eq!(removed, 5000);
    fs::remove_dir(world.path("many")).unwrap();

    shell(
        world.mount().mountpoint(),
        "mkdir -p t/a t/b && seq 2500 | (cd t/a && xargs touch) && seq 2500 | (cd t/b && xargs touch)",
    );
    shell(world.mount().mountpoint(), "rm -r t && test ! -e t");
}

#[test]
fn names_made_while_listing_neither_repeat_nor_hide_others() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    for number in 0..1000 {
        File::create(world.path(&format!("old-{number:04}"))).unwrap();
    }
    let mut old = Vec::new();
    for (index, entry) in fs::read_dir(world.mount().mountpoint()).unwrap().enumerate() {
        if index % 10 == 0 {
            File::create(world.path(&format!("new-{index}"))).unwrap();
        }
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with("old") {
            old.push(name);
        }
    }
    old.sort();
    let expected: Vec<String> = (0..1000).map(|number| format!("old-{number:04}")).collect();
    assert_eq!(old, expected);
}

#[test]
fn holes_take_no_space_and_are_found() {
    if !can_mount() {
        return;
    }
    const MIB: u64 = 1024 * 1024;
    let world = World::new();
    let mut file = File::options().read(true).write(true).create_new(true).open(world.path("sparse")).unwrap();
    file.set_len(1 << 40).unwrap();
    file.write_all_at(&[1; 4096], 8 * MIB).unwrap();
    file.write_all_at(&[2; 4096], 600 * MIB).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 1 << 40);
    assert!(file.metadata().unwrap().blocks() <= 64, "{} blocks", file.metadata().unwrap().blocks());
    let seek = |what| rustix::fs::seek(&file, what);
    use rustix::fs::SeekFrom as From;
    assert_eq!(seek(From::Data(0)).unwrap(), 8 * MIB);
    assert_eq!(seek(From::Hole(8 * MIB)).unwrap(), 8 * MIB + 4096);
    assert_eq!(seek(From::Data(9 * MIB)).unwrap(), 600 * MIB);
    assert_eq!(seek(From::Data(601 * MIB)), Err(rustix::io::Errno::NXIO));
    let mut bytes = [9; 8192];
    file.seek(SeekFrom::Start(8 * MIB - 4096)).unwrap();
    file.read_exact(&mut bytes).unwrap();
    assert_eq!((bytes[0], bytes[4095], bytes[4096]), (0, 0, 1));
}

#[test]
fn what_is_not_in_memory_is_fetched() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let content: Vec<u8> = (0..2_000_000u32).flat_map(u32::to_le_bytes).collect();
    fs::write(world.path("big"), &content).unwrap();
    fs::create_dir(world.path("folder")).unwrap();
    for number in 0..300 {
        fs::write(world.path(&format!("folder/{number}")), format!("content {number}").repeat(50)).unwrap();
    }
    fs::hard_link(world.path("folder/7"), world.path("seven")).unwrap();

    let world = world.remount_cold();
    *world.base.delay.lock() = Duration::from_millis(20);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (world, content) = (&world, &content);
            scope.spawn(move || {
                for number in (0..300).skip(thread).step_by(8) {
                    let text = fs::read_to_string(world.path(&format!("folder/{number}"))).unwrap();
                    assert_eq!(text, format!("content {number}").repeat(50));
                }
                assert_eq!(&fs::read(world.path("big")).unwrap(), content);
            });
        }
    });
    assert_eq!(fs::metadata(world.path("seven")).unwrap().nlink(), 2);
    assert_eq!(fs::metadata(world.path("seven")).unwrap().ino(), fs::metadata(world.path("folder/7")).unwrap().ino());
    assert_eq!(fs::read_dir(world.path("folder")).unwrap().count(), 300);
    assert!(world.base.reads.load(Ordering::Relaxed) > 0);
    assert!(world.mount().counters().of("misses") > 0);
}

#[test]
fn what_cannot_be_fetched_is_an_io_error_and_not_an_absent_file() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    fs::create_dir(world.path("folder")).unwrap();
    fs::write(world.path("folder/file"), vec![1; 100_000]).unwrap();
    let world = world.remount_cold();
    world.base.broken.store(true, Ordering::Relaxed);
    let errno = |error: std::io::Error| error.raw_os_error();
    const EIO: Option<i32> = Some(5);
    assert_eq!(fs::metadata(world.path("folder/file")).map_err(errno).err(), Some(EIO));
    assert_eq!(fs::read_dir(world.path("folder")).map_err(errno).err(), Some(EIO));
    world.base.broken.store(false, Ordering::Relaxed);
    assert_eq!(fs::read(world.path("folder/file")).unwrap(), vec![1; 100_000], "nothing bad was remembered");
}

/// An invalidation makes the kernel take locks that it also holds while it waits for an answer.
#[test]
fn invalidations_and_requests_do_not_wait_for_each_other() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let end = Instant::now() + Duration::from_millis(1500);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let world = &world;
            scope.spawn(move || {
                let mut round = 0;
                while Instant::now() < end {
                    let (path, moved) = (world.path(&format!("f{thread}")), world.path(&format!("g{thread}")));
                    fs::write(&path, format!("{round}")).unwrap();
                    fs::rename(&path, &moved).unwrap();
                    assert_eq!(fs::read_to_string(&moved).unwrap(), format!("{round}"));
                    fs::read_dir(world.mount().mountpoint()).unwrap().for_each(drop);
                    fs::remove_file(&moved).unwrap();
                    round += 1;
                }
            });
        }
        scope.spawn(|| {
            let entry =
                |name: &str| Invalidation::Entry(Ino::ROOT, vfs_core::name::Name::new(name.as_bytes()).unwrap());
            while Instant::now() < end {
                let inodes = (16..40).map(|ino| Invalidation::Inode(Ino(ino)));
                let entries = (0..4).flat_map(|n| [entry(&format!("f{n}")), entry(&format!("g{n}"))]);
                let list =
                    inodes.chain([Invalidation::Inode(Ino::ROOT)]).chain(entries).chain([Invalidation::AllNames]);
                world.mount().invalidate(list.collect());
                world.mount().settle();
            }
        });
    });
    assert_eq!(fs::read_dir(world.mount().mountpoint()).unwrap().count(), 0);
}

#[test]
fn changes_from_elsewhere_are_seen_at_once() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    fs::write(world.path("file"), "before").unwrap();
    assert_eq!(fs::read_to_string(world.path("file")).unwrap(), "before");
    fs::metadata(world.path("absent")).unwrap_err();
    fs::metadata(world.path("absent2")).unwrap_err();
    assert_eq!(fs::read_dir(world.mount().mountpoint()).unwrap().count(), 1);

    let ino = Ino(fs::metadata(world.path("file")).unwrap().ino());
    world.workspace.write(ino, 0, b"after it", false).unwrap();
    let new = NewNode { kind: vfs_core::object::FileKind::File, mode: 0o644, uid: 0, gid: 0, rdev: 0, target: b"" };
    world.workspace.make(Ino::ROOT, b"absent", &new).unwrap();
    let name = vfs_core::name::Name::new(b"absent").unwrap();
    let begun = Instant::now();
    world.mount().invalidate(vec![Invalidation::Inode(ino), Invalidation::Entry(Ino::ROOT, name)]);
    world.mount().settle();
    assert_eq!(fs::read_to_string(world.path("file")).unwrap(), "after it");
    fs::metadata(world.path("absent")).unwrap();
    assert_eq!(fs::read_dir(world.mount().mountpoint()).unwrap().count(), 2);
    eprintln!("seen after {:?}", begun.elapsed());

    world.workspace.make(Ino::ROOT, b"absent2", &new).unwrap();
    fs::metadata(world.path("absent2")).unwrap_err();
    world.mount().invalidate(vec![Invalidation::AllNames]);
    world.mount().settle();
    fs::metadata(world.path("absent2")).unwrap();
}

/// Goes back to the published snapshot `id`.
fn swap(world: &World, id: vfs_core::id::SnapshotId) {
    world.checkpoint();
    let list = world.runtime.block_on(world.workspace.swap_base(id, world.base.snapshot(id))).unwrap();
    world.mount().invalidate(list);
    world.mount().settle();
}

#[test]
fn going_back_to_a_snapshot_changes_what_is_seen() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    fs::create_dir(world.path("d")).unwrap();
    fs::write(world.path("d/changed"), "old").unwrap();
    fs::write(world.path("d/removed"), "here").unwrap();
    fs::write(world.path("same"), "same").unwrap();
    world.checkpoint();
    let script = "ls -R; cat d/* same";
    let (id, tree) = (world.workspace.base(), shell(world.mount().mountpoint(), script));
    fs::write(world.path("d/changed"), "new and longer").unwrap();
    fs::remove_file(world.path("d/removed")).unwrap();
    fs::write(world.path("d/added"), "more").unwrap();
    fs::create_dir(world.path("e")).unwrap();
    let open = File::open(world.path("d/changed")).unwrap();
    shell(world.mount().mountpoint(), script);
    swap(&world, id);
    assert_eq!(shell(world.mount().mountpoint(), script), tree);
    let mut bytes = [0; 20];
    let length = open.read_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes[..length], b"old");
    fs::write(world.path("d/changed"), "written again").unwrap();
    assert_eq!(fs::read_to_string(world.path("d/changed")).unwrap(), "written again");
}

#[test]
fn going_back_brings_a_moved_file_back_as_it_was() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    fs::write(world.path("file"), "old").unwrap();
    world.checkpoint();
    let id = world.workspace.base();
    fs::rename(world.path("file"), world.path("moved")).unwrap();
    fs::write(world.path("moved"), "new and longer").unwrap();
    fs::read(world.path("moved")).unwrap();
    swap(&world, id);
    assert_eq!(fs::read_to_string(world.path("file")).unwrap(), "old");
    assert!(!world.path("moved").exists());
}

const ACL_SCRIPT: &str = "
    umask 022; id=4242
    echo secret > f; chmod 640 f; setfacl -m u:$id:rw f; getfacl -cn f; stat -c %a f
    chmod 600 f; getfacl -cn f; chmod 664 f; getfacl -cn f
    setfacl -x u:$id f; getfacl -cn f; setfacl -b f; getfacl -cn f; stat -c %a f
    mkdir d; setfacl -d -m u:$id:rwx,g::rx,o::- d; getfacl -cn d
    touch d/file; mkdir d/sub; (umask 077; touch d/masked); mkfifo d/fifo; ln -s file d/link
    getfacl -cn d/file d/sub d/masked d/fifo; stat -c '%n %a' d/file d/sub d/masked d/fifo
    setfacl -m u:$id:r f; cp -a f g; getfacl -cn g; setfacl -k d; getfacl -cn d
    setfacl -m u:nosuchuser:r f; setfacl -d -m u:$id:r f; setfacl -m m::x f; getfacl -cn f; ls -l f | cut -c1-11
";

#[test]
fn access_control_lists_work_as_on_tmpfs() {
    if !can_mount() || !shell_as(0, std::path::Path::new("/"), "command -v setfacl").1 {
        return;
    }
    let tmpfs = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::set_permissions(tmpfs.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let world = World::new();
    let play = |root| {
        let as_other = "cat f; echo x >> f && echo written; touch d/mine && echo made; cat d/sub/x d/file; ls d";
        [
            shell_as(0, root, ACL_SCRIPT).0,
            shell_as(4242, root, as_other).0,
            shell_as(0, root, "chmod 0 f; getfacl -cn f").0,
        ]
    };
    let (expected, found) = (play(tmpfs.path()), play(world.mount().mountpoint()));
    assert_eq!(expected, found);
    assert!(expected[0].contains("user:4242:rw-"), "the script did nothing: {expected:?}");
    let world = world.remount_cold();
    assert_eq!(shell(world.mount().mountpoint(), "getfacl -cn f d g"), shell(tmpfs.path(), "getfacl -cn f d g"));
}

#[test]
fn everything_belongs_to_the_owner_that_was_asked_for() {
    if !can_mount() {
        return;
    }
    let options = MountOptions { allow_other: true, owner: Some((4242, 4243)), ..MountOptions::default() };
    let world = World::with(&options);
    let (text, success) = shell_as(
        4242,
        world.mount().mountpoint(),
        "echo mine > f; mkdir d; chown 4242 f; stat -c %u:%g f d .; ls -ln | grep -c 4242; chown 1 f",
    );
    assert_eq!(text.lines().take(4).collect::<Vec<_>>(), ["4242:4243", "4242:4243", "4242:4243", "2"], "{text}");
    assert!(!success, "giving a file away must fail");
}

#[test]
fn extended_attributes_reach_their_limits() {
    if !can_mount() {
        return;
    }
    use rustix::fs::{XattrFlags, getxattr, listxattr, setxattr};
    let world = World::new();
    let path = world.path("file");
    File::create(&path).unwrap().write_all(b"x").unwrap();
    let value = vec![b'v'; 65_536];
    setxattr(&path, "user.large", &value, XattrFlags::empty()).unwrap();
    setxattr(&path, "trusted.small", b"", XattrFlags::CREATE).unwrap();
    setxattr(&path, "security.own", b"label", XattrFlags::CREATE).unwrap();
    setxattr(&path, "user.too-large", &vec![0; 65_537], XattrFlags::empty()).unwrap_err();
    let world = world.remount_cold();
    let path = world.path("file");
    let mut buffer = vec![0; 70_000];
    assert_eq!(getxattr(&path, "user.large", &mut buffer[..]).unwrap(), 65_536);
    assert_eq!(buffer[..65_536], value);
    assert_eq!(getxattr(&path, "trusted.small", &mut buffer[..]).unwrap(), 0);
    let length = listxattr(&path, &mut buffer[..]).unwrap();
    let mut names: Vec<_> = buffer[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort();
    assert_eq!(names, [&b"security.own"[..], b"trusted.small", b"user.large"]);
}
