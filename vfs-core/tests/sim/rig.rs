//! The rig itself: each fault does what its name says, and the turnstile lets actors pass as the seed says.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode};
use parking_lot::Mutex;
use vfs_core::testing::{Fault, Faults, FaultyStore, Rule, Turnstile, When, gate};

use crate::worlds::block_on;

struct Rig {
    memory: Arc<InMemory>,
    faults: Arc<Faults>,
    store: FaultyStore,
}

fn rig() -> Rig {
    let (memory, faults) = (Arc::new(InMemory::new()), Arc::new(Faults::new(1)));
    let store = FaultyStore::new(memory.clone(), faults.clone());
    Rig { memory, faults, store }
}

impl Rig {
    fn next(&self, fault: Fault) {
        self.faults.set([Rule::anywhere(fault, When::Nth(0))]);
    }

    async fn put(&self, name: &str, text: &'static str) -> Result<(), Error> {
        let bytes = Bytes::from_static(text.as_bytes());
        self.store.put_opts(&Path::from(name), bytes.into(), PutMode::Create.into()).await.map(drop)
    }

    async fn get(&self, name: &str) -> Result<Bytes, Error> {
        self.store.get(&Path::from(name)).await?.bytes().await
    }

    async fn has(&self, name: &str) -> bool {
        self.memory.head(&Path::from(name)).await.is_ok()
    }

    async fn names(&self) -> Result<Vec<String>, Error> {
        let listed: Vec<_> = self.store.list(None).try_collect().await?;
        Ok(listed.into_iter().map(|meta| meta.location.to_string()).collect())
    }
}

#[test]
fn writes_meet_their_faults() {
    block_on(async {
        let rig = rig();
        for (fault, effect) in [
            (Fault::ErrorBefore, false),
            (Fault::ErrorAfter, true),
            (Fault::Torn, false),
            (Fault::Busy503, false),
            (Fault::Denied, false),
            // The second of two creates finds the first one's object.
            (Fault::Duplicate, true),
        ] {
            let name = format!("{fault:?}");
            rig.next(fault);
            assert!(rig.put(&name, "text").await.is_err(), "{fault:?}");
            assert_eq!(rig.has(&name).await, effect, "{fault:?}");
        }
        rig.next(Fault::Delay);
        rig.put("late", "text").await.unwrap();
        assert_eq!(rig.faults.count(), 7);
        rig.next(Fault::ErrorAfter);
        assert!(rig.store.delete(&Path::from("late")).await.is_err());
        assert!(!rig.has("late").await);
    });
}

#[test]
fn reads_and_lists_meet_their_faults() {
    block_on(async {
        let rig = rig();
        for name in ["a", "b", "c", "d"] {
            rig.put(name, "the right text").await.unwrap();
        }
        for _ in 0..9 {
            rig.next(Fault::WrongBytes);
            assert_ne!(rig.get("a").await.unwrap(), "the right text");
        }
        rig.next(Fault::SlowBody);
        assert_eq!(rig.get("a").await.unwrap(), "the right text");
        rig.next(Fault::StaleList);
        assert_eq!(rig.names().await.unwrap(), Vec::<String>::new(), "the newest changes do not show");
        rig.next(Fault::MissingPage);
        assert!(rig.names().await.unwrap().len() < 4);
        for fault in [Fault::ErrorBefore, Fault::ErrorAfter, Fault::Timeout, Fault::Denied] {
            rig.next(fault);
            assert!(rig.names().await.is_err(), "{fault:?}");
        }
        assert_eq!(rig.names().await.unwrap().len(), 4, "the rule was for one call");
    });
}

#[test]
fn a_cut_upload_leaves_nothing_or_a_staged_file() {
    block_on(async {
        let rig = rig();
        let path = Path::from("whole");
        for fault in [Fault::Torn, Fault::ErrorBefore] {
            let mut upload = rig.store.put_multipart(&path).await.unwrap();
            upload.put_part(Bytes::from_static(b"one").into()).await.unwrap();
            rig.next(fault);
            assert!(upload.complete().await.is_err());
            assert!(!rig.has("whole").await, "{fault:?}");
        }
        let mut upload = rig.store.put_multipart(&path).await.unwrap();
        upload.put_part(Bytes::from_static(b"one").into()).await.unwrap();
        upload.put_part(Bytes::from_static(b"two").into()).await.unwrap();
        rig.next(Fault::ErrorAfter);
        assert!(upload.complete().await.is_err());
        assert_eq!(rig.get("whole").await.unwrap(), "onetwo");

        let folder = tempfile::tempdir().unwrap();
        let staged = FaultyStore::over_folder(rig.memory.clone(), rig.faults.clone(), folder.path().to_owned());
        rig.next(Fault::Torn);
        assert!(staged.put(&Path::from("t/x"), Bytes::from_static(b"1234").into()).await.is_err());
        assert_eq!(std::fs::read(folder.path().join("t/x#1")).unwrap(), b"12");
    });
}

/// The order in which actors pass three gates each.
fn order(seed: u64) -> Vec<String> {
    block_on(async {
        let mut turnstile = Turnstile::new(seed);
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        let order: Arc<Mutex<Vec<String>>> = Arc::default();
        for actor in ["a", "b", "c"] {
            let (lock, order) = (lock.clone(), order.clone());
            turnstile.spawn(0, actor, async move {
                for number in 0..3 {
                    // Others wait for this lock while its owner waits at a gate.
                    let _held = lock.lock().await;
                    gate("a gate").await;
                    order.lock().push(format!("{actor}{number}"));
                    tokio::task::spawn_blocking(|| std::thread::sleep(std::time::Duration::from_millis(1)))
                        .await
                        .unwrap();
                }
                gate("the end").await;
            });
        }
        while turnstile.step().await.is_some() {}
        let order = order.lock().clone();
        assert_eq!(order.len(), 9);
        order
    })
}

/// Who gets a lock in which order, if each waits for a thread before it asks; `busy_us` says how long those threads work.
fn order_after_threads(busy_us: [u64; 3]) -> Vec<&'static str> {
    block_on(async {
        let mut turnstile = Turnstile::new(1);
        let lock = Arc::new(tokio::sync::Mutex::new(Vec::new()));
        for (actor, busy_us) in ["a", "b", "c"].into_iter().zip(busy_us) {
            let lock = lock.clone();
            turnstile.spawn(0, actor, async move {
                // It must be awake all the time: a thread that sleeps counts as done.
                let work = move || {
                    let started = std::time::Instant::now();
                    while started.elapsed().as_micros() < u128::from(busy_us) {}
                };
                tokio::task::spawn_blocking(work).await.unwrap();
                lock.lock().await.push(actor);
                gate("the end").await;
            });
        }
        while turnstile.step().await.is_some() {}
        lock.lock().await.clone()
    })
}

#[test]
fn a_turnstile_does_not_depend_on_how_fast_threads_are() {
    for busy_us in [[0, 3000, 6000], [6000, 3000, 0], [3000, 6000, 0]] {
        assert_eq!(order_after_threads(busy_us), ["a", "b", "c"], "{busy_us:?}");
    }
}

#[test]
fn a_turnstile_follows_its_seed() {
    assert_eq!(order(1), order(1));
    block_on(async {
        // Without locks, other seeds give other orders, and a killed group goes no further.
        let mut orders = std::collections::BTreeSet::new();
        for seed in 0..8 {
            let mut turnstile = Turnstile::new(seed);
            for actor in ["a", "b", "c"] {
                turnstile.spawn(usize::from(actor == "c"), actor, async {
                    gate("one").await;
                    gate("two").await;
                });
            }
            let first = turnstile.step().await.unwrap();
            turnstile.kill(1);
            let mut names = vec![first.actor];
            while let Some(passed) = turnstile.step().await {
                assert_ne!(passed.actor, "c");
                names.push(passed.actor);
            }
            assert!(!turnstile.is_alive(0) && !turnstile.is_alive(1));
            orders.insert(names);
        }
        assert!(orders.len() > 2, "{orders:?}");
    });
}
