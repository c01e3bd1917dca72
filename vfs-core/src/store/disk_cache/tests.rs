//! The disk cache under attack: nothing here is trusted, bounded is bounded, and it never hurts that it is broken.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::*;
use crate::error::Kind;

const MIB: usize = 1024 * 1024;

fn pack(number: u32) -> PackId {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    PackId::from_bytes(bytes)
}

/// What the files of a cache really take.
fn taken(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    files.map(|file| file.metadata().unwrap().blocks() * 512).sum()
}

fn file_of(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{}.pack", pack(number).to_hex()))
}

#[test]
fn what_was_written_is_read_also_by_the_next_engine() {
    let folder = tempfile::tempdir().unwrap();
    let cache = DiskCache::open(folder.path(), 64 * MIB as u64).unwrap();
    cache.write(pack(1), 100_000, &[7; 50_000]);
    assert_eq!(cache.read(pack(1), 100_000..150_000).unwrap(), vec![7; 50_000]);
    assert!(cache.read(pack(1), 99_999..100_001).is_none());
    assert!(cache.read(pack(1), 149_999..150_001).is_none());
    assert!(cache.read(pack(2), 0..1).is_none());
    cache.forget(pack(1), &(120_000..121_000));
    assert!(cache.read(pack(1), 100_000..150_000).is_none());
    assert!(cache.read(pack(1), 100_000..120_000).is_some() && cache.read(pack(1), 121_000..150_000).is_some());
    drop(cache);
    let cache = DiskCache::open(folder.path(), 64 * MIB as u64).unwrap();
    assert_eq!(cache.read(pack(1), 100_000..150_000).unwrap(), vec![7; 50_000]);
    assert!(cache.read(pack(1), 0..4096).is_none(), "a hole is not content");
    assert_eq!(cache.statistics().packs, 1);
}

#[test]
fn two_engines_never_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let cache = DiskCache::open(folder.path(), 1 << 20).unwrap();
    assert_eq!(DiskCache::open(folder.path(), 1 << 20).err().unwrap().kind(), Kind::Busy);
    drop(cache);
    DiskCache::open(folder.path(), 1 << 20).unwrap();
}

#[test]
fn the_bound_holds_under_load_and_the_least_used_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let limit = 8 * MIB as u64;
    let cache = Arc::new(DiskCache::open(folder.path(), limit).unwrap());
    let writers: Vec<_> = (0..8u32)
        .map(|writer| {
            let cache = cache.clone();
            std::thread::spawn(move || {
                for round in 0..60u32 {
                    let number = (writer * 7 + round * 13) % 40;
                    cache.write(pack(number), u64::from(round) * 300_001, &vec![1; 300_000]);
                    cache.read(pack(number), 0..10);
                    assert!(cache.statistics().bytes <= limit);
                    cache.forget(pack(number), &(0..1 << 40));
                }
            })
        })
        .collect();
    while writers.iter().any(|writer| !writer.is_finished()) {
        // Files of evicted packs are unlinked under the lock, before new ones grow.
        let _state = cache.state.lock();
        assert!(taken(folder.path()) <= limit + 64 * 1024, "{}", taken(folder.path()));
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let cache = DiskCache::open(&folder.path().join("lru"), 3 * MIB as u64).unwrap();
    (1..=3).for_each(|number| cache.write(pack(number), 0, &vec![1; MIB]));
    cache.read(pack(1), 0..10).unwrap();
    cache.write(pack(4), 0, &vec![1; MIB]);
    let there: Vec<u32> = (1..=4).filter(|&number| cache.holds(pack(number), &(0..10))).collect();
    assert_eq!(there, [1, 3, 4]);
    cache.write(pack(5), 0, &vec![1; 4 * MIB]);
    assert!(!cache.holds(pack(5), &(0..10)), "larger than the whole cache");
    drop(cache);
    let smaller = DiskCache::open(&folder.path().join("lru"), MIB as u64).unwrap();
    assert!(smaller.statistics().bytes <= MIB as u64);
    assert!(taken(&folder.path().join("lru")) <= MIB as u64);
}

#[test]
fn open_files_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let cache = DiskCache::open(folder.path(), 64 * MIB as u64).unwrap();
    for number in 0..CACHE_FILES_OPEN_MAX as u32 * 3 {
        cache.write(pack(number), 0, &[number as u8; 5000]);
        assert!(cache.open_files() <= CACHE_FILES_OPEN_MAX);
    }
    for number in 0..CACHE_FILES_OPEN_MAX as u32 * 3 {
        assert_eq!(cache.read(pack(number), 0..5000).unwrap(), vec![number as u8; 5000]);
    }
    let open = std::fs::read_dir("/proc/self/fd").unwrap().filter(|entry| {
        let target = std::fs::read_link(entry.as_ref().unwrap().path());
        target.is_ok_and(|target| target.starts_with(folder.path()) && target.extension().is_some())
    });
    assert!(open.count() <= CACHE_FILES_OPEN_MAX);
}

#[test]
fn a_folder_that_is_removed_or_replaced_ends_the_caching() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = DiskCache::open(&path, 64 * MIB as u64).unwrap();
    cache.write(pack(1), 0, &[1; 5000]);
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    for number in 1..10 {
        cache.write(pack(number), 10_000, &[1; 5000]);
        cache.read(pack(number), 0..5000);
    }
    assert!(cache.statistics().stopped);
    assert_eq!((cache.statistics().bytes, cache.statistics().packs), (0, 0));
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0, "nothing goes to whatever stands there now");
}

#[test]
fn files_that_are_cut_off_or_removed_are_misses() {
    let folder = tempfile::tempdir().unwrap();
    let cache = DiskCache::open(folder.path(), 64 * MIB as u64).unwrap();
    cache.write(pack(1), 0, &[1; 50_000]);
    std::fs::OpenOptions::new().write(true).open(file_of(folder.path(), 1)).unwrap().set_len(100).unwrap();
    assert!(cache.read(pack(1), 0..5000).is_none());
    assert_eq!(cache.statistics().packs, 0);
    cache.write(pack(1), 0, &[2; 5000]);
    assert_eq!(cache.read(pack(1), 0..5000).unwrap(), vec![2; 5000]);
    assert!(!cache.statistics().stopped);
}

#[test]
fn what_is_no_cached_pack_is_left_alone_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notes"), b"mine").unwrap();
    let outside = folder.path().join("outside");
    std::fs::write(&outside, b"not to be touched").unwrap();
    std::os::unix::fs::symlink(&outside, file_of(folder.path(), 1)).unwrap();
    let cache = DiskCache::open(folder.path(), 64 * MIB as u64).unwrap();
    cache.write(pack(1), 0, &[1; 5000]);
    assert_eq!(std::fs::read(&outside).unwrap(), b"not to be touched");
    assert_eq!(std::fs::read(folder.path().join("notes")).unwrap(), b"mine");
}

#[test]
fn a_full_disk_ends_the_caching_and_gets_its_room_back() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(folder.path())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        eprintln!("not tested: only root may mount a small disk");
        return;
    }
    let cache = DiskCache::open(folder.path(), 64 * MIB as u64).unwrap();
    for number in 0..20 {
        cache.write(pack(number), 0, &vec![number as u8; 100_000]);
    }
    let (statistics, left) = (cache.statistics(), taken(folder.path()));
    let read = cache.read(pack(1), 0..10);
    drop(cache);
    let unmounted = std::process::Command::new("umount").arg(folder.path()).status().unwrap();
    assert!(unmounted.success());
    assert!(statistics.stopped);
    assert_eq!((statistics.bytes, left, read), (0, 0, None));
}
