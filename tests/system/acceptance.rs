//! The main job, on real input: import thousands of real files, mount, work with git and cargo, snapshot, restore, fork.

use std::fs;
use std::path::Path;

use crate::world::{Mount, Run, World, crate_sources, same_tree};

#[test]
fn a_real_source_tree_is_the_same_through_the_mount_and_after_export() {
    let Some(world) = World::with_mounts() else { return };
    let (source, files) = crate_sources(&world, "source", 5_000);
    assert!(files >= 5_000 && fs::read_dir(&source).unwrap().count() >= 50, "{files} files are too few to mean much");
    world.command(["import"]).arg(&source).args(["--workspace", "w"]).run().ok();

    let mut mount = Mount::new(&world, "w", "m");
    same_tree(&source, &mount.dir);
    mount.unmount(&world);

    let exported = world.path("exported");
    world.command(["export", "w"]).arg(&exported).run().ok();
    same_tree(&source, &exported);

    // The same tree again changes nothing, and the mount sees the same inode numbers.
    let before = world.esker(["log", "w", "--json"]).ok().out;
    world.command(["import"]).arg(&source).args(["--workspace", "w"]).run().ok();
    let after = world.esker(["log", "w", "--json"]).ok().out;
    println!("log before {} bytes, after the second import {} bytes", before.len(), after.len());
    same_tree(&source, &Mount::new(&world, "w", "m").dir);
    world.esker(["check", "--full"]).ok();
}

#[test]
fn git_works_inside_and_is_whole_after_remount() {
    let Some(world) = World::with_mounts() else { return };
    let (source, _) = crate_sources(&world, "source", 1_500);
    world.esker(["workspace", "create", "w"]).ok();
    let mut mount = Mount::new(&world, "w", "m");
    world.program("cp").arg("-a").arg(&source).arg(mount.path("repo")).run().ok();
    let git = |arguments: &[&str]| world.program("git").current_dir(mount_repo(&world)).args(arguments).run();

    git(&["init", "-q"]).ok();
    git(&["add", "-A"]).ok();
    git(&["commit", "-q", "-m", "everything"]).ok();
    assert_eq!(git(&["status", "--porcelain"]).ok().out, "", "nothing changed since the commit");
    git(&["gc", "-q"]).ok();
    git(&["fsck", "--full", "--strict"]).ok();

    mount.unmount(&world);
    mount.start(&world);
    let git = |arguments: &[&str]| world.program("git").current_dir(mount_repo(&world)).args(arguments).run();
    git(&["fsck", "--full"]).ok();
    assert_eq!(git(&["status", "--porcelain"]).ok().out, "", "times and inode numbers survive a remount");
    let clone = world.path("clone");
    world.program("git").args(["clone", "-q"]).arg(mount_repo(&world)).arg(&clone).run().ok();
    drop(mount);
    world.esker(["check", "--full"]).ok();
}

fn mount_repo(world: &World) -> std::path::PathBuf {
    world.path("m/repo")
}

/// A crate without dependencies: builds anywhere, offline.
pub(crate) fn write_small_crate(folder: &Path) {
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(
        folder.join("Cargo.toml"),
        "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n",
    )
    .unwrap();
    let library = "pub fn twice(n: u64) -> u64 { n * 2 }\n#[test]\nfn doubles() { assert_eq!(twice(21), 42); }\n";
    fs::write(folder.join("src/lib.rs"), library).unwrap();
    fs::write(folder.join("src/main.rs"), "fn main() { println!(\"{}\", small::twice(21)); }\n").unwrap();
}

#[test]
fn cargo_builds_inside_and_has_nothing_to_do_after_remount() {
    let Some(world) = World::with_mounts() else { return };
    world.esker(["workspace", "create", "w"]).ok();
    let mut mount = Mount::new(&world, "w", "m");
    let folder = mount.path("small");
    write_small_crate(&folder);
    let cargo = |arguments: &[&str]| world.program("cargo").current_dir(world.path("m/small")).args(arguments).run();
    cargo(&["build", "--offline"]).ok();
    assert_eq!(cargo(&["run", "--offline", "-q"]).ok().out, "42\n");
    cargo(&["test", "--offline", "-q"]).ok();

    mount.unmount(&world);
    mount.start(&world);
    let again = cargo(&["build", "--offline"]).ok();
    assert!(!again.err.contains("Compiling"), "times survive a remount, so nothing is built again: {again}");
}

#[test]
fn snapshots_restore_and_fork() {
    let Some(world) = World::with_mounts() else { return };
    let (source, _) = crate_sources(&world, "source", 500);
    world.command(["import"]).arg(&source).args(["--workspace", "w"]).run().ok();
    let mount = Mount::new(&world, "w", "m");
    let first = world.checkpoint("w", "as imported");

    fs::write(mount.path("new file"), "new\n").unwrap();
    let victim = fs::read_dir(&mount.dir).unwrap().flatten().find(|entry| entry.path().is_dir()).unwrap();
    fs::remove_dir_all(victim.path()).unwrap();
    let second = world.checkpoint("w", "one crate less");
    assert_ne!(first, second);
    let log = world.esker(["log", "w"]).ok().out;
    assert!(log.contains("as imported") && log.contains("one crate less"), "{log}");
    let difference = world.esker(["diff", &format!("w@{first}"), &format!("w@{second}")]).ok().out;
    assert!(difference.contains("new file"), "{difference}");

    // A fork of the older state is whole and writable, and leaves the original alone.
    world.esker(["fork", &format!("w@{first}"), "f"]).ok();
    let fork = Mount::new(&world, "f", "f");
    same_tree(&source, &fork.dir);
    fs::write(fork.path("only in the fork"), "x").unwrap();
    assert!(!mount.path("only in the fork").exists());

    // Restore under a live mount: the mount shows the old state, and the newer one is still in the log.
    world.esker(["restore", "w", &first]).ok();
    same_tree(&source, &mount.dir);
    assert!(!mount.path("new file").exists());
    assert_eq!(world.esker(["cat", &format!("w@{second}:new file")]).ok().out, "new\n");
    drop((mount, fork));
    world.esker(["check", "--full"]).ok();
}
