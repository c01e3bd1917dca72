//! The maps are right at their edges.

use super::*;

/// What fuser 0.18 makes of the kernel's numbers (`system_time_from_time` in its `time.rs`).
fn as_fuser_reads(seconds: i64, nanos: u32) -> SystemTime {
    if seconds >= 0 {
        UNIX_EPOCH + Duration::new(seconds as u64, nanos)
    } else {
        UNIX_EPOCH - Duration::new((-seconds) as u64, nanos)
    }
}

#[test]
fn times_come_back_as_they_went_also_before_1970() {
    for (seconds, nanos) in
        [(0, 0), (0, 1), (1_700_000_000, 999_999_999), (-1, 500_000_000), (-1, 0), (-2, 1), (-10_000_000_000, 7)]
    {
        let time = Time { seconds, nanos };
        assert_eq!(from_fuser(as_fuser_reads(seconds, nanos)), time);
        assert_eq!(Time::from(to_system(time)), time);
    }
}

#[test]
fn absurd_times_do_not_panic() {
    to_system(Time { seconds: i64::MAX, nanos: 999_999_999 });
    to_system(Time { seconds: i64::MIN, nanos: 0 });
}

#[test]
fn kinds_of_mknod() {
    assert_eq!(kind_of_mode(0o644), Some(FileKind::File));
    assert_eq!(kind_of_mode(0o100_644), Some(FileKind::File));
    assert_eq!(kind_of_mode(0o010_600), Some(FileKind::Fifo));
    assert_eq!(kind_of_mode(0o140_600), Some(FileKind::Socket));
    assert_eq!(kind_of_mode(0o020_600), Some(FileKind::CharDevice));
    assert_eq!(kind_of_mode(0o060_600), Some(FileKind::BlockDevice));
    assert_eq!(kind_of_mode(0o040_755), None);
    assert_eq!(permissions(0o106_755), 0o6755);
}

#[test]
fn flags_that_are_not_offered_are_refused() {
    assert_eq!(rename_mode(RenameFlags::empty()), Some(RenameMode::Replace));
    assert_eq!(rename_mode(RenameFlags::RENAME_NOREPLACE), Some(RenameMode::NoReplace));
    assert_eq!(rename_mode(RenameFlags::RENAME_EXCHANGE), Some(RenameMode::Exchange));
    assert_eq!(rename_mode(RenameFlags::RENAME_WHITEOUT), None);
    assert_eq!(rename_mode(RenameFlags::RENAME_EXCHANGE | RenameFlags::RENAME_NOREPLACE), None);

    assert_eq!(allocate(0), Some(Allocate::Reserve { keep_size: false }));
    assert_eq!(allocate(1), Some(Allocate::Reserve { keep_size: true }));
    assert_eq!(allocate(3), Some(Allocate::PunchHole));
    assert_eq!(allocate(2), None, "a hole without KEEP_SIZE is invalid");
    assert_eq!(allocate(0x10), Some(Allocate::ZeroRange { keep_size: false }));
    assert_eq!(allocate(0x11), Some(Allocate::ZeroRange { keep_size: true }));
    assert_eq!(allocate(0x08), None, "collapse");
    assert_eq!(allocate(0x20), None, "insert");

    assert_eq!(set_xattr(1), Some(SetXattr::Create));
    assert_eq!(set_xattr(2), Some(SetXattr::Replace));
    assert_eq!(set_xattr(3), None);
    assert_eq!(seek(3), Some(Seek::Data));
    assert_eq!(seek(0), None);
}

#[test]
fn an_owner_covers_all_others() {
    let time = Time::default();
    let inner = Attr {
        ino: Ino(7),
        kind: FileKind::File,
        mode: 0o4755,
        uid: 1,
        gid: 2,
        rdev: 0,
        size: 3,
        blocks: 8,
        nlink: 1,
        atime: time,
        mtime: time,
        ctime: time,
    };
    assert_eq!((attr(&inner, None).uid, attr(&inner, None).gid), (1, 2));
    assert_eq!((attr(&inner, Some((1000, 100))).uid, attr(&inner, Some((1000, 100))).gid), (1000, 100));
    assert_eq!(attr(&inner, None).perm, 0o4755);
}
