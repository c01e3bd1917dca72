//! `--key-file` and `ESKER_KEY`: one flag encrypts a repo, a lost or wrong key is named, and the key itself is nowhere.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::world::{Run, World};

/// A world with a key file and a folder to import.
fn world() -> (World, PathBuf, PathBuf) {
    let world = World::new();
    let (key, source) = (world.path("the-key"), world.folder("source"));
    let said = world.command(["key", "new"]).arg(&key).run().ok();
    assert!(said.out.contains("the-key") && said.out.contains("copy"), "{said}");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!said.out.contains(text(&key).trim()), "the key itself is not printed");
    fs::write(source.join("marker-name"), "marker-text\n".repeat(500)).unwrap();
    (world, key, source)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn holding(folder: &Path, part: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, part));
        } else if fs::read(&path).is_ok_and(|bytes| bytes.windows(part.len()).any(|window| window == part)) {
            found.push(path);
        }
    }
    found
}

#[test]
fn one_flag_encrypts_and_the_path_is_remembered() {
    let (world, key, source) = world();
    world.command(["import"]).arg(&source).args(["--workspace", "marker-w", "--key-file"]).arg(&key).run().ok();
    assert_eq!(world.esker(["cat", "marker-w:marker-name"]).ok().out, "marker-text\n".repeat(500));
    world.esker(["shutdown"]).ok();
    // The next engine finds the key by what the data folder remembers.
    assert_eq!(world.esker(["cat", "marker-w:marker-name"]).ok().out, "marker-text\n".repeat(500));
    let doctor = world.command(["doctor", "--json"]).run();
    let finding = doctor.json()["findings"].as_array().unwrap().iter().find(|one| one["name"] == "encryption").cloned();
    assert!(finding.unwrap()["found"].as_str().unwrap().contains("on, with the key in"), "{doctor}");
    world.esker(["check", "--full"]).ok();
    world.esker(["shutdown"]).ok();
    assert_eq!(holding(&world.data().join("bucket"), b"marker"), Vec::<PathBuf>::new());
    assert_eq!(holding(&world.data(), text(&key).trim().as_bytes()), Vec::<PathBuf>::new(), "nor is the key anywhere");
}

#[test]
fn a_key_in_the_environment_does_as_well_and_is_not_written_down() {
    let (mut world, key, source) = world();
    let secret = text(&key).trim().to_owned();
    world.set("ESKER_KEY", &secret);
    world.command(["import"]).arg(&source).args(["--workspace", "w"]).run().ok();
    let info: serde_json::Value = serde_json::from_str(&text(&world.data().join("engine.json"))).unwrap();
    assert_eq!(info["encrypted"], true);
    let arguments = fs::read(format!("/proc/{}/cmdline", info["pid"])).unwrap();
    assert!(!String::from_utf8_lossy(&arguments).contains(&secret));
    let both = world.command(["workspace", "list", "--key-file"]).arg(&key).run().fails(2);
    assert!(both.err.contains("two keys") && !both.err.contains(&secret), "{both}");
    world.esker(["shutdown"]).ok();
    world.set("ESKER_KEY", "");
    let without = world.esker(["workspace", "list"]).fails(5);
    assert!(without.err.contains("--key-file"), "{without}");
    assert_eq!(holding(&world.data(), secret.as_bytes()), Vec::<PathBuf>::new());
}

#[test]
fn wrong_useless_and_readable_keys_are_refused_and_harm_nothing() {
    let (world, key, source) = world();
    let other = world.path("other-key");
    world.command(["key", "new"]).arg(&other).run().ok();
    assert!(world.command(["key", "new"]).arg(&other).run().fails(4).err.contains("exists"));
    world.command(["import"]).arg(&source).args(["--workspace", "w", "--key-file"]).arg(&key).run().ok();
    world.esker(["shutdown"]).ok();
    let wrong = world.command(["workspace", "list", "--key-file"]).arg(&other).run().fails(5);
    assert!(wrong.err.contains("not the one of this repo"), "{wrong}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let readable = world.esker(["workspace", "list"]).fails(5);
    assert!(readable.err.contains("chmod 600"), "{readable}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    world.esker(["check", "--full"]).ok();
    // A repo that is not encrypted, with and without a running engine.
    let plain = World::new();
    plain.esker(["workspace", "create", "w"]).ok();
    for _ in 0..2 {
        let useless = plain.command(["workspace", "list", "--key-file"]).arg(&key).run().fails(2);
        assert!(useless.err.contains("not encrypted"), "{useless}");
        plain.esker(["shutdown"]).ok();
    }
    plain.esker(["workspace", "list"]).ok();
}
