//! Promise P13: programs that people really use work on a mount as on ext4.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

use crate::world::{Mount, Run, World, crate_sources, has_program, same_tree};

/// A mounted, empty workspace.
fn mounted() -> Option<(Mount, World)> {
    let world = World::with_mounts()?;
    world.esker(["workspace", "create", "w"]).ok();
    Some((Mount::new(&world, "w", "m"), world))
}

/// Hard links, symlinks, holes, attributes, odd names and modes beside ordinary files.
fn odd_tree(world: &World) -> std::path::PathBuf {
    let (source, _) = crate_sources(world, "source", 300);
    fs::write(source.join("linked"), "one inode").unwrap();
    fs::hard_link(source.join("linked"), source.join("linked too")).unwrap();
    std::os::unix::fs::symlink("linked", source.join("symlink")).unwrap();
    std::os::unix::fs::symlink("nowhere", source.join("dangling")).unwrap();
    let sparse = File::create(source.join("sparse")).unwrap();
    sparse.set_len(3_000_000).unwrap();
    sparse.write_all_at(b"in the middle", 1_500_000).unwrap();
    fs::write(source.join("read only"), "x").unwrap();
    fs::set_permissions(source.join("read only"), fs::Permissions::from_mode(0o400)).unwrap();
    fs::create_dir(source.join("empty folder")).unwrap();
    fs::write(source.join(std::ffi::OsStr::new("schön ☃ name")), "unicode").unwrap();
    world.program("setfattr").args(["-n", "user.colour", "-v", "blue"]).arg(source.join("linked")).run().ok();
    source
}

#[test]
fn rsync_keeps_everything_both_ways() {
    if !has_program("rsync") || !has_program("setfattr") {
        return;
    }
    let Some((mount, world)) = mounted() else { return };
    let source = odd_tree(&world);
    let rsync = |from: &Path, to: &Path| {
        let mut from = from.as_os_str().to_owned();
        from.push("/");
        // A negative window: compare nanoseconds, else a time in the same second counts as set.
        world.program("rsync").args(["-aHAX", "--modify-window=-1"]).arg(from).arg(to).run().ok();
    };
    rsync(&source, &mount.path("copy"));
    same_tree(&source, &mount.path("copy"));
    rsync(&mount.path("copy"), &world.path("back"));
    same_tree(&source, &world.path("back"));
    // Nothing to do the second time: times and sizes were kept.
    let mut again = world.program("rsync");
    again
        .args(["-aHAX", "--modify-window=-1", "--itemize-changes"])
        .arg(format!("{}/", source.display()))
        .arg(mount.path("copy"));
    let changes = again.run().ok().out;
    assert_eq!(changes, "", "a second rsync changes nothing");
}

#[test]
fn cp_and_tar_keep_everything() {
    if !has_program("setfattr") {
        return;
    }
    let Some((mount, world)) = mounted() else { return };
    let source = odd_tree(&world);
    world.program("cp").arg("-a").arg(&source).arg(mount.path("copied")).run().ok();
    same_tree(&source, &mount.path("copied"));

    let archive = mount.path("archive.tar.xz");
    world
        .program("tar")
        .args(["--xattrs", "-cJf"])
        .arg(&archive)
        .arg("-C")
        .arg(mount.path("copied"))
        .arg(".")
        .run()
        .ok();
    fs::create_dir(mount.path("unpacked")).unwrap();
    world.program("tar").args(["--xattrs", "-xpJf"]).arg(&archive).arg("-C").arg(mount.path("unpacked")).run().ok();
    same_tree(&source, &mount.path("unpacked"));
    world.program("rm").arg("-r").arg(mount.path("copied")).arg(mount.path("unpacked")).run().ok();
    assert_eq!(fs::read_dir(&mount.dir).unwrap().count(), 1, "only the archive is left");
}

#[test]
fn acls_are_kept_over_a_remount() {
    if !has_program("setfacl") {
        return;
    }
    let Some((mut mount, world)) = mounted() else { return };
    fs::write(mount.path("file"), "x").unwrap();
    world.program("setfacl").args(["-m", "u:1234:rw,g:77:r"]).arg(mount.path("file")).run().ok();
    let read = || world.program("getfacl").args(["-n", "--absolute-names"]).arg(world.path("m/file")).run().ok().out;
    let before = read();
    assert!(before.contains("user:1234:rw-") && before.contains("group:77:r--"), "{before}");
    mount.unmount(&world);
    mount.start(&world);
    assert_eq!(read(), before);
}

fn sqlite(mode: &str) {
    if !has_program("sqlite3") {
        return;
    }
    let Some((mut mount, world)) = mounted() else { return };
    let sql = |statement: &str| {
        let statement = format!("PRAGMA busy_timeout=20000; {statement}");
        world.program("sqlite3").arg(world.path("m/test.db")).arg(statement).run().ok().out
    };
    let chosen = sql(&format!("PRAGMA journal_mode={mode};"));
    assert!(chosen.to_lowercase().contains(&mode.to_lowercase()), "{chosen}");
    sql("CREATE TABLE t (id INTEGER PRIMARY KEY, who INTEGER, text TEXT);");
    // Eight processes at once: their locks and, for WAL, their shared memory must work.
    std::thread::scope(|scope| {
        for who in 0..8 {
            let sql = &sql;
            scope.spawn(move || {
                for _ in 0..15 {
                    sql(&format!("INSERT INTO t (who, text) VALUES ({who}, hex(randomblob(200)));"));
                }
            });
        }
    });
    assert!(sql("SELECT count(*) FROM t;").ends_with("120\n"));
    assert!(sql("PRAGMA integrity_check;").ends_with("ok\n"));
    mount.kill();
    mount.start(&world);
    assert!(sql("PRAGMA integrity_check;").ends_with("ok\n"), "after kill -9");
    assert!(sql("SELECT count(*) FROM t;").ends_with("120\n"), "every commit was acknowledged, none may be lost");
}

#[test]
fn sqlite_with_a_rollback_journal() {
    sqlite("DELETE");
}

#[test]
fn sqlite_with_a_write_ahead_log() {
    sqlite("WAL");
}

#[test]
fn npm_installs_a_lock_file() {
    if !has_program("npm") {
        return;
    }
    let Some((mount, world)) = mounted() else { return };
    let project = mount.path("project");
    fs::create_dir(&project).unwrap();
    // A package made here: npm packs, locks and installs it without any registry.
    let package = world.folder("package");
    fs::write(package.join("package.json"), r#"{"name":"made-here","version":"1.0.0","bin":{"hello":"hello.js"}}"#)
        .unwrap();
    fs::write(package.join("hello.js"), "#!/usr/bin/env node\nconsole.log('hello')\n").unwrap();
    for number in 0..200 {
        fs::write(package.join(format!("part-{number}.js")), format!("module.exports = {number}\n")).unwrap();
    }
    let npm = |folder: &Path, arguments: &[&str]| {
        let mut npm = world.program("npm");
        npm.current_dir(folder).args(arguments).args(["--offline", "--no-audit", "--no-fund", "--no-update-notifier"]);
        npm.run().ok()
    };
    npm(&package, &["pack", "--pack-destination", project.to_str().unwrap()]);
    fs::write(
        project.join("package.json"),
        r#"{"name":"p","version":"1.0.0","dependencies":{"made-here":"file:made-here-1.0.0.tgz"}}"#,
    )
    .unwrap();
    npm(&project, &["install"]);
    fs::remove_dir_all(project.join("node_modules")).unwrap();
    npm(&project, &["ci"]);
    let said = world.program("node").arg(project.join("node_modules/.bin/hello")).run().ok().out;
    assert_eq!(said, "hello\n");
    assert_eq!(fs::read_dir(project.join("node_modules/made-here")).unwrap().count(), 202);
}

#[test]
fn the_ways_in_which_editors_save() {
    let Some((mut mount, world)) = mounted() else { return };
    let path = mount.path("text");

    fs::write(&path, "one\n").unwrap();
    // In place: truncate and write.
    fs::write(&path, "two\n").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");

    // A new file renamed over the old one, synced as careful editors do.
    let mut new = File::create(mount.path("text.tmp")).unwrap();
    new.write_all(b"three\n").unwrap();
    new.sync_all().unwrap();
    fs::rename(mount.path("text.tmp"), &path).unwrap();
    File::open(&mount.dir).unwrap().sync_all().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");

    // The old one moved away as a backup, a new one written, the backup removed (vim with writebackup).
    fs::rename(&path, mount.path("text~")).unwrap();
    fs::write(&path, "four\n").unwrap();
    fs::remove_file(mount.path("text~")).unwrap();

    // Append through a descriptor opened before; read through one whose name is gone.
    let mut log = OpenOptions::new().append(true).open(&path).unwrap();
    let reader = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    log.write_all(b"five\n").unwrap();
    let mut content = [0; 10];
    reader.read_exact_at(&mut content, 0).unwrap();
    assert_eq!(&content, b"four\nfive\n");
    assert_eq!(reader.metadata().unwrap().nlink(), 0);
    drop((new, log, reader));

    fs::write(&path, "six\n").unwrap();
    mount.unmount(&world);
    mount.start(&world);
    assert_eq!(fs::read_to_string(&path).unwrap(), "six\n");
    assert_eq!(fs::read_dir(&mount.dir).unwrap().count(), 1, "no leftovers");
}

#[test]
fn a_large_file_is_exact() {
    let Some((mut mount, world)) = mounted() else { return };
    let script = "dd if=/dev/urandom of=local bs=1M count=64 status=none && cp local m/large && cmp local m/large";
    world.program("sh").current_dir(world.path("")).args(["-c", script]).run().ok();
    world.checkpoint("w", "a large file");
    mount.unmount(&world);
    mount.start(&world);
    world.program("cmp").arg(world.path("local")).arg(mount.path("large")).run().ok();
}

#[test]
fn a_program_runs_from_the_mount_and_maps_memory() {
    let Some((mount, world)) = mounted() else { return };
    fs::copy("/bin/true", mount.path("true")).unwrap();
    world.program(mount.path("true").to_str().unwrap()).run().ok();
    let script = "import mmap,sys\nf=open(sys.argv[1],'w+b')\nf.truncate(100000)\nm=mmap.mmap(f.fileno(),0)\n\
                  m[70000:70005]=b'hello'\nm.flush()\nm.close()\nf.seek(70000)\nassert f.read(5)==b'hello'\n";
    world.program("python3").args(["-c", script]).arg(mount.path("mapped")).run().ok();
    let snapshot = world.checkpoint("w", "mapped");
    let stored = world.esker(["cat", &format!("w@{snapshot}:mapped")]).ok().bytes;
    assert_eq!(&stored[70_000..70_005], b"hello");
}
