//! Documents through a real mount: ordinary programs read, write and move them, and nothing of anybody is lost.

#![allow(clippy::unwrap_used, reason = "a test or example may panic")]

mod world;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use world::documents::DocumentWorld;
use world::{can_mount, shell, shell_as};

const MAIN: &str = "agent/main";

fn world() -> Option<DocumentWorld> {
    can_mount().then(DocumentWorld::new)
}

fn script(world: &DocumentWorld, script: &str) -> String {
    shell(world.mount().mountpoint(), script)
}

fn code(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap()
}

/// Closes a file and says what close(2) answered, which dropping it does not.
fn close(file: File) -> Result<(), Errno> {
    let descriptor: std::os::fd::OwnedFd = file.into();
    // SAFETY: the descriptor is owned here and given up with this call.
    let closed = unsafe { libc::close(std::os::fd::IntoRawFd::into_raw_fd(descriptor)) };
    if closed == 0 { Ok(()) } else { Err(code(&std::io::Error::last_os_error())) }
}

/// The kernel sends the last close of a file after close(2) has come back.
#[track_caller]
fn eventually(holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < until, "it did not come to hold");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn programs_read_and_write_documents() {
    let Some(world) = world() else { return };
    world.store.write("org", "skills/review/SKILL.md", "read first\n");
    assert_eq!(script(&world, "cat skills/review/SKILL.md"), "read first\n");
    script(&world, "echo one > memories/a.md");
    assert_eq!(world.store.content(MAIN, "memories/a.md").unwrap(), "one\n");
    script(&world, "echo two >> memories/a.md");
    assert_eq!(world.store.content(MAIN, "memories/a.md").unwrap(), "one\ntwo\n");
    script(&world, "cp memories/a.md memories/b.md && mv memories/b.md memories/c.md");
    assert_eq!(world.store.content(MAIN, "memories/c.md").unwrap(), "one\ntwo\n");
    assert_eq!(world.store.content(MAIN, "memories/b.md"), None);
    script(&world, "sed -i s/two/2/ memories/c.md");
    assert_eq!(world.store.content(MAIN, "memories/c.md").unwrap(), "one\n2\n");
    script(&world, "python3 -c \"open('memories/c.md','a').write('three\\n')\"");
    assert_eq!(world.store.content(MAIN, "memories/c.md").unwrap(), "one\n2\nthree\n");
    script(&world, "truncate -s 4 memories/c.md && rm memories/a.md");
    assert_eq!(world.store.content(MAIN, "memories/c.md").unwrap(), "one\n");
    assert_eq!(script(&world, "ls memories"), "c.md\n");
    // What is there already is written where it is.
    script(&world, "echo more >> skills/review/SKILL.md");
    assert_eq!(world.store.content("org", "skills/review/SKILL.md").unwrap(), "read first\nmore\n");
}

/// A shell closes a copy of its descriptor before the program writes: that must not be a version of its own.
#[test]
fn one_redirection_is_one_version() {
    let Some(world) = world() else { return };
    script(&world, "echo one > memories/a; echo two >> memories/a; echo three > memories/a");
    let versions = world.store.versions(MAIN, "memories/a");
    assert_eq!(versions.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["one\n", "one\ntwo\n", "three\n"]);
    script(&world, ": > memories/a");
    assert_eq!(script(&world, "wc -c < memories/a"), "0\n");
    assert_eq!(world.store.content(MAIN, "memories/a").unwrap(), "");
}

#[test]
fn a_touched_document_is_there_and_empty() {
    let Some(world) = world() else { return };
    script(&world, "touch memories/new && test -f memories/new && ! test -s memories/new && touch memories/new");
    eventually(|| world.store.versions(MAIN, "memories/new").len() == 1);
    script(&world, "chmod 755 memories/new && touch -d 2001-01-01 memories/new && cp -p memories/new memories/copy");
    assert!(fs::metadata(world.path("memories/new")).unwrap().mtime() > 1_500_000_000, "the version's time");
}

#[test]
fn the_folder_can_be_walked() {
    let Some(world) = world() else { return };
    world.store.write("org", "skills/a/SKILL.md", "alpha needle\n");
    world.store.write("user/ana", "skills/b/SKILL.md", "beta\n");
    world.store.write(MAIN, "notes.md", "needle too\n");
    assert_eq!(script(&world, "ls"), "memories\nnotes.md\nskills\n");
    let found = script(&world, "find . | sort");
    let expected =
        ".\n./memories\n./notes.md\n./skills\n./skills/a\n./skills/a/SKILL.md\n./skills/b\n./skills/b/SKILL.md\n";
    assert_eq!(found, expected);
    assert_eq!(script(&world, "grep -rl needle . | sort"), "./notes.md\n./skills/a/SKILL.md\n");
    let long = script(&world, "ls -l skills/a notes.md skills/b");
    assert!(long.contains("-rw-r--r--") && long.contains("-r--r--r--"), "{long}");
    let metadata = fs::metadata(world.path("notes.md")).unwrap();
    assert_eq!((metadata.len(), metadata.mode() & 0o7777), (11, 0o644));
    assert_eq!(metadata.ino(), fs::metadata(world.path("notes.md")).unwrap().ino());
    assert!((metadata.mtime() - fs::metadata("/proc/self").unwrap().mtime()).abs() < 600);
    script(&world, "df . > /dev/null && stat -f . > /dev/null");
}

/// The nearest scope's document is shown; without it the next one's.
#[test]
fn a_view_shows_the_nearest() {
    let Some(world) = world() else { return };
    world.store.write("org", "memories/a", "org's");
    world.store.write(MAIN, "memories/a", "main's");
    assert_eq!(script(&world, "cat memories/a"), "main's");
    script(&world, "rm memories/a");
    assert_eq!(script(&world, "cat memories/a"), "org's");
    script(&world, "rm memories/a && ! test -e memories/a");
    assert_eq!(world.store.content("org", "memories/a"), None);
}

#[test]
fn directories_are_made_and_removed() {
    let Some(world) = world() else { return };
    script(&world, "mkdir -p a/b/c && ls a/b && rmdir a/b/c && rmdir a/b && rmdir a && ! test -e a");
    script(&world, "mkdir d && echo x > d/file && ! rmdir d 2>/dev/null && rm d/file && rmdir d && ! test -e d");
    script(&world, "mkdir -p e/f && mv e g && test -d g/f && rm -r g && ! test -e g");
    script(&world, "mkdir h && echo 1 > h/1 && mkdir h/i && echo 2 > h/i/2 && mv h k && cat k/1 k/i/2 && rm -r k");
    let (text, _) = shell_as(0, world.mount().mountpoint(), "rmdir skills; mkdir skills; mv memories other");
    assert!(text.contains("busy") && text.contains("File exists"), "{text}");
    assert_eq!(script(&world, "ls"), "memories\nskills\n");
    assert!(world.store.versions(MAIN, "k/i/2").last().unwrap().0.deleted);
}

/// What a document cannot be is refused and never half done.
#[test]
fn what_is_not_a_document_is_refused() {
    let Some(world) = world() else { return };
    let all = "echo x > f; ln f g; ln -s f h; mkfifo i; python3 -c \"import os; os.setxattr('f','user.a',b'1')\"; \
               mkdir f; cat f/g; echo x > \"$(printf 'a\\nb')\"; mv skills f; mv f skills";
    let (text, _) = shell_as(0, world.mount().mountpoint(), all);
    for wanted in ["hard link", "symbolic link", "fifo", "Operation not supported", "File exists", "Not a directory"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    // The last command is right: into the directory.
    assert_eq!(script(&world, "ls . skills"), ".:\nmemories\nskills\n\nskills:\nf\n");
}

/// As vim saves: rename away, write anew, remove the backup; or write beside and rename over.
#[test]
fn editors_save_in_their_ways() {
    let Some(world) = world() else { return };
    world.store.write("org", "skills/s.md", "one\n");
    script(&world, "mv skills/s.md skills/s.md~ && echo two > skills/s.md && rm skills/s.md~");
    assert_eq!(world.store.content("org", "skills/s.md").unwrap(), "two\n");
    assert_eq!(world.store.versions(MAIN, "skills/s.md").len(), 0, "it stays in its scope");
    script(&world, "cat skills/s.md > skills/.s.tmp && echo three >> skills/.s.tmp && mv skills/.s.tmp skills/s.md");
    assert_eq!(world.store.content("org", "skills/s.md").unwrap(), "two\nthree\n");
    assert_eq!(script(&world, "ls -A skills"), "s.md\n");
    // Renamed while it is still open and nothing of it is stored.
    let mut file = File::create_new(world.path("memories/.tmp")).unwrap();
    file.write_all(b"first ").unwrap();
    fs::rename(world.path("memories/.tmp"), world.path("memories/m")).unwrap();
    assert_eq!(world.store.content(MAIN, "memories/m").unwrap(), "first ");
    file.write_all(b"then").unwrap();
    close(file).unwrap();
    assert_eq!(world.store.content(MAIN, "memories/m").unwrap(), "first then");
}

#[test]
fn an_editor_that_renames_over_changes_of_others_loses_none() {
    let Some(world) = world() else { return };
    world.store.write(MAIN, "memories/m", "a\nb\nc\nd\ne\n");
    let seen = script(&world, "cat memories/m");
    world.store.write(MAIN, "memories/m", "a\nb\nc\nd\ne\ntheirs\n");
    fs::write(world.path("memories/tmp"), seen.replace("a\n", "mine\n")).unwrap();
    fs::rename(world.path("memories/tmp"), world.path("memories/m")).unwrap();
    assert_eq!(world.store.content(MAIN, "memories/m").unwrap(), "mine\nb\nc\nd\ne\ntheirs\n");
    // Where that cannot be done: EBUSY, both are kept, and whoever insists is heard.
    let seen = script(&world, "cat memories/m");
    world.store.write(MAIN, "memories/m", "theirs\nb\nc\n");
    fs::write(world.path("memories/tmp"), seen.replace("mine\n", "mine again\n")).unwrap();
    let refused = fs::rename(world.path("memories/tmp"), world.path("memories/m")).unwrap_err();
    assert_eq!(code(&refused), Errno::BUSY);
    assert_eq!(world.store.content(MAIN, "memories/m").unwrap(), "theirs\nb\nc\n");
    assert!(world.store.versions(MAIN, "memories/m").last().unwrap().0.side);
    fs::rename(world.path("memories/tmp"), world.path("memories/m")).unwrap();
    assert!(world.store.content(MAIN, "memories/m").unwrap().starts_with("mine again\n"));
}

#[test]
fn conflicting_writers_are_told_and_both_are_kept() {
    let Some(world) = world() else { return };
    world.store.write(MAIN, "memories/m", "old\n");
    let open = || OpenOptions::new().write(true).truncate(true).open(world.path("memories/m")).unwrap();
    let (mut first, mut second) = (open(), open());
    first.write_all(b"first\n").unwrap();
    second.write_all(b"second\n").unwrap();
    close(first).unwrap();
    assert_eq!(close(second), Err(Errno::STALE));
    let versions = world.store.versions(MAIN, "memories/m");
    let kept: Vec<(&str, bool)> = versions.iter().map(|(document, text)| (text.as_str(), document.side)).collect();
    assert_eq!(kept, [("old\n", false), ("first\n", false), ("second\n", true)]);
    assert_eq!(script(&world, "cat memories/m"), "first\n");
    // fsync says the same, and says it once a write.
    let mut third = open();
    third.write_all(b"third\n").unwrap();
    world.store.write(MAIN, "memories/m", "theirs\n");
    assert_eq!(code(&third.sync_all().unwrap_err()), Errno::STALE);
    third.sync_all().unwrap();
    close(third).unwrap();
    assert_eq!(world.store.versions(MAIN, "memories/m").len(), 5);
}

#[test]
fn appends_of_two_are_both_there() {
    let Some(world) = world() else { return };
    let again = world.again();
    world.store.write(MAIN, "memories/m", "old\n");
    let open = |folder: &std::path::Path| OpenOptions::new().append(true).open(folder.join("memories/m")).unwrap();
    let (mut first, mut second) = (open(world.mount().mountpoint()), open(again.mountpoint()));
    first.write_all(b"first\n").unwrap();
    second.write_all(b"second\n").unwrap();
    close(first).unwrap();
    second.sync_all().unwrap();
    assert_eq!(world.store.content(MAIN, "memories/m").unwrap(), "old\nfirst\nsecond\n");
    // The handle has moved on with the merge: nothing is doubled, nothing lost.
    world.store.write(MAIN, "memories/m", "old\nfirst\nsecond\nthird\n");
    second.write_all(b"fourth\n").unwrap();
    close(second).unwrap();
    assert_eq!(world.store.content(MAIN, "memories/m").unwrap(), "old\nfirst\nsecond\nthird\nfourth\n");
    let line = "for i in $(seq 20); do echo \"$0 $i\" >> memories/many || exit 1; done";
    let three = format!("sh -c '{line}' a & a=$!; sh -c '{line}' b & b=$!; sh -c '{line}' c && wait $a && wait $b");
    script(&world, &three);
    let mut lines: Vec<String> = script(&world, "cat memories/many").lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 60);
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), 60);
}

#[test]
fn a_writer_in_the_middle_of_a_merge_stops() {
    let Some(world) = world() else { return };
    world.store.write(MAIN, "memories/m", "a\nb\nc\nd\ne\n");
    let mut file = OpenOptions::new().read(true).write(true).open(world.path("memories/m")).unwrap();
    file.write_all(b"A").unwrap();
    world.store.write(MAIN, "memories/m", "a\nb\nc\nd\ne\ntheirs\n");
    file.sync_all().unwrap();
    assert_eq!(world.store.content(MAIN, "memories/m").unwrap(), "A\nb\nc\nd\ne\ntheirs\n");
    assert_eq!(code(&file.write_at(b"X", 2).unwrap_err()), Errno::STALE);
    // Its own end is where others' changes end, too.
    file.write_at(b"mine\n", 10).unwrap();
    close(file).unwrap();
    assert_eq!(world.store.content(MAIN, "memories/m").unwrap(), "A\nb\nc\nd\ne\ntheirs\nmine\n");
}

#[test]
fn what_is_not_granted_is_refused() {
    if !can_mount() {
        return;
    }
    let world = DocumentWorld::with(&[MAIN], Duration::from_secs(10));
    world.store.write("org", "skills/s.md", "shared\n");
    let path = world.path("skills/s.md");
    assert_eq!(code(&OpenOptions::new().append(true).open(&path).unwrap_err()), Errno::ACCESS);
    assert_eq!(code(&fs::write(&path, "x").unwrap_err()), Errno::ACCESS);
    assert_eq!(code(&fs::remove_file(&path).unwrap_err()), Errno::ACCESS);
    assert_eq!(code(&fs::rename(&path, world.path("mine")).unwrap_err()), Errno::ACCESS);
    fs::write(world.path("mine"), "x").unwrap();
    assert_eq!(code(&fs::rename(world.path("mine"), &path).unwrap_err()), Errno::ACCESS);
    // SAFETY: a constant path with its NUL.
    let truncated = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: the path ends with NUL and lives through the call.
    let answer = unsafe { libc::truncate(truncated.as_ptr(), 0) };
    assert_eq!((answer, code(&std::io::Error::last_os_error())), (-1, Errno::ACCESS));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
    script(&world, "! test -w skills/s.md && test -w mine && test -r skills/s.md && ! test -x mine");
    assert_eq!(world.store.versions("org", "skills/s.md").len(), 1);
    assert_eq!(world.store.content("org", "skills/s.md").unwrap(), "shared\n");
    // A view of which nothing is granted.
    let world = DocumentWorld::with(&[], Duration::from_secs(10));
    assert_eq!(code(&fs::write(world.path("new"), "x").unwrap_err()), Errno::ACCESS);
    assert_eq!(code(&fs::create_dir(world.path("new")).unwrap_err()), Errno::ACCESS);
}

#[test]
fn a_mebibyte_fits_and_no_byte_more() {
    let Some(world) = world() else { return };
    let full = vec![b'x'; 1024 * 1024];
    fs::write(world.path("memories/full"), &full).unwrap();
    assert_eq!(fs::read(world.path("memories/full")).unwrap(), full);
    assert_eq!(fs::metadata(world.path("memories/full")).unwrap().len(), full.len() as u64);
    let mut file = OpenOptions::new().append(true).open(world.path("memories/full")).unwrap();
    assert_eq!(code(&file.write_all(b"x").unwrap_err()), Errno::FBIG);
    assert_eq!(code(&file.set_len(1024 * 1024 + 1).unwrap_err()), Errno::FBIG);
    close(file).unwrap();
    assert_eq!(world.store.versions(MAIN, "memories/full").len(), 1);
}

#[test]
fn a_store_that_is_away_costs_a_deadline_and_no_data() {
    if !can_mount() {
        return;
    }
    let world = DocumentWorld::with(&[MAIN], Duration::from_millis(600));
    fs::write(world.path("memories/m"), "old\n").unwrap();
    let mut file = OpenOptions::new().append(true).open(world.path("memories/m")).unwrap();
    file.write_all(b"kept\n").unwrap();
    world.store.away.store(true, Ordering::Relaxed);
    let start = Instant::now();
    assert_eq!(code(&file.sync_all().unwrap_err()), Errno::IO);
    assert!(start.elapsed() >= Duration::from_millis(500) && start.elapsed() < Duration::from_secs(5));
    assert_eq!(code(&fs::read(world.path("memories/m")).unwrap_err()), Errno::IO);
    assert_eq!(code(&fs::write(world.path("memories/n"), "x").unwrap_err()), Errno::IO);
    // The mount itself answers, and what is open can be read and written.
    fs::metadata(world.mount().mountpoint()).unwrap();
    file.write_all(b"too\n").unwrap();
    world.store.away.store(false, Ordering::Relaxed);
    close(file).unwrap();
    assert_eq!(world.store.content(MAIN, "memories/m").unwrap(), "old\nkept\ntoo\n");
    // Away for a moment only: nobody notices.
    let mut file = OpenOptions::new().append(true).open(world.path("memories/m")).unwrap();
    file.write_all(b"more\n").unwrap();
    world.store.away.store(true, Ordering::Relaxed);
    let store = world.store.clone();
    let back = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(150));
        store.away.store(false, Ordering::Relaxed);
    });
    close(file).unwrap();
    back.join().unwrap();
    assert_eq!(world.store.content(MAIN, "memories/m").unwrap(), "old\nkept\ntoo\nmore\n");
}

/// The close that failed was heard; the last close tries once more.
#[test]
fn what_a_close_could_not_store_the_last_close_does() {
    if !can_mount() {
        return;
    }
    let world = DocumentWorld::with(&[MAIN], Duration::from_millis(400));
    let mut file = File::create(world.path("memories/m")).unwrap();
    file.write_all(b"kept").unwrap();
    world.store.away.store(true, Ordering::Relaxed);
    assert_eq!(close(file), Err(Errno::IO));
    world.store.away.store(false, Ordering::Relaxed);
    eventually(|| world.store.content(MAIN, "memories/m").as_deref() == Some("kept"));
}

#[test]
fn changes_of_others_are_seen_at_the_next_open() {
    let Some(world) = world() else { return };
    world.store.write("org", "skills/s", "one");
    assert_eq!(script(&world, "cat skills/s"), "one");
    let mut opened = File::open(world.path("skills/s")).unwrap();
    world.store.write("org", "skills/s", "two and longer");
    assert_eq!(script(&world, "cat skills/s"), "two and longer");
    let mut text = String::new();
    opened.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one", "what is open stays as it was");
    // A new name is there at once, although it was looked for just now.
    script(&world, "! test -e skills/new && ls skills > /dev/null");
    world.store.write("org", "skills/new", "new");
    assert_eq!(script(&world, "cat skills/new"), "new");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(script(&world, "wc -c < skills/s; ls skills"), "14\nnew\ns\n");
}

/// What a process does with its own file, it sees.
#[test]
fn a_process_sees_what_it_wrote() {
    let Some(world) = world() else { return };
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(world.path("f")).unwrap();
    file.write_all(b"hello").unwrap();
    assert_eq!((file.metadata().unwrap().len(), file.seek(SeekFrom::End(0)).unwrap()), (5, 5));
    assert_eq!(fs::metadata(world.path("f")).unwrap().len(), 5, "not stored yet, but there");
    file.seek(SeekFrom::Start(1)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "ello");
    file.set_len(2).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 2);
    close(file).unwrap();
    assert_eq!(world.store.content(MAIN, "f").unwrap(), "he");
    // Removed while open: as with any file, it goes on and is stored nowhere.
    let mut file = OpenOptions::new().read(true).append(true).open(world.path("f")).unwrap();
    fs::remove_file(world.path("f")).unwrap();
    file.write_all(b"llo").unwrap();
    assert_eq!(file.metadata().unwrap().len(), 5);
    close(file).unwrap();
    assert_eq!(world.store.content(MAIN, "f"), None);
    assert!(!world.path("f").exists());
}

#[test]
fn who_wants_to_be_alone_is() {
    let Some(world) = world() else { return };
    let again = world.again();
    let _lock = File::create_new(world.path("memories/lock")).unwrap();
    let second = File::create_new(again.mountpoint().join("memories/lock")).unwrap_err();
    assert_eq!(code(&second), Errno::EXIST);
    assert_eq!(code(&File::create_new(world.path("memories/lock")).unwrap_err()), Errno::EXIST);
}

/// The kernel's checks are off, so modes stop nobody, not even a sandbox's root with another user behind it.
#[test]
fn other_users_and_a_sandboxs_root_can_use_it() {
    let Some(world) = world() else { return };
    world.store.write(MAIN, "memories/m", "old\n");
    fs::set_permissions(world.folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let at = world.mount().mountpoint();
    let (text, success) = shell_as(65534, at, "cat memories/m && echo user >> memories/m");
    assert!(success, "{text}");
    let (text, success) = shell_as(0, at, "unshare --user --map-root-user sh -c 'echo root >> memories/m'");
    assert!(success, "{text}");
    assert_eq!(world.store.content(MAIN, "memories/m").unwrap(), "old\nuser\nroot\n");
}

#[test]
fn a_mount_that_ends_leaves_nobody_hanging() {
    let Some(mut world) = world() else { return };
    world.store.write(MAIN, "memories/m", "old\n");
    let mut file = OpenOptions::new().append(true).open(world.path("memories/m")).unwrap();
    file.write_all(b"more\n").unwrap();
    let at = world.mount().mountpoint().to_owned();
    let busy = world.mount().unmount(false).unwrap_err();
    assert_eq!(busy.kind(), vfs_core::Kind::Busy);
    // Detached from the tree, it serves whoever has it open to the end.
    world.mount().unmount(true).unwrap();
    assert!(!fuse_mount::is_mounted(&at));
    close(file).unwrap();
    world.mount().wait().unwrap();
    world.runtime.block_on(world.mount().settle());
    assert_eq!(world.store.content(MAIN, "memories/m").unwrap(), "old\nmore\n");
    drop(world.mount.take());
}

/// At an unmount the kernel may drop the last close of a file, and with it what only the open has done.
#[test]
fn what_was_closed_before_an_unmount_is_stored() {
    for _ in 0..10 {
        let Some(world) = world() else { return };
        drop(File::create(world.path("memories/empty")).unwrap());
        world.mount().unmount(false).unwrap();
        world.mount().wait().unwrap();
        world.runtime.block_on(world.mount().settle());
        assert_eq!(world.store.content(MAIN, "memories/empty").unwrap(), "");
    }
}
