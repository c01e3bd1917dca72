//! The config object: golden bytes of both formats, keys that fit or are refused.

use std::sync::atomic::{AtomicU8, Ordering};

use super::*;

/// Bytes that are the same in each run: 1, 1, …, 2, 2, …
fn counting() -> Chance {
    let next = AtomicU8::new(1);
    Chance::new(move |bytes| {
        bytes.fill(next.fetch_add(1, Ordering::Relaxed));
        Ok(())
    })
}

fn operator() -> OperatorKey {
    OperatorKey::from_bytes([0x4f; 32])
}

fn config(operator: Option<&OperatorKey>) -> Config {
    Config::new(RepoId::from_bytes([0xee; 16]), operator, &counting()).unwrap()
}

fn text(config: &Config) -> String {
    String::from_utf8(config.to_bytes().unwrap().to_vec()).unwrap()
}

fn read(text: &str) -> Result<Config> {
    Config::parse(text.as_bytes(), "memory:///")
}

fn kind<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}

const FORMAT_0: &str = r#"{
  "format": 0,
  "repo": "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
  "tenant": "01010101010101010101010101010101",
  "id_key": {
    "wrapping": "none",
    "secret": "0202020202020202020202020202020202020202020202020202020202020202"
  }
}"#;

#[test]
fn golden_bytes() {
    insta::assert_snapshot!("config_1_plain", text(&config(None)));
    insta::assert_snapshot!("config_1_encrypted", text(&config(Some(&operator()))));
}

#[test]
fn format_0_is_read_as_a_repo_without_encryption() {
    let old = read(FORMAT_0).unwrap();
    let (old_keys, new_keys) = (old.keys(None).unwrap(), config(None).keys(None).unwrap());
    assert!(!old_keys.is_encrypted());
    assert_eq!(old_keys.tenant(), new_keys.tenant());
    assert_eq!(old_keys.id().chunk_id(b"x"), new_keys.id().chunk_id(b"x"));
    assert_eq!(kind(old.keys(Some(&operator()))), Some(Kind::Invalid));
    assert_eq!(kind(read(&FORMAT_0.replace("\"format\": 0", "\"format\": 2"))), Some(Kind::Unsupported));
}

#[test]
fn an_encrypted_repo_opens_with_its_key_alone() {
    let config = read(&text(&config(Some(&operator())))).unwrap();
    let keys = config.keys(Some(&operator())).unwrap();
    assert!(keys.is_encrypted());
    assert_eq!(keys.id().chunk_id(b"x"), IdKey::new(&[2; 32]).chunk_id(b"x"));
    let missing = config.keys(None).unwrap_err();
    assert_eq!(missing.kind(), Kind::Denied);
    assert!(missing.context().contains("--key-file") && missing.context().contains("ESKER_KEY"), "{missing}");
    let wrong = config.keys(Some(&OperatorKey::from_bytes([0x50; 32]))).unwrap_err();
    assert_eq!(wrong.kind(), Kind::Denied);
    assert!(wrong.context().contains("not the one of this repo"), "{wrong}");
}

/// Whoever can write to the bucket must not be able to choose the keys.
#[test]
fn changed_configs_are_refused() {
    let good = text(&config(Some(&operator())));
    let value: serde_json::Value = serde_json::from_str(&good).unwrap();
    let changed = |change: fn(&mut serde_json::Value)| {
        let mut value = value.clone();
        change(&mut value);
        kind(read(&value.to_string()).and_then(|config| config.keys(Some(&operator()))))
    };
    let plain = || serde_json::json!({"wrapping": "none", "secret": "02".repeat(32)});
    assert_eq!(changed(|_| ()), None);
    assert_eq!(changed(|value| value["data_keys"] = serde_json::json!([])), Some(Kind::Corrupt));
    assert_eq!(changed(|value| value["data_keys"][0]["number"] = 2.into()), Some(Kind::Corrupt));
    assert_eq!(changed(|value| value["data_keys"][0]["number"] = 0.into()), Some(Kind::Corrupt));
    assert_eq!(changed(|value| value["tenant"] = "02".repeat(16).into()), Some(Kind::Corrupt));
    assert_eq!(changed(|value| value["repo"] = "02".repeat(16).into()), Some(Kind::Corrupt));
    assert_eq!(changed(|value| value["key_check"] = "02".repeat(8).into()), Some(Kind::Denied));
    assert_eq!(changed(|value| value["key_check"] = serde_json::Value::Null), Some(Kind::Corrupt));
    assert_eq!(changed(|value| value["id_key"]["secret"] = "02".repeat(48).into()), Some(Kind::Corrupt));
    assert_eq!(changed(|value| value["id_key"]["wrapping"] = "rot13".into()), Some(Kind::Unsupported));
    let mut downgraded = value.clone();
    downgraded["id_key"] = plain();
    let downgraded = read(&downgraded.to_string()).unwrap();
    assert_eq!(kind(downgraded.keys(Some(&operator()))), Some(Kind::Invalid));
    assert_eq!(kind(downgraded.keys(None)), Some(Kind::Corrupt));
    let mut mixed = value.clone();
    mixed["data_keys"][0] = serde_json::json!({"number": 1, "wrapping": "none", "secret": "02".repeat(32)});
    assert_eq!(kind(read(&mixed.to_string()).unwrap().keys(Some(&operator()))), Some(Kind::Corrupt));
}
