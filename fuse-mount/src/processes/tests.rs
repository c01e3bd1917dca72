//! `/proc` is read as the kernel writes it.

use super::*;

#[test]
fn reads_a_line_of_maps() {
    let line = b"7f10aa000000-7f10aa021000 rw-s 00001000 00:2a 4711                       /mnt/a b/wal-shm (deleted)";
    let expected = Mapping {
        range: "7f10aa000000-7f10aa021000".into(),
        can_be_dirty: true,
        device: rustix::fs::makedev(0, 42),
        inode: 4711,
        path: "/mnt/a b/wal-shm (deleted)".into(),
    };
    assert_eq!(parse_mapping(line), Some(expected));
}

#[test]
fn only_shared_writable_mappings_can_be_dirty() {
    let private = b"7f-80 rw-p 00000000 00:2a 1 /x";
    let read_only = b"7f-80 r--s 00000000 00:2a 1 /x";
    assert!(!parse_mapping(private).unwrap().can_be_dirty);
    assert!(!parse_mapping(read_only).unwrap().can_be_dirty);
}

#[test]
fn passes_over_what_is_no_file() {
    assert_eq!(parse_mapping(b"7ffd-7ffe rw-p 00000000 00:00 0                          [stack]"), None);
    assert_eq!(parse_mapping(b""), None);
}

#[test]
fn finds_this_process_on_the_disk_it_runs_from() {
    let device = device_of(Path::new("/proc/self/exe")).unwrap();
    let me = user(std::process::id(), Path::new("/proc/self"), device).unwrap();
    assert_eq!(me.pid, std::process::id());
    assert!(!me.command.is_empty());
    let nowhere = rustix::fs::makedev(4095, 4095);
    assert_eq!(user(std::process::id(), Path::new("/proc/self"), nowhere), None);
}
