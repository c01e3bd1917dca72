//! How a mount begins and ends.

#![allow(clippy::unwrap_used, reason = "a test or example may panic")]

mod world;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use fuse_mount::{Mount, MountOptions, is_mounted};
use vfs_core::Kind;
use world::{World, can_mount, shell, shell_as};

/// Waits until the mount has ended, at most a few seconds.
fn ends(mount: &Mount) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !mount.has_ended() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    mount.has_ended()
}

#[test]
fn unmounting_a_mount_in_use_names_who_uses_it() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let file = File::create(world.path("file")).unwrap();
    let error = world.mount().unmount(false).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    assert!(error.context().contains(&format!("pid {}", std::process::id())), "{error}");
    assert!(error.context().contains("open"), "{error}");
    drop(file);

    let mut child = Command::new("sleep").arg("60").current_dir(world.mount().mountpoint()).spawn().unwrap();
    let error = world.mount().unmount(false).unwrap_err();
    assert!(error.context().contains(&format!("sleep (pid {}: works in it)", child.id())), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();

    world.mount().unmount(false).unwrap();
    assert!(!is_mounted(world.mount().mountpoint()));
    assert!(ends(world.mount()));
    world.mount().wait().unwrap();
    world.mount().unmount(false).unwrap();
}

#[test]
fn a_lazy_unmount_lets_users_finish() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let mut file = File::options().read(true).write(true).create_new(true).open(world.path("file")).unwrap();
    world.mount().unmount(true).unwrap();
    assert!(!is_mounted(world.mount().mountpoint()));
    file.write_all(b"still here").unwrap();
    assert!(!world.mount().has_ended());
    drop(file);
    assert!(ends(world.mount()));
}

#[test]
fn unmounting_from_outside_ends_the_mount() {
    if !can_mount() {
        return;
    }
    for command in ["umount", "fusermount3 -u"] {
        let world = World::new();
        let path = world.mount().mountpoint().display().to_string();
        shell(world.folder.path(), &format!("{command} {path}"));
        assert!(ends(world.mount()), "{command}");
        world.mount().wait().unwrap();
    }
}

#[test]
fn another_process_can_unmount_and_is_told_who_is_in_the_way() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let path = world.mount().mountpoint().to_owned();
    let file = File::create(world.path("file")).unwrap();
    let error = fuse_mount::unmount(&path, false).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    assert!(error.context().contains(&format!("pid {}", std::process::id())), "{error}");
    drop(file);
    fuse_mount::unmount(&path, false).unwrap();
    assert!(ends(world.mount()));
    assert_eq!(fuse_mount::unmount(&path, false).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(fuse_mount::unmount(std::path::Path::new("/proc"), true).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn only_this_mount_is_unmounted() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let path = world.mount().mountpoint().to_owned();
    shell(world.folder.path(), &format!("mount -t tmpfs tmpfs {}", path.display()));
    let error = world.mount().unmount(true).unwrap_err();
    shell(world.folder.path(), &format!("umount {}", path.display()));
    assert_eq!(error.kind(), Kind::Busy);
    assert!(error.context().contains("tmpfs"), "{error}");
    world.mount().unmount(false).unwrap();
}

#[test]
fn dropping_a_mount_unmounts_it() {
    if !can_mount() {
        return;
    }
    let mut world = World::new();
    let path = world.mount().mountpoint().to_owned();
    assert!(is_mounted(&path));
    drop(world.mount.take());
    assert!(!is_mounted(&path));
}

#[test]
fn a_read_only_mount_refuses_every_change() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    fs::write(world.path("file"), "content").unwrap();
    fs::create_dir(world.path("dir")).unwrap();
    let World { mount, runtime, base, workspace, folder } = world;
    drop(mount);
    runtime.block_on(workspace.checkpoint(Default::default())).unwrap();
    drop((workspace, folder));
    let options = MountOptions { read_only: true, allow_other: true, ..MountOptions::default() };
    let world = World::on(runtime, base, &options);
    assert_eq!(fs::read_to_string(world.path("file")).unwrap(), "content");
    let script = "echo x > file; echo x > new; mkdir sub; rmdir dir; rm file; mv file f; ln file l; ln -s a s; chmod 1 file; touch file";
    let (text, _) = shell_as(0, world.mount().mountpoint(), script);
    assert_eq!(text.matches("Read-only file system").count(), 10, "{text}");
    assert_eq!(world.mount().counters().of("write"), 0);
}

#[test]
fn a_second_mount_on_top_is_refused() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let handle = world.runtime.handle().clone();
    let second = Mount::start(world.workspace.clone(), world.mount().mountpoint(), &MountOptions::default(), handle);
    assert_eq!(second.err().map(|error| error.kind()), Some(Kind::Busy));
}

#[test]
fn the_mount_says_what_it_is() {
    if !can_mount() {
        return;
    }
    let world = World::with(&MountOptions { fs_name: "esker:test".into(), ..MountOptions::default() });
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let path = world.mount().mountpoint().display().to_string();
    let line = table.lines().find(|line| line.contains(&path)).unwrap();
    assert!(line.starts_with("esker:test "), "{line}");
    for word in ["fuse.esker", "nosuid", "nodev", "default_permissions"] {
        assert!(line.contains(word), "{line}");
    }
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(&path).unwrap().dev(), world.mount().device());
}

/// A file that lost its name stays readable, whatever is published meanwhile.
#[test]
fn unlinked_files_outlive_a_checkpoint() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    fs::write(world.path("file"), "still here").unwrap();
    world.checkpoint();
    let mut file = File::open(world.path("file")).unwrap();
    fs::remove_file(world.path("file")).unwrap();
    world.checkpoint();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "still here");
}
