//! Options reach the kernel and the helper as they should, and refusals are explained.

use super::*;

#[test]
fn the_kernel_is_told_who_and_how() {
    let options = MountOptions { allow_other: true, ..MountOptions::default() };
    let data = mount_data(7, &options, Permissions::ByKernel).into_string().unwrap();
    assert!(data.starts_with("fd=7,rootmode=40000,user_id="), "{data}");
    assert!(data.contains(",max_read=1048576,default_permissions"), "{data}");
    assert!(data.ends_with(",allow_other"), "{data}");
    assert!(
        !mount_data(7, &MountOptions::default(), Permissions::ByKernel).into_string().unwrap().contains("allow_other")
    );
}

#[test]
fn the_helper_is_told_the_same() {
    let options = MountOptions { read_only: true, fs_name: "a\\b".into(), ..MountOptions::default() };
    let text = helper_options(&options, Permissions::ByKernel).into_string().unwrap();
    assert_eq!(text, "nosuid,nodev,max_read=1048576,subtype=esker,default_permissions,fsname=a\\\\b,ro");
}

#[test]
fn a_name_cannot_smuggle_options_in() {
    let options = MountOptions { fs_name: "esker,suid".into(), ..MountOptions::default() };
    assert_eq!(mount(Path::new("/nowhere"), &options, Permissions::ByKernel).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn refusals_of_the_helper_are_explained() {
    let said = "fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf";
    let error = helper_refused(Path::new("/m"), said);
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.context().contains("/etc/fuse.conf"));
    let error = helper_refused(Path::new("/m"), "fusermount3: failed to open /dev/fuse: Permission denied");
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.context().contains("may not open"));
    let error = helper_refused(Path::new("/m"), "fusermount3: fuse device not found, try 'modprobe fuse' first");
    assert_eq!(error.kind(), Kind::Unavailable);
}

#[test]
fn the_helper_mounts_and_unmounts() {
    if !can_mount() || Command::new(HELPER).arg("-V").output().is_err() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let device = mount_through_helper(folder.path(), &MountOptions::default(), Permissions::ByKernel).unwrap();
    assert!(crate::is_mounted(folder.path()));
    let top = crate::mountinfo::topmost(&folder.path().canonicalize().unwrap()).unwrap().unwrap();
    assert_eq!(top.kind, "fuse.esker");
    assert_eq!(top.device, device_of(folder.path()).unwrap());
    drop(device);
    unmount_through_helper(folder.path(), true).unwrap();
    assert!(!crate::is_mounted(folder.path()));
}

#[test]
fn unmounting_what_is_not_mounted_says_so() {
    let folder = tempfile::tempdir().unwrap();
    assert!(unmount(folder.path(), false).is_err());
}
