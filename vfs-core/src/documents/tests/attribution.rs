//! Who wrote a version, as the turn log says.

use super::*;
use crate::db::{EventRow, SessionRow, documents, sessions, turn_log};
use crate::id::{SessionId, SnapshotId, WorkspaceId};

struct Log {
    repo: Repo,
    session: SessionRow,
}

impl Log {
    async fn new(repo: &Repo) -> Log {
        let id = SessionId::from_bytes([7; 8]);
        let (workspace, head) = (WorkspaceId::from_bytes([1; 16]), SnapshotId::from_bytes([2; 32]));
        let mut session = SessionRow::new(id, workspace, head, repo.now());
        session.epoch = 3;
        let mut log = Log { repo: repo.clone(), session };
        log.append(&[]).await;
        log
    }

    /// Appends (kind, turn, tool call).
    async fn append(&mut self, events: &[(&str, u64, &str)]) {
        let mut transaction = self.repo.database().begin().await.unwrap();
        sessions::put(&mut transaction, 1, &self.session).await.unwrap();
        for (kind, turn, tool_call) in events {
            let event = EventRow {
                sequence: self.session.last_sequence + 1,
                key: format!("{kind}:{turn}:{tool_call}"),
                kind: (*kind).into(),
                turn: *turn,
                tool_call: (*tool_call).into(),
                time: self.repo.now(),
                epoch: 3,
                data: "{}".into(),
            };
            turn_log::append(&mut transaction, &mut self.session, &event).await.unwrap();
        }
        sessions::put(&mut transaction, 1, &self.session).await.unwrap();
        self.repo.database().commit(transaction).await.unwrap();
    }

    fn writer(&self) -> Writer {
        Writer { author: "main".into(), session: self.session.id.to_hex(), ..Writer::default() }
    }

    /// Writes as the mount does; who it was by.
    async fn write(&self, name: &str) -> (u64, String) {
        let version =
            written(&self.repo, &Write { writer: self.writer(), ..put("org", name, Basis::Absent, "x") }).await;
        assert_eq!((version.session, version.author.as_str()), (self.session.id.to_hex(), "main"));
        (version.turn, version.tool_call)
    }
}

#[tokio::test]
async fn a_write_belongs_to_the_call_that_is_open() {
    let (repo, _) = repo().await;
    let mut log = Log::new(&repo).await;
    assert_eq!(log.write("a").await, (0, String::new()), "before the first turn");
    log.append(&[("session.started", 0, ""), ("turn.started", 1, ""), ("model.answer", 1, "")]).await;
    assert_eq!(log.write("b").await, (1, String::new()), "no call yet");
    log.append(&[("tool.started", 1, "call-1")]).await;
    assert_eq!(log.write("c").await, (1, "call-1".into()));
    log.append(&[("tool.started", 1, "call-2")]).await;
    assert_eq!(log.write("d").await, (1, "call-2".into()), "the newest of those that run");
    log.append(&[("tool.finished", 1, "call-2")]).await;
    assert_eq!(log.write("e").await, (1, "call-1".into()));
    log.append(&[("tool.finished", 1, "call-1")]).await;
    assert_eq!(log.write("f").await, (1, String::new()));
    log.append(&[("turn.ended", 1, "")]).await;
    assert_eq!(log.write("g").await, (0, String::new()), "between turns");
    log.append(&[("turn.started", 2, ""), ("tool.started", 2, "call-3")]).await;
    let writer = Writer { tool_call: "said".into(), ..log.writer() };
    let said = written(&repo, &Write { writer, ..put("user/ana", "h", Basis::Absent, "x") }).await;
    assert_eq!((said.turn, said.tool_call.as_str()), (2, "said"));

    let mut connection = repo.database().read().await.unwrap();
    let session = log.session.id.to_hex();
    let of = documents::versions_of_turn(&mut connection, &session, 1).await.unwrap();
    let names: Vec<_> = of.iter().map(|(scope, path, version)| format!("{scope}/{path}@{version}")).collect();
    assert_eq!(names, ["org/b@1", "org/c@1", "org/d@1", "org/e@1", "org/f@1"]);
    let of = documents::versions_of_turn(&mut connection, &session, 2).await.unwrap();
    assert_eq!(of, [("user/ana".to_owned(), "h".to_owned(), 1)]);
    assert_eq!(documents::versions_of_turn(&mut connection, "", 0).await.unwrap(), []);
}

#[tokio::test]
async fn a_side_version_belongs_to_its_turn_too() {
    let (repo, _) = repo().await;
    let mut log = Log::new(&repo).await;
    log.append(&[("turn.started", 1, ""), ("tool.started", 1, "call-1")]).await;
    written(&repo, &put("org", "a", Basis::Absent, "base\n")).await;
    written(&repo, &put("org", "a", Basis::Version(1), "theirs\n")).await;
    let write = Write { writer: log.writer(), ..merging("org", "a", Basis::Version(1), "yours\n") };
    assert_eq!(conflicting(&repo, &write).await.yours.version, 3);
    let mut connection = repo.database().read().await.unwrap();
    let of = documents::versions_of_turn(&mut connection, &log.session.id.to_hex(), 1).await.unwrap();
    assert_eq!(of, [("org".to_owned(), "a".to_owned(), 3)]);
}

#[tokio::test]
async fn a_stale_epoch_writes_nothing() {
    let (repo, _) = repo().await;
    let log = Log::new(&repo).await;
    let with = |epoch| Write { writer: Writer { epoch, ..log.writer() }, ..put("org", "a", Basis::Absent, "x") };
    for stale in [2, 4] {
        assert_eq!(kind(repo.write_document(&with(Some(stale))).await), Some(Kind::LeaseLost));
    }
    assert_eq!(kind(content(&repo, &org(), "a").await), Some(Kind::NotFound));
    written(&repo, &with(Some(3))).await;
    let writer = Writer { session: String::new(), epoch: Some(3), ..Writer::default() };
    assert_eq!(kind(repo.write_document(&Write { writer, ..with(None) }).await), Some(Kind::Invalid));
    for (session, expected) in [("0000000000000000", Kind::NotFound), ("nonsense", Kind::Invalid)] {
        let writer = Writer { session: session.into(), ..Writer::default() };
        assert_eq!(kind(repo.write_document(&Write { writer, ..with(None) }).await), Some(expected), "{session}");
    }
}
