//! A team's repo: PostgreSQL and SeaweedFS, two engines that know nothing of each other, each with a data folder of its own.

use std::fs;

use crate::s3::with_s3;
use crate::world::servers::{fresh_database, postgresql};
use crate::world::{Mount, Run, World, crate_sources, fresh_bucket, same_tree, seaweedfs};

/// Two worlds whose engines have one database and one bucket.
fn two_engines() -> Option<(World, World, Vec<std::sync::Arc<crate::world::Server>>)> {
    let (first, second) = (World::with_mounts()?, World::with_mounts()?);
    let (database, bucket) = (postgresql()?, seaweedfs()?);
    let (database_url, bucket_url) = (fresh_database(&database), format!("s3://{}/team", fresh_bucket(&bucket)));
    let start = |world: World| {
        let mut world = with_s3(world, &bucket.url());
        world.start_engine_with(&["--database", &database_url, "--bucket", &bucket_url]);
        world
    };
    let (first, second) = (start(first), start(second));
    Some((first, second, vec![database, bucket]))
}

#[test]
fn two_engines_see_one_repo() {
    let Some((mut a, b, _servers)) = two_engines() else { return };
    let (source, _) = crate_sources(&a, "source", 200);
    a.command(["import"]).arg(&source).args(["--workspace", "w"]).run().ok();
    assert!(b.esker(["workspace", "list"]).ok().out.contains('w'), "the other engine sees it at once");
    b.command(["export", "w"]).arg(b.path("out")).run().ok();
    same_tree(&source, &b.path("out"));

    // What one mounts, the other may not; what it publishes, the other sees.
    let mut mount = Mount::new(&a, "w", "m");
    b.command(["mount", "w"]).arg(b.path("refused")).arg("--detach").run().fails(4);
    fs::write(mount.path("from a"), "hello").unwrap();
    let snapshot = a.checkpoint("w", "from a");
    assert_eq!(b.esker(["cat", &format!("w@{snapshot}:from a")]).ok().out, "hello");
    mount.unmount(&a);
    let mount = Mount::new(&b, "w", "m");
    assert_eq!(fs::read_to_string(mount.path("from a")).unwrap(), "hello");
    drop(mount);

    // One of them dies: the other goes on, and nothing is damaged.
    a.kill_engine();
    b.esker(["fork", "w", "f", "--published"]).ok();
    b.esker(["gc", "--grace", "0"]).ok();
    b.esker(["check", "--full"]).ok();
}

#[test]
fn two_engines_race_for_names_and_write_side_by_side() {
    let Some((a, b, _servers)) = two_engines() else { return };
    for round in 0..10 {
        let name = format!("race-{round}");
        let codes = std::thread::scope(|scope| {
            let both = [&a, &b].map(|world| scope.spawn(|| world.esker(["workspace", "create", &name]).code));
            both.map(|thread| thread.join().unwrap())
        });
        assert!(codes == [0, 4] || codes == [4, 0], "{name}: exactly one makes it: {codes:?}");
    }
    let (source, _) = crate_sources(&a, "source", 300);
    std::thread::scope(|scope| {
        for (world, name) in [(&a, "left"), (&b, "right"), (&a, "left-2"), (&b, "right-2")] {
            let source = &source;
            scope.spawn(move || world.command(["import"]).arg(source).args(["--workspace", name]).run().ok());
        }
        // A collector on each side, all the while.
        for world in [&a, &b] {
            scope.spawn(move || {
                for _ in 0..3 {
                    let done = world.esker(["gc", "--grace", "3600"]);
                    assert!(done.code == 0 || done.code == 4, "{done}");
                }
            });
        }
    });
    for (reader, name) in [(&b, "left"), (&a, "right"), (&b, "left-2"), (&a, "right-2")] {
        let out = reader.path(format!("out-{name}"));
        reader.command(["export", name]).arg(&out).run().ok();
        same_tree(&source, &out);
    }
    a.esker(["check", "--full"]).ok();
}
