//! The rules of `fs/posix_acl.c`.

use super::*;

fn acl(entries: &[(u16, u16)]) -> Acl {
    Acl(entries.iter().map(|&(tag, permissions)| Entry { tag, permissions, id: u32::MAX }).collect())
}

fn extended() -> Acl {
    acl(&[(USER_OBJ, 7), (USER, 6), (GROUP_OBJ, 5), (MASK, 6), (OTHER, 4)])
}

#[test]
fn bytes_are_the_kernels() {
    let bytes = extended().encode();
    assert_eq!(bytes[..12], [2, 0, 0, 0, 1, 0, 7, 0, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(Acl::decode(&bytes), Some(extended()));
}

#[test]
fn nonsense_is_refused() {
    assert_eq!(Acl::decode(b""), None);
    assert_eq!(Acl::decode(&[1, 0, 0, 0]), None, "another version");
    assert_eq!(Acl::decode(&[2, 0, 0, 0]), None, "no entries");
    assert_eq!(Acl::decode(&extended().encode()[..20]), None, "cut");
    assert_eq!(Acl::decode(&acl(&[(USER_OBJ, 7), (GROUP_OBJ, 5)]).encode()), None, "no entry for others");
    assert_eq!(
        Acl::decode(&acl(&[(USER_OBJ, 7), (GROUP_OBJ, 5), (OTHER, 0), (0x40, 1)]).encode()),
        None,
        "unknown tag"
    );
}

#[test]
fn the_group_bits_show_the_mask() {
    assert_eq!(extended().mode(), 0o764);
    assert_eq!(acl(&[(USER_OBJ, 6), (GROUP_OBJ, 4), (OTHER, 0)]).mode(), 0o640);
}

#[test]
fn chmod_changes_the_mask_and_leaves_the_group() {
    let mut list = extended();
    list.chmod(0o600);
    assert_eq!(list, acl(&[(USER_OBJ, 6), (USER, 6), (GROUP_OBJ, 5), (MASK, 0), (OTHER, 0)]));
    let mut plain = acl(&[(USER_OBJ, 6), (GROUP_OBJ, 4), (OTHER, 0)]);
    plain.chmod(0o755);
    assert_eq!(plain.mode(), 0o755);
    assert!(!plain.is_extended());
}

#[test]
fn what_is_handed_down_grants_no_more_than_was_asked_for() {
    let mut list = extended();
    list.narrow(0o640);
    assert_eq!(list, acl(&[(USER_OBJ, 6), (USER, 6), (GROUP_OBJ, 5), (MASK, 4), (OTHER, 0)]));
    assert_eq!(list.mode(), 0o640);
    let mut list = extended();
    list.narrow(0o777);
    assert_eq!(list, extended());
}
