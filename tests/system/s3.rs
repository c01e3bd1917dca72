//! Real object storage: the whole way on SeaweedFS, conditional writes raced on SeaweedFS and moto, and what must be refused.

use std::fs;
use std::time::{Duration, Instant};

use vfs_core::bucket::{Bucket, Created};

use crate::world::servers::{ACCESS_KEY, SECRET_KEY};
use crate::world::{
    Mount, Proxy, Run, Server, World, crate_sources, fresh_bucket, moto, objects, same_tree, seaweedfs,
};

/// How soon a bucket that cannot be used must be called that.
const CLEAR_WITHIN: Duration = Duration::from_secs(60);

/// What programs need to find an S3 server and be let in.
fn environment(url: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT", url.to_owned()),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
    ]
}

/// A world whose programs use this server.
pub(crate) fn with_s3(mut world: World, url: &str) -> World {
    for (name, value) in environment(url) {
        world.set(name, &value);
    }
    world
}

#[test]
fn the_whole_way_on_seaweedfs() {
    let (Some(world), Some(server)) = (World::with_mounts(), seaweedfs()) else { return };
    let bucket = fresh_bucket(&server);
    whole_way(with_s3(world, &server.url()), &format!("s3://{bucket}/some/prefix"));
    let names = objects(&server, &bucket);
    assert!(names.iter().all(|name| name.starts_with("some/prefix/")), "everything is below the prefix: {names:?}");
    assert!(names.iter().any(|name| name.ends_with(".pack")), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("probe-")), "the probe is gone: {names:?}");
}

/// Import, mount, write, checkpoint, fork, restore, gc, check and export, on any bucket; then the same after `kill -9`.
pub(crate) fn whole_way(mut world: World, url: &str) {
    let (source, files) = crate_sources(&world, "source", 400);
    world.start_engine_with(&["--bucket", url]);
    world.command(["import"]).arg(&source).args(["--workspace", "w"]).run().ok();
    let imported = world.checkpoint("w", "as imported");
    let mut mount = Mount::new(&world, "w", "m");
    fs::write(mount.path("new"), vec![7; 3_000_000]).unwrap();
    fs::create_dir(mount.path("folder")).unwrap();
    fs::rename(mount.path("new"), mount.path("folder/moved")).unwrap();
    fs::hard_link(mount.path("folder/moved"), mount.path("again")).unwrap();
    std::os::unix::fs::symlink("folder/moved", mount.path("link")).unwrap();
    // Only its path: an entry keeps its folder open, and the mount busy.
    let entries = fs::read_dir(&mount.dir).unwrap().flatten().map(|entry| entry.path());
    let imported_folder = entries.filter(|path| path.is_dir() && !path.ends_with("folder")).min().unwrap();
    fs::write(imported_folder.join("beside"), "the imported files").unwrap();
    let written = world.checkpoint("w", "written");
    let expected = world.path("expected");
    world.program("cp").arg("-a").arg(&mount.dir).arg(&expected).run().ok();

    world.esker(["fork", "w", "f"]).ok();
    world.esker(["restore", "w", &imported]).ok();
    assert!(!mount.path("again").exists(), "a restore shows in the mount");
    mount.unmount(&world);
    world.esker(["gc", "--grace", "0"]).ok();
    world.esker(["check", "--full"]).ok();

    world.kill_engine();
    world.start_engine();
    assert!(!world.data().join("bucket").exists(), "the data folder holds no second bucket");
    world.command(["export", "w"]).arg(world.path("out-w")).run().ok();
    same_tree(&source, &world.path("out-w"));
    world.command(["export", "f"]).arg(world.path("out-f")).run().ok();
    same_tree(&expected, &world.path("out-f"));
    let listed = world.esker(["ls", &format!("w@{written}:folder")]).ok();
    assert!(listed.out.contains("moved"), "{listed}");
    println!("{files} files went to {url} and came back");
}

fn race(server: &Server) {
    race_on(&format!("s3://{}/race", fresh_bucket(server)), environment(&server.url()));
}

/// `create` of one name by 16 clients at once, again and again: exactly one makes it, and its bytes are the ones that stay.
pub(crate) fn race_on(url: &str, environment: Vec<(&'static str, String)>) {
    const CLIENTS: u8 = 16;
    for (name, value) in environment {
        // SAFETY: the test runner gives each test a process of its own, and this is before its first client.
        unsafe { std::env::set_var(name, value) };
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        for round in 0..20 {
            let name = format!("t/{round}");
            let clients = (0..CLIENTS).map(|client| {
                let (bucket, name) = (Bucket::open(url).unwrap(), name.clone());
                tokio::spawn(async move {
                    let created = bucket.create(&name, vec![client; 2_000 + usize::from(client)].into()).await;
                    (client, created.unwrap())
                })
            });
            let mut winners = Vec::new();
            for done in clients.collect::<Vec<_>>() {
                let (client, created) = done.await.unwrap();
                if created == Created::New {
                    winners.push(client);
                }
            }
            assert_eq!(winners.len(), 1, "round {round}: these made one name: {winners:?}");
            let stored = Bucket::open(url).unwrap().get(&name).await.unwrap();
            let whole =
                stored.len() == 2_000 + usize::from(winners[0]) && stored.iter().all(|&byte| byte == winners[0]);
            assert!(whole, "round {round}: what is there is not what {winners:?} wrote");
        }
    });
}

#[test]
fn one_of_sixteen_creates_a_name_on_seaweedfs() {
    let Some(server) = seaweedfs() else { return };
    race(&server);
}

#[test]
fn one_of_sixteen_creates_a_name_on_moto() {
    let Some(server) = moto() else { return };
    race(&server);
}

#[test]
fn a_server_that_overwrites_is_refused_before_anything_is_stored() {
    let Some(server) = moto() else { return };
    let bucket = fresh_bucket(&server);
    let proxy = Proxy::before(&server.address);
    let world = with_s3(World::new(), &proxy.url);
    let url = format!("s3://{bucket}/p");
    let refused = world.command(["serve", "--bucket", &url]).run_within(CLEAR_WITHIN);
    assert_ne!(refused.code, 0, "{refused}");
    assert!(refused.err.contains("overwrites") && refused.err.contains(&bucket), "says what is wrong: {refused}");
    assert_eq!(objects(&server, &bucket), Vec::<String>::new(), "nothing stays, the probe neither");
    // A deletion names its objects in the body.
    let known = |line: &String| line.contains("probe-") || line.ends_with("?delete");
    let other: Vec<String> = proxy.changes().into_iter().filter(|line| !known(line)).collect();
    assert!(other.is_empty() && !proxy.changes().is_empty(), "only the probe was ever written: {other:?}");
    // The same server without the proxy is fine: it was the condition that was missing.
    let mut world = with_s3(World::new(), &server.url());
    world.start_engine_with(&["--bucket", &url]);
    world.esker(["workspace", "create", "w"]).ok();
}

#[test]
fn the_bucket_of_another_repo_is_refused_unharmed() {
    let Some(server) = seaweedfs() else { return };
    let url = format!("s3://{}/p", fresh_bucket(&server));
    let mut ours = with_s3(World::new(), &server.url());
    ours.start_engine_with(&["--bucket", &url]);
    ours.esker(["workspace", "create", "w"]).ok();
    let theirs = with_s3(World::new(), &server.url());
    let refused = theirs.command(["serve", "--bucket", &url]).run_within(CLEAR_WITHIN).fails(5);
    assert!(refused.err.contains("belongs to"), "{refused}");
    ours.esker(["workspace", "create", "x"]).ok();
    ours.esker(["check", "--full"]).ok();
}

#[test]
fn wrong_keys_and_dead_addresses_are_said_clearly_and_soon() {
    let Some(server) = seaweedfs() else { return };
    let url = format!("s3://{}/p", fresh_bucket(&server));
    let refused = |what: &str, name: &str, value: &str, codes: &[i32]| {
        let mut world = with_s3(World::new(), &server.url());
        world.set(name, value);
        let start = Instant::now();
        let done = world.command(["serve", "--bucket", &url]).run_within(CLEAR_WITHIN);
        println!("{what}: {} after {:?}: {}", done.code, start.elapsed(), done.err.trim());
        assert!(codes.contains(&done.code), "{what}: {done}");
        assert!(!done.err.contains("panicked") && !done.err.contains(SECRET_KEY), "{what}: {done}");
        assert_eq!(done.err.trim().lines().count(), 1, "{what}: one line: {done}");
    };
    refused("a wrong secret", "AWS_SECRET_ACCESS_KEY", "not the secret", &[5]);
    refused("an unknown key", "AWS_ACCESS_KEY_ID", "nobody", &[5]);
    refused("nobody listens", "AWS_ENDPOINT", "http://127.0.0.1:1", &[6]);
}

/// moto, because SeaweedFS makes a bucket that somebody with its keys writes into.
#[test]
fn a_bucket_that_is_not_there_is_said_clearly_and_soon() {
    let Some(server) = moto() else { return };
    let world = with_s3(World::new(), &server.url());
    let missing = world.command(["serve", "--bucket", "s3://no-such-bucket-here/p"]).run_within(CLEAR_WITHIN);
    assert_ne!(missing.code, 0, "{missing}");
    assert!(missing.err.contains("bucket") && !missing.err.contains("panicked"), "{missing}");
    println!("{missing}");
}
