//! What is not read again, and what must be.

use super::*;
use crate::clock::{Clock, SystemClock, Time};

/// Objects that count what is read and added.
struct Counted {
    inner: MemoryObjects,
    contents: AtomicU64,
    trees: AtomicU64,
}

impl Counted {
    fn new() -> Self {
        Counted { inner: memory(), contents: AtomicU64::new(0), trees: AtomicU64::new(0) }
    }

    /// Contents and tree nodes added since the last call.
    fn added(&self) -> (u64, u64) {
        (self.contents.swap(0, Ordering::Relaxed), self.trees.swap(0, Ordering::Relaxed))
    }
}

#[async_trait]
impl Objects for Counted {
    fn key(&self) -> &crate::id::IdKey {
        self.inner.key()
    }

    async fn read_many(&self, ids: &[crate::id::ObjectId]) -> Result<Vec<bytes::Bytes>> {
        self.inner.read_many(ids).await
    }
}

#[async_trait]
impl NewObjects for Counted {
    async fn add(&self, kind: crate::id::ObjectKind, canonical: bytes::Bytes) -> Result<crate::id::ObjectId> {
        let counter = if kind == crate::id::ObjectKind::Tree { &self.trees } else { &self.contents };
        counter.fetch_add(1, Ordering::Relaxed);
        self.inner.add(kind, canonical).await
    }
}

/// A snapshot that was made just now, as a publish makes it.
fn fresh(imported: &Imported) -> Snapshot {
    Snapshot { time: SystemClock.now(), ..snapshot(imported) }
}

#[tokio::test]
async fn what_is_unchanged_is_neither_opened_nor_added_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    full_folder(root);
    let (objects, counter) = (Counted::new(), Counter::default());
    let mut options = ImportOptions::default();
    let first = import(&objects, &counter, root, None, &options, &silent).await.unwrap();
    let (contents, trees) = objects.added();
    assert!(contents > 5 && trees >= 3, "{contents} {trees}");

    let previous = fresh(&first);
    // Opening a file for reading changes its access time, if it is older than the change.
    let untouched = File::options().write(true).open(root.join("one chunk")).unwrap();
    let long_ago = std::fs::FileTimes::new().set_accessed(std::time::UNIX_EPOCH);
    untouched.set_times(long_ago).unwrap();
    let second = import(&objects, &counter, root, Some(&previous), &options, &silent).await.unwrap();
    assert_eq!(objects.added().0, 1, "only the file whose ctime has moved is read");
    let previous = fresh(&second);
    let third = import(&objects, &counter, root, Some(&previous), &options, &silent).await.unwrap();
    assert_eq!(objects.added(), (0, 0));
    assert_eq!((&third.root, third.links), (&second.root, second.links));

    options.reread = true;
    let all = import(&objects, &counter, root, Some(&previous), &options, &silent).await.unwrap();
    assert_eq!((&all.root, all.links), (&second.root, second.links));
    assert_eq!(objects.added().0, contents);
}

#[tokio::test]
async fn every_change_is_seen_even_if_size_and_mtime_are_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    full_folder(root);
    let (objects, counter) = (memory(), Counter::default());
    let mut previous = fresh(&import_all(&objects, &counter, root).await);
    let put_back = |name: &str, change: &dyn Fn(&Path)| {
        let path = root.join(name);
        let mtime = fs::symlink_metadata(&path).unwrap().modified().unwrap();
        change(&path);
        File::open(&path).unwrap().set_modified(mtime).unwrap();
    };
    put_back("one chunk", &|path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[0] ^= 1;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o400)).unwrap();
    });
    put_back("many chunks", &|path| lsetxattr(path, "user.long", b"short", XattrFlags::empty()).unwrap());
    put_back("hard", &|path| fs::write(path, noise(99, 100_000)).unwrap());
    fs::remove_file(root.join("link")).unwrap();
    symlink("directory/outer", root.join("link")).unwrap();
    let next = again(&objects, &counter, root, &previous).await;
    let plain = import(&objects, &Counter::default(), root, None, &ImportOptions::default(), &silent).await.unwrap();
    for path in [&b"one chunk"[..], b"many chunks", b"hard", b"directory/hard", b"link", b"link twin", b"sparse"] {
        let (next, plain) = (at(&objects, &next, path).await, at(&objects, &plain, path).await);
        assert_eq!(next, Node { ino: next.ino, ..plain }, "{}", String::from_utf8_lossy(path));
    }
    // Times that are not older than the earlier snapshot are not believed.
    previous = Snapshot { time: Time { seconds: 1, nanos: 0 }, ..snapshot(&next) };
    let counted = Counted { inner: objects, ..Counted::new() };
    import(&counted, &counter, root, Some(&previous), &ImportOptions::default(), &silent).await.unwrap();
    assert!(counted.added().0 > 5);
}

#[tokio::test]
async fn a_change_in_the_tick_of_the_import_is_seen_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("racy");
    let (objects, counter) = (memory(), Counter::default());
    let mut previous = fresh(&import_all(&objects, &counter, folder.path()).await);
    for round in 0..60u8 {
        // Written, imported and written again as fast as can be, with one size and one mtime.
        fs::write(&path, [round; 100]).unwrap();
        let imported = again(&objects, &counter, folder.path(), &previous).await;
        let mtime = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, [round + 100; 100]).unwrap();
        File::open(&path).unwrap().set_modified(mtime).unwrap();
        previous = Snapshot { time: Time { seconds: i64::MAX, nanos: 0 }, ..snapshot(&imported) };
        let imported = again(&objects, &counter, folder.path(), &previous).await;
        assert_eq!(content(&objects, &at(&objects, &imported, b"racy").await).await, [round + 100; 100]);
        previous = fresh(&imported);
    }
}
