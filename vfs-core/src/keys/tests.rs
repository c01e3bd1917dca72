//! Keys: parsed strictly, wrapped for one place only, sealing bound to name and key, nothing in debug output.

use std::os::unix::fs::PermissionsExt;

use bytes::Bytes;

use super::*;
use crate::error::Kind;
use crate::id::{IdKey, RepoId, TenantId};

const TENANT: TenantId = TenantId::from_bytes([7; 16]);

fn operator() -> OperatorKey {
    OperatorKey::from_bytes([0x4f; 32])
}

fn place(number: u32) -> WrapPlace {
    WrapPlace { repo: RepoId::from_bytes([1; 16]), tenant: TENANT, purpose: "data key", number }
}

fn sealing_keys() -> TenantKeys {
    TenantKeys::new(TENANT, IdKey::golden(), vec![DataKey::new(1, [0x4b; 32])])
}

#[test]
fn a_key_is_64_hexadecimal_digits() {
    let text = "4f".repeat(32);
    assert_eq!(OperatorKey::parse(&format!(" {text}\n")).unwrap().check(), operator().check());
    for wrong in ["", "4f", &text[1..], &format!("{text}4f"), &text.replace('f', "g")] {
        let error = OperatorKey::parse(wrong).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(wrong.is_empty() || !error.chain().contains(wrong), "an error does not repeat the key");
    }
}

#[test]
fn key_files_are_private_new_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    operator().write_new_file(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(OperatorKey::from_file(&path).unwrap().check(), operator().check());
    assert_eq!(operator().write_new_file(&path).unwrap_err().kind(), Kind::AlreadyExists);
    for mode in [0o640, 0o604, 0o620] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = OperatorKey::from_file(&path).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        assert!(error.context().contains("chmod 600"), "{error}");
    }
    assert_eq!(OperatorKey::from_file(&folder.path().join("none")).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(OperatorKey::from_file(folder.path()).unwrap_err().kind(), Kind::Invalid);
    let long = folder.path().join("long");
    std::fs::write(&long, "4f".repeat(1000)).unwrap();
    std::fs::set_permissions(&long, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(OperatorKey::from_file(&long).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn a_wrapped_key_opens_in_its_place_only() {
    let secret = Secret::new([9; 32]);
    let wrapped = operator().wrap(&place(1), &secret, [3; 12]).unwrap();
    assert_eq!(operator().unwrap(&place(1), &wrapped).unwrap().bytes(), secret.bytes());
    let other = OperatorKey::from_bytes([0x50; 32]);
    assert!(other.unwrap(&place(1), &wrapped).is_none());
    let places = [
        place(2),
        WrapPlace { purpose: "id key", ..place(1) },
        WrapPlace { repo: RepoId::from_bytes([2; 16]), ..place(1) },
        WrapPlace { tenant: TenantId::from_bytes([8; 16]), ..place(1) },
    ];
    assert!(places.iter().all(|place| operator().unwrap(place, &wrapped).is_none()));
    for at in 0..wrapped.sealed.len() {
        let mut changed = wrapped;
        changed.sealed[at] ^= 1;
        assert!(operator().unwrap(&place(1), &changed).is_none());
    }
}

#[test]
fn a_sealed_object_opens_under_its_name_only() {
    let (keys, plain) = (sealing_keys(), b"{\"name\":\"secret\"}");
    let sealed = keys.seal_object("t/a", plain, [5; 32]).unwrap();
    assert!(!sealed.windows(6).any(|window| window == b"secret"));
    assert_eq!(keys.open_object("t/a", &sealed).unwrap(), &plain[..]);
    assert_eq!(keys.open_object("t/b", &sealed).unwrap_err().kind(), Kind::Corrupt);
    for at in 0..sealed.len() {
        let mut changed = sealed.to_vec();
        changed[at] ^= 0x10;
        let kind = keys.open_object("t/a", &changed.into()).unwrap_err().kind();
        let expected = match at {
            8..12 => Kind::Denied,
            _ => Kind::Corrupt,
        };
        assert_eq!(kind, expected, "byte {at}");
        assert_eq!(keys.open_object("t/a", &sealed.slice(..at)).unwrap_err().kind(), Kind::Corrupt, "cut at {at}");
    }
    // A newer way looks different behind its number too.
    let newer = [b"ESKSEAL\x02", &sealed[9..]].concat();
    assert_eq!(keys.open_object("t/a", &newer.into()).unwrap_err().kind(), Kind::Unsupported);
}

#[test]
fn a_repo_without_encryption_seals_nothing_and_an_encrypted_one_takes_nothing_plain() {
    let plain_keys = TenantKeys::plain(TENANT, IdKey::golden());
    let plain = Bytes::from_static(b"{}");
    assert_eq!(plain_keys.seal_object("n", &plain, [5; 32]).unwrap(), plain);
    assert_eq!(plain_keys.open_object("n", &plain).unwrap(), plain);
    assert_eq!(sealing_keys().open_object("n", &plain).unwrap_err().kind(), Kind::Corrupt);
    let sealed = sealing_keys().seal_object("n", &plain, [5; 32]).unwrap();
    assert_eq!(plain_keys.open_object("n", &sealed).unwrap_err().kind(), Kind::Denied);
}

#[test]
fn debug_output_tells_nothing() {
    let keys = sealing_keys();
    let pack = crate::id::PackId::from_bytes([1; 32]);
    let said = format!("{:?} {:?} {:?} {:?}", operator(), keys, keys.for_new_pack(pack), DataKey::new(1, [0x4b; 32]));
    for secret in ["4f4f", "4b4b", "79, 79", "75, 75", "OOOO", "KKKK"] {
        assert!(!said.contains(secret), "{said}");
    }
}
