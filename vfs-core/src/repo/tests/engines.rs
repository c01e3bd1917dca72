//! Several engines on one PostgreSQL and one bucket: whatever one decides, all others have to live with.

use std::time::Instant;

use futures::future::join_all;

use super::*;
use crate::clock::SystemClock;
use crate::documents::{Basis, Change, Grants, Outcome, Write, Writer};
use crate::gc::GcOptions;
use crate::progress::silent;

/// Engines with a data folder each; the bucket is a folder that all reach.
struct Team {
    engines: Vec<Repo>,
    folder: tempfile::TempDir,
    url: String,
}

impl Team {
    async fn new(engines: usize, clock: Arc<dyn Clock>) -> Option<Team> {
        let url = crate::testing::postgres::database()?;
        let folder = tempfile::tempdir().unwrap();
        // All at once, on a database and a bucket that are new.
        let opening = (0..engines).map(|number| Repo::open(options(folder.path(), &url, number, clock.clone())));
        let engines = join_all(opening).await.into_iter().map(Result::unwrap).collect();
        Some(Team { engines, folder, url })
    }

    fn engine(&self, number: usize) -> &Repo {
        &self.engines[number % self.engines.len()]
    }
}

fn options(folder: &std::path::Path, url: &str, number: usize, clock: Arc<dyn Clock>) -> RepoOptions {
    RepoOptions {
        data: folder.join(format!("engine{number}")),
        bucket: Some(format!("file://{}/bucket", folder.display())),
        database: Some(url.to_owned()),
        key: None,
        clock,
    }
}

/// One test: each process of tests starts a server of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn are_correct_together() {
    let Some(team) = Team::new(4, Arc::new(SystemClock)).await else { return };
    they_are_one_repo(&team).await;
    what_does_not_belong_is_refused(&team).await;
    of_racing_holders_one_attaches(&team).await;
    of_racing_publishes_one_wins(&team).await;
    racing_documents_lose_nothing(&team).await;
    heads_are_linearisable(&team).await;
    gc_beside_publishes_loses_nothing(&team).await;
    a_lease_is_live_as_long_as_it_is_renewed().await;
}

async fn they_are_one_repo(team: &Team) {
    let ids: Vec<_> = team.engines.iter().map(|engine| (engine.repo_id(), engine.tenant())).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let mut mount = Mount::new(team.engine(0), "shared").await;
    let snapshot = mount.write("a", &[content(1, 9000)], note("one")).await.unwrap();
    assert_eq!(team.engine(1).workspace("shared").await.unwrap().head, snapshot);
    assert_eq!(files(team.engine(1), snapshot).await.unwrap()[0].1, content(1, 9000));
    team.engine(0).detach(&mount.lease).await.unwrap();
}

async fn what_does_not_belong_is_refused(team: &Team) {
    let clock = || Arc::new(SystemClock);
    let asked = |number: usize| options(team.folder.path(), &team.url, number, clock());
    let refused = async |options: RepoOptions| Repo::open(options).await.err().expect("because it must not open");
    // The folder remembers its database and its bucket.
    let remembered = RepoOptions { database: None, bucket: None, ..asked(0) };
    assert_eq!(Repo::open(remembered.clone()).await.unwrap().repo_id(), team.engine(0).repo_id());
    let file = team.folder.path().join("engine0/database");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(file).unwrap()) & 0o777;
    assert_eq!(mode, 0o600, "it may hold a password");
    let fresh = crate::testing::postgres::database().unwrap();
    let other = refused(RepoOptions { database: Some(fresh.replace("esker@", "esker:hush@")), ..asked(0) }).await;
    assert!(other.kind() == Kind::Invalid && other.to_string().contains("leave --database out"), "{other}");
    assert!(!format!("{other:?}").contains("hush"), "{other:?}");
    let other = format!("file://{}/other", team.folder.path().display());
    assert_eq!(refused(RepoOptions { bucket: Some(other), ..asked(0) }).await.kind(), Kind::Invalid);
    // Another database on this bucket.
    let stolen = refused(RepoOptions { database: Some(fresh.clone()), ..asked(11) }).await;
    assert!(stolen.kind() == Kind::Denied && stolen.to_string().contains("two databases"), "{stolen}");
    // No bucket, or one that only this engine has.
    let none = refused(RepoOptions { database: Some(fresh.clone()), bucket: None, ..asked(12) }).await;
    assert!(none.kind() == Kind::Invalid && none.to_string().contains("--bucket"), "{none}");
    let memory = Some("memory:///".to_owned());
    assert_eq!(refused(RepoOptions { database: Some(fresh), bucket: memory, ..asked(13) }).await.kind(), Kind::Invalid);
    // A folder that has its own database.
    Repo::open(RepoOptions { database: None, bucket: None, ..asked(14) }).await.unwrap();
    let own = refused(asked(14)).await;
    assert!(own.kind() == Kind::Invalid && own.to_string().contains("SQLite"), "{own}");
}

async fn of_racing_holders_one_attaches(team: &Team) {
    let workspace = team.engine(0).create_workspace("held", None, None).await.unwrap().id;
    for round in 1..=5_u64 {
        let attaching = (0..12_usize).map(async |number| {
            team.engine(number).attach(workspace, holder(100 + number as u8), &who(number as u32)).await
        });
        let attached = join_all(attaching).await;
        let leases: Vec<Lease> = attached.iter().flatten().map(|attached| attached.lease).collect();
        assert_eq!(leases.len(), 1, "one of twelve");
        assert_eq!(leases[0].epoch, round, "nobody else took an epoch");
        assert!(attached.into_iter().filter_map(|result| kind(result)).all(|kind| kind == Kind::Busy));
        team.engine(round as usize).detach(&leases[0]).await.unwrap();
    }
}

/// Moves a head to the same content under a new message; the new snapshot.
async fn moved(engine: &Repo, workspace: WorkspaceId, expected: SnapshotId, message: String) -> Result<SnapshotId> {
    let snapshot = engine.snapshot(expected).await?;
    engine.move_head(workspace, expected, engine.batch(), snapshot.root, snapshot.links, note(&message)).await
}

async fn of_racing_publishes_one_wins(team: &Team) {
    let made = team.engine(0).create_workspace("raced", None, None).await.unwrap();
    let mut head = made.head;
    for round in 0..10 {
        let racing = (0..8).map(|number| moved(team.engine(number), made.id, head, format!("{round} {number}")));
        let results = join_all(racing).await;
        let won: Vec<SnapshotId> = results.iter().flatten().copied().collect();
        assert_eq!(won.len(), 1, "round {round}: {results:?}");
        assert!(results.into_iter().filter_map(kind).all(|kind| kind == Kind::Conflict));
        head = won[0];
        assert_eq!(team.engine(round).workspace("raced").await.unwrap().head, head);
    }
    assert_eq!(team.engine(1).history(made.id, true, 99).await.unwrap().len(), 11);
}

async fn racing_documents_lose_nothing(team: &Team) {
    let path: crate::documents::DocumentPath = "list.md".parse().unwrap();
    let scope = crate::documents::Scope::org();
    let within = crate::documents::Within::Scope(scope.clone());
    let put = |basis, content: String, author: &str| Write {
        scope: scope.clone(),
        path: path.clone(),
        basis,
        change: Change::Put(content.into()),
        merge: false,
        grants: Grants::All,
        writer: Writer { author: author.into(), ..Writer::default() },
    };
    team.engine(0).write_document(&put(Basis::Absent, "start\n".into(), "x")).await.unwrap();
    let writers = (0..8_usize).map(async |number| {
        let engine = team.engine(number);
        for line in 0..5 {
            loop {
                let (version, content) = engine.read_document(&within, &path, None).await.unwrap();
                let text = format!("{}{number} {line}\n", String::from_utf8_lossy(&content));
                let write = put(Basis::Version(version.version), text, &format!("writer {number}"));
                if let Outcome::Written(_) = engine.write_document(&write).await.unwrap() {
                    break;
                }
            }
        }
    });
    join_all(writers).await;
    let (version, content) = team.engine(1).read_document(&within, &path, None).await.unwrap();
    let text = String::from_utf8(content.to_vec()).unwrap();
    assert_eq!((version.version, text.lines().count()), (41, 41), "each line was written once:\n{text}");
}

/// What a client saw: which head, between which moments, and whether it made it.
struct Seen {
    began: Instant,
    ended: Instant,
    head: SnapshotId,
    made: bool,
}

/// 16 clients read and move one head through all engines. There must be an order of all that they saw in which each
/// sees the newest head, and which does not contradict the clock.
async fn heads_are_linearisable(team: &Team) {
    let made = team.engine(0).create_workspace("ordered", None, None).await.unwrap();
    let clients = (0..16_usize).map(async |client| {
        let mut seen = Vec::new();
        for step in 0..12 {
            let engine = team.engine(client + step);
            let began = Instant::now();
            let head = engine.workspace("ordered").await.unwrap().head;
            seen.push(Seen { began, ended: Instant::now(), head, made: false });
            let began = Instant::now();
            match moved(team.engine(client * 3 + step), made.id, head, format!("{client} {step}")).await {
                Ok(head) => seen.push(Seen { began, ended: Instant::now(), head, made: true }),
                Err(error) => assert_eq!(error.kind(), Kind::Conflict, "{error}"),
            }
        }
        seen
    });
    let seen: Vec<Seen> = join_all(clients).await.into_iter().flatten().collect();
    let mut order: Vec<SnapshotId> =
        team.engine(0).history(made.id, true, 999).await.unwrap().iter().map(|row| row.snapshot).collect();
    order.reverse();
    let moves = seen.iter().filter(|seen| seen.made).count();
    assert_eq!(order.len(), moves + 1, "each acknowledged move is in the history, once");
    assert!(moves >= 12, "the race was one");
    let place = |seen: &Seen| order.iter().position(|head| *head == seen.head).expect("a head that never was");
    for earlier in &seen {
        for later in seen.iter().filter(|later| later.began > earlier.ended) {
            let (before, after) = (place(earlier), place(later));
            let in_order = if later.made { before < after } else { before <= after };
            assert!(in_order, "head {after} was seen after head {before} had been");
        }
    }
}

/// One engine publishes, forks and deletes; two others collect garbage all the time, with a grace period that is longer
/// than any upload here.
async fn gc_beside_publishes_loses_nothing(team: &Team) {
    const GRACE: Duration = Duration::from_millis(1500);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let publish = async {
        let mut mount = Mount::new(team.engine(0), "kept").await;
        let began = Instant::now();
        let mut number = 0;
        while began.elapsed() < Duration::from_secs(6) {
            number += 1;
            // Every third has the content of one that was deleted: garbage that comes to life again.
            let (garbage, kept) = (content(number / 3 + 1000, 20_000), content(number % 7 + 1000, 20_000));
            let name = format!("garbage{number}");
            let mut doomed = Mount::new(team.engine(1), &name).await;
            doomed.write("a", &[garbage], note("soon gone")).await.unwrap();
            doomed.repo.detach(&doomed.lease).await.unwrap();
            team.engine(1).delete_workspace(doomed.lease.workspace).await.unwrap();
            let position = mount.position;
            match mount.write(&format!("file{}", number % 20), &[kept], note("kept")).await {
                Ok(_) => {}
                Err(error) if error.kind() == Kind::Conflict => mount.position = position,
                Err(error) => panic!("{error:?}"),
            }
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        team.engine(0).detach(&mount.lease).await.unwrap();
        (mount.base, number)
    };
    let collect = |engine: usize| {
        let stop = &stop;
        async move {
            let mut deleted = 0;
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                let options = GcOptions { grace: GRACE, ..GcOptions::default() };
                match team.engine(engine).gc(options, &silent).await {
                    Ok(report) => deleted += report.deletable_packs,
                    // It was overtaken, or the other one was faster: nothing was deleted.
                    Err(error) => assert_ne!(error.kind(), Kind::Internal, "{error:?}"),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            deleted
        }
    };
    let ((head, published), one, two) = tokio::join!(publish, collect(2), collect(3));
    assert!(published > 5 && one + two > 0, "{published} publishes, {one} and {two} packs deleted");
    let report = team.engine(3).check(CheckOptions { full: true }, &silent).await.unwrap();
    assert!(report.damages.is_empty(), "{report:?}");
    assert_eq!(files(team.engine(1), head).await.unwrap().is_empty(), false);
}

async fn a_lease_is_live_as_long_as_it_is_renewed() {
    let clock = TestClock::new();
    let team = Team::new(2, clock.clone()).await.unwrap();
    let (one, two) = (team.engine(0), team.engine(1));
    let mut mount = Mount::new(one, "w").await;
    one.set_connected(&mount.lease, true);
    for _ in 0..4 {
        clock.advance(Duration::from_secs(40));
        // What the engine with the control connection does every twenty seconds.
        one.touch(&mount.lease).await.unwrap();
        clock.advance(Duration::from_secs(15));
        assert_eq!(kind(two.attach(mount.lease.workspace, holder(2), &who(2)).await), Some(Kind::Busy));
        assert_eq!(kind(two.delete_workspace(mount.lease.workspace).await), Some(Kind::Busy));
    }
    // The first engine is cut off. What it remembers of the connection counts for nobody else.
    clock.advance(Duration::from_secs(61));
    mount.send("a", &[content(1, 9000)]).await.unwrap();
    let taken = two.attach(mount.lease.workspace, holder(2), &who(2)).await.unwrap();
    assert_eq!(kind(mount.commit(note("too late")).await), Some(Kind::LeaseLost));
    assert_eq!(kind(one.touch(&mount.lease).await), Some(Kind::LeaseLost));
    let mut other = Mount::on(two, taken);
    other.write("b", &[content(2, 9000)], note("in time")).await.unwrap();
    let names: Vec<String> = files(one, other.base).await.unwrap().into_iter().map(|file| file.0).collect();
    assert_eq!(names, ["b"]);
}
