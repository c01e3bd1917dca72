//! The table of mounts is read as the kernel writes it.

use std::os::unix::ffi::OsStrExt;

use super::*;

const TABLE: &[u8] = b"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
36 22 0:32 / /mnt/two\\040words\\134n rw,nosuid,nodev shared:9 master:3 - fuse.esker esker rw,user_id=0\n\
37 36 0:33 / /mnt/two\\040words\\134n rw - tmpfs tmpfs rw\n\
broken line\n";

#[test]
fn reads_devices_paths_and_types() {
    let mounts = parse(TABLE);
    assert_eq!(mounts.len(), 3);
    assert_eq!(mounts[0].device, rustix::fs::makedev(254, 0));
    assert_eq!(mounts[1].mountpoint.as_os_str().as_bytes(), b"/mnt/two words\\n");
    assert_eq!(mounts[1].kind, "fuse.esker");
    assert_eq!(mounts[2].kind, "tmpfs");
}

#[test]
fn undoes_octal_escapes_and_nothing_else() {
    assert_eq!(unescape(b"a\\040b\\011c\\012d\\134e\\043"), b"a b\tc\nd\\e#");
    assert_eq!(unescape(b"\\04"), b"\\04");
    assert_eq!(unescape(b"\\999 \\400"), b"\\999 \\400");
}

#[test]
fn devices_of_maps_are_hexadecimal() {
    assert_eq!(parse_device("00:2a", 16), Some(rustix::fs::makedev(0, 42)));
    assert_eq!(parse_device("0:42", 10), Some(rustix::fs::makedev(0, 42)));
    assert_eq!(parse_device("nonsense", 10), None);
}

#[test]
fn knows_what_is_mounted() {
    assert!(is_mounted(Path::new("/proc")));
    let folder = tempfile::tempdir().unwrap();
    assert!(!is_mounted(folder.path()));
    assert!(!is_mounted(&folder.path().join("absent")));
}

#[test]
fn a_mount_point_is_an_empty_free_directory() {
    let folder = tempfile::tempdir().unwrap();
    check_mountpoint(folder.path()).unwrap();
    assert_eq!(check_mountpoint(&folder.path().join("absent")).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(check_mountpoint(Path::new("/proc")).unwrap_err().kind(), Kind::Busy);
    std::fs::write(folder.path().join("file"), "").unwrap();
    assert_eq!(check_mountpoint(folder.path()).unwrap_err().kind(), Kind::NotEmpty);
    assert_eq!(check_mountpoint(&folder.path().join("file")).unwrap_err().kind(), Kind::NotADirectory);
}

#[test]
fn a_living_mount_is_not_cleared() {
    assert!(!clear_dead_mount(Path::new("/proc")).unwrap());
    let folder = tempfile::tempdir().unwrap();
    assert!(!clear_dead_mount(folder.path()).unwrap());
}

/// A mount whose daemon never was: the descriptor is closed right away, as a killed daemon's is.
#[test]
fn a_dead_mount_is_cleared() {
    if !crate::device::can_mount() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let options = crate::MountOptions::default();
    drop(crate::device::mount(folder.path(), &options, crate::device::Permissions::ByKernel).unwrap());
    assert!(is_mounted(folder.path()));
    assert_eq!(check_mountpoint(folder.path()).unwrap_err().kind(), Kind::Busy);
    assert!(clear_dead_mount(folder.path()).unwrap());
    assert!(!is_mounted(folder.path()));
    assert!(!clear_dead_mount(folder.path()).unwrap());
}
