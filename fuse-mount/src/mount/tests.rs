//! What a barrier needs of a mount: mapped pages reach the workspace, however slow writes are.

#![allow(clippy::undocumented_unsafe_blocks, reason = "mappings of this test's own files")]

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use vfs_core::object::Ino;
use vfs_core::workspace::Stop;

use super::*;
use crate::device;

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../../tests/world/base.rs"]
mod base;

const PAGES: usize = 256;
const LENGTH: usize = PAGES * 4096;

struct World {
    mount: Mount,
    workspace: Arc<Workspace>,
    _runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Option<World> {
        if !device::can_mount() {
            return None;
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mountpoint = folder.path().join("mnt");
        std::fs::create_dir(&mountpoint).unwrap();
        let workspace = runtime
            .block_on(async { base::MemoryBase::new().await.unwrap().open(&folder.path().join("holder")).await })
            .unwrap();
        let options = MountOptions::default();
        let mount = Mount::start(workspace.clone(), &mountpoint, &options, runtime.handle().clone()).unwrap();
        Some(World { mount, workspace, _runtime: runtime, _folder: folder })
    }

    /// What the workspace holds, the kernel's pages left aside.
    fn content(&self, ino: Ino) -> Vec<u8> {
        match self.workspace.read(ino, 0, LENGTH) {
            Ok(bytes) => bytes.to_vec(),
            Err(Stop::Failed(error)) => panic!("{error}"),
            Err(Stop::Miss(miss)) => panic!("{miss:?}"),
        }
    }
}

/// A shared writable mapping; unmapped when dropped.
struct Mapping(*mut u8);

impl Mapping {
    fn new(file: &File) -> Mapping {
        use std::os::fd::AsRawFd;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let address =
            unsafe { libc::mmap(std::ptr::null_mut(), LENGTH, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        assert_ne!(address, libc::MAP_FAILED);
        Mapping(address.cast())
    }

    fn fill(&mut self, byte: u8) {
        unsafe { std::ptr::write_bytes(self.0, byte, LENGTH) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        unsafe { libc::munmap(self.0.cast(), LENGTH) };
    }
}

fn new_file(world: &World, name: &str) -> (File, Ino) {
    let path = world.mount.mountpoint().join(name);
    let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
    file.set_len(LENGTH as u64).unwrap();
    let ino = Ino(file.metadata().unwrap().ino());
    (file, ino)
}

#[test]
fn mapped_pages_reach_the_workspace_however_slow_writes_are() {
    let Some(world) = World::new() else { return };
    let (file, ino) = new_file(&world, "mapped");
    let (unnamed, unnamed_ino) = new_file(&world, "unnamed");
    let (mut mapping, mut other) = (Mapping::new(&file), Mapping::new(&unnamed));
    std::fs::remove_file(world.mount.mountpoint().join("unnamed")).unwrap();
    drop((file, unnamed));
    mapping.fill(7);
    other.fill(8);
    *world.mount.core.write_delay.lock() = Duration::from_millis(5);
    assert!(
        world.content(ino).contains(&0),
        "without the barrier some pages must be missing, or this test shows nothing"
    );

    world.mount.flush_mapped().unwrap();
    assert!(world.content(ino).iter().all(|&byte| byte == 7));
    assert!(world.content(unnamed_ino).iter().all(|&byte| byte == 8), "a file without a name");
}

/// FUSE.md: the invalidation alone would write 256 pages one by one.
#[test]
fn an_invalidation_keeps_what_was_mapped_and_written() {
    let Some(world) = World::new() else { return };
    let (file, ino) = new_file(&world, "mapped");
    let mut mapping = Mapping::new(&file);
    mapping.fill(9);
    *world.mount.core.write_delay.lock() = Duration::from_millis(5);
    let before = world.mount.counters().of("write");
    world.mount.invalidate(vec![Invalidation::Inode(ino)]);
    world.mount.settle();
    assert!(world.content(ino).iter().all(|&byte| byte == 9));
    let writes = world.mount.counters().of("write") - before;
    assert!(writes <= 16, "{writes} writes for {PAGES} pages");
}

#[test]
fn fsync_waits_for_the_journal() {
    let Some(world) = World::new() else { return };
    let (file, _) = new_file(&world, "file");
    for _ in 0..20 {
        use std::os::unix::fs::FileExt;
        file.write_all_at(&[1; 5000], 0).unwrap();
        file.sync_all().unwrap();
        assert_eq!(world.workspace.status().unsynced_bytes, 0);
    }
    assert_eq!(world.mount.counters().of("fsync"), 20);
}
