//! Many commands at once on one data folder: one engine, no lost work, no half-made state.

use std::fs;
use std::thread;

use crate::world::{Mount, Run, World};

const CLIENTS: usize = 8;

#[test]
fn commands_that_start_at_once_agree_on_one_engine() {
    let world = World::new();
    thread::scope(|scope| {
        let list = || world.esker(["workspace", "list"]).ok();
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(list)).collect();
        clients.into_iter().for_each(|client| drop(client.join().expect("a client ends well")));
    });
    assert_eq!(world.processes().len(), 1, "one engine serves them all");
}

#[test]
fn imports_into_different_workspaces_at_once_are_all_whole() {
    let world = World::new();
    let source = |client: usize| {
        let folder = world.folder(&format!("source-{client}"));
        for file in 0..50 {
            fs::write(folder.join(format!("file-{file}")), format!("{client} {file} ").repeat(200)).unwrap();
            // The same in all: they race to store it first.
            fs::write(folder.join(format!("shared-{file}")), format!("shared {file} ").repeat(200)).unwrap();
        }
        folder
    };
    let folders: Vec<_> = (0..CLIENTS).map(source).collect();
    thread::scope(|scope| {
        for (client, folder) in folders.iter().enumerate() {
            let world = &world;
            scope.spawn(move || {
                world.command(["import"]).arg(folder).args(["--workspace", &format!("w{client}")]).run().ok();
            });
        }
    });
    for (client, folder) in folders.iter().enumerate() {
        let exported = world.path(format!("exported-{client}"));
        world.command(["export", &format!("w{client}")]).arg(&exported).run().ok();
        crate::world::same_tree(folder, &exported);
    }
    world.esker(["check", "--full"]).ok();
}

#[test]
fn of_several_creations_of_one_name_one_wins() {
    let world = World::new();
    let codes: Vec<i32> = thread::scope(|scope| {
        let create = || world.esker(["workspace", "create", "w"]).code;
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(create)).collect();
        clients.into_iter().map(|client| client.join().expect("a client ends well")).collect()
    });
    assert_eq!(codes.iter().filter(|&&code| code == 0).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|&&code| code == 4).count(), CLIENTS - 1, "{codes:?}");
}

#[test]
fn checkpoints_reads_gc_and_writes_at_once() {
    let Some(world) = World::with_mounts() else { return };
    world.esker(["workspace", "create", "w"]).ok();
    let mount = Mount::new(&world, "w", "m");
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..300 {
                fs::write(mount.path(format!("file-{}", round % 40)), format!("round {round}").repeat(300)).unwrap();
            }
        });
        scope.spawn(|| (0..8).for_each(|round| drop(world.checkpoint("w", &format!("checkpoint {round}")))));
        scope.spawn(|| (0..8).for_each(|_| drop(world.esker(["ls", "w:"]).ok())));
        scope.spawn(|| {
            for _ in 0..4 {
                world.esker(["gc", "--grace", "0"]).ok();
            }
        });
        scope.spawn(|| {
            for fork in 0..4 {
                world.esker(["fork", "w", &format!("fork-{fork}")]).ok();
            }
        });
    });
    let snapshot = world.checkpoint("w", "the end");
    for file in 0..40 {
        let name = format!("file-{file}");
        let stored = world.esker(["cat", &format!("w@{snapshot}:{name}")]).ok().bytes;
        assert_eq!(stored, fs::read(mount.path(&name)).unwrap(), "{name}");
    }
    drop(mount);
    world.esker(["check", "--full"]).ok();
}
