//! Repair and rebuild, from outside: damage is found, undone as far as possible, and the database is made anew.

use std::fs;

use crate::world::{Run, World};

/// A byte of the largest pack changes; the mode stays.
fn damage(world: &World) {
    use std::os::unix::fs::PermissionsExt;
    let mut packs = crate::damage::packs(world);
    packs.sort_by_key(|pack| fs::metadata(pack).unwrap().len());
    let pack = packs.pop().unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    bytes[100] ^= 4;
    fs::set_permissions(&pack, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&pack, bytes).unwrap();
}

#[test]
fn a_lost_file_is_named_and_everything_else_goes_on() {
    let world = World::new();
    let source = world.folder("source");
    fs::create_dir(source.join("folder")).unwrap();
    let noise: Vec<u8> = (0..40_000u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(source.join("folder/victim"), &noise).unwrap();
    fs::write(source.join("folder/other"), "inline").unwrap();
    world.command(["import"]).arg(&source).args(["--workspace", "w"]).run().ok();
    world.esker(["check", "--full"]).ok();
    assert!(world.esker(["repair"]).ok().out.contains("nothing to repair"));
    damage(&world);
    let found = world.esker(["check", "--full"]).fails(7);
    assert!(found.out.contains("folder/victim"), "{found}");
    let planned = world.esker(["repair", "--dry-run", "--json"]).ok().json();
    world.esker(["check", "--full"]).fails(7);
    let done = world.esker(["repair", "--json"]).ok().json();
    assert_eq!(planned["lost"], done["lost"]);
    let lost = done["lost"].as_array().unwrap();
    assert!(lost.iter().all(|lost| lost["path"] == "/folder/victim"), "{done}");
    world.esker(["check", "--full"]).ok();
    assert_eq!(world.esker(["cat", "w:folder/other"]).ok().out, "inline");
    world.esker(["cat", "w:folder/victim"]).fails(3);
    assert_eq!(world.esker(["repair", "--json"]).ok().json()["idle"], true);
}

#[test]
fn a_database_is_rebuilt_and_the_old_one_refused() {
    let world = World::new();
    let source = world.folder("source");
    fs::write(source.join("file"), "content").unwrap();
    world.command(["import"]).arg(&source).args(["--workspace", "w"]).run().ok();
    world.esker(["shutdown"]).ok();
    let bucket = format!("file://{}/bucket", world.data().display());
    let new = world.path("new");
    let rebuild = || world.command(["rebuild", "--bucket", &bucket, "--data"]).arg(&new).run();
    let told = rebuild().ok();
    assert!(told.out.contains("workspace: w at"), "{told}");
    rebuild().fails(4);
    assert_eq!(world.command(["cat", "w:file", "--data"]).arg(&new).run().ok().out, "content");
    world.command(["check", "--full", "--data"]).arg(&new).run().ok();
    world.command(["shutdown", "--data"]).arg(&new).run().ok();
    let old = world.esker(["log", "w"]);
    assert_ne!(old.code, 0, "{old}");
    assert!(old.err.contains("taken over") || world.logs().contains("taken over"), "{old}");
}
