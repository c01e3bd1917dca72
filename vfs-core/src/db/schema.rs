//! The tables, and how an older database gets them: numbered steps, written once, in SQLite's words.

use crate::error::{Error, Kind, Result};

/// Each step runs once, in a transaction of its own.
const STEPS: [&str; 4] = [FIRST, SECOND, THIRD, FOURTH];

const FIRST: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE tenants (id INTEGER PRIMARY KEY, tenant BLOB NOT NULL UNIQUE, created INTEGER NOT NULL) STRICT;
CREATE TABLE packs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant INTEGER NOT NULL REFERENCES tenants,
    pack BLOB NOT NULL UNIQUE,
    class INTEGER NOT NULL,
    size INTEGER NOT NULL,
    objects INTEGER NOT NULL,
    created INTEGER NOT NULL,
    condemned_at INTEGER
) STRICT;
CREATE TABLE objects (
    tenant INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    hash BLOB NOT NULL,
    pack INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    stored INTEGER NOT NULL,
    plain INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    PRIMARY KEY (tenant, kind, hash)
) WITHOUT ROWID, STRICT;
CREATE TABLE workspaces (
    id BLOB PRIMARY KEY,
    tenant INTEGER NOT NULL REFERENCES tenants,
    name TEXT NOT NULL,
    source TEXT,
    created INTEGER NOT NULL,
    UNIQUE (tenant, name)
) WITHOUT ROWID, STRICT;
CREATE TABLE refs (
    workspace BLOB PRIMARY KEY REFERENCES workspaces,
    snapshot BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    holder BLOB,
    position INTEGER NOT NULL,
    row_hash BLOB NOT NULL
) WITHOUT ROWID, STRICT;
CREATE TABLE history (
    workspace BLOB NOT NULL REFERENCES workspaces,
    sequence INTEGER NOT NULL,
    snapshot BLOB NOT NULL,
    time INTEGER NOT NULL,
    automatic INTEGER NOT NULL,
    message TEXT NOT NULL,
    author TEXT NOT NULL,
    session TEXT NOT NULL,
    turn TEXT NOT NULL,
    row_hash BLOB NOT NULL,
    PRIMARY KEY (workspace, sequence)
) WITHOUT ROWID, STRICT;
CREATE INDEX history_automatic ON history (workspace, time) WHERE automatic = 1;
CREATE INDEX history_snapshot ON history (snapshot);
CREATE TABLE leases (
    workspace BLOB PRIMARY KEY REFERENCES workspaces,
    holder BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    mountpoint TEXT NOT NULL,
    last_seen INTEGER NOT NULL,
    base BLOB NOT NULL,
    row_hash BLOB NOT NULL
) WITHOUT ROWID, STRICT;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE orphans (pack BLOB PRIMARY KEY, seen INTEGER NOT NULL) WITHOUT ROWID, STRICT;
";

/// Documents (decision 0011). `content` comes last, so that what is read without it stays on the row's own page.
const SECOND: &str = "
CREATE TABLE documents (
    tenant INTEGER NOT NULL REFERENCES tenants,
    scope TEXT NOT NULL,
    path TEXT NOT NULL,
    head INTEGER NOT NULL,
    newest INTEGER NOT NULL,
    row_hash BLOB NOT NULL,
    PRIMARY KEY (tenant, scope, path)
) WITHOUT ROWID, STRICT;
CREATE TABLE document_versions (
    tenant INTEGER NOT NULL,
    scope TEXT NOT NULL,
    path TEXT NOT NULL,
    version INTEGER NOT NULL,
    base INTEGER NOT NULL,
    size INTEGER NOT NULL,
    digest BLOB NOT NULL,
    deleted INTEGER NOT NULL,
    side INTEGER NOT NULL,
    time INTEGER NOT NULL,
    author TEXT NOT NULL,
    session TEXT NOT NULL,
    turn INTEGER NOT NULL,
    tool_call TEXT NOT NULL,
    request BLOB NOT NULL,
    row_hash BLOB NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (tenant, scope, path, version),
    FOREIGN KEY (tenant, scope, path) REFERENCES documents
) WITHOUT ROWID, STRICT;
CREATE INDEX document_versions_session ON document_versions (session, turn) WHERE session <> '';
";

/// Sessions and their turn logs (decision 0013). Events have a rowid: theirs are large rows.
const THIRD: &str = "
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    tenant INTEGER NOT NULL REFERENCES tenants,
    workspace BLOB NOT NULL,
    agent TEXT NOT NULL,
    user_name TEXT NOT NULL,
    title TEXT NOT NULL,
    ended TEXT NOT NULL,
    created INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    owner TEXT NOT NULL,
    last_seen INTEGER NOT NULL,
    last_sequence INTEGER NOT NULL,
    last_chain BLOB NOT NULL,
    turns INTEGER NOT NULL,
    began_on BLOB NOT NULL,
    row_hash BLOB NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX sessions_created ON sessions (tenant, created);
CREATE INDEX sessions_workspace ON sessions (workspace);
CREATE TABLE events (
    session TEXT NOT NULL REFERENCES sessions,
    sequence INTEGER NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    turn INTEGER NOT NULL,
    tool_call TEXT NOT NULL,
    time INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    data TEXT NOT NULL,
    chain BLOB NOT NULL,
    PRIMARY KEY (session, sequence),
    UNIQUE (session, key)
) STRICT;
CREATE TABLE turns (
    session TEXT NOT NULL REFERENCES sessions,
    number INTEGER NOT NULL,
    snapshot BLOB NOT NULL,
    before BLOB NOT NULL,
    documents TEXT NOT NULL,
    time INTEGER NOT NULL,
    row_hash BLOB NOT NULL,
    PRIMARY KEY (session, number)
) WITHOUT ROWID, STRICT;
";

/// Side refs, retention, quotas and what gc needs (decision 0018).
const FOURTH: &str = "
ALTER TABLE packs ADD COLUMN emptied INTEGER NOT NULL DEFAULT 0;
ALTER TABLE orphans ADD COLUMN dead INTEGER NOT NULL DEFAULT 0;
ALTER TABLE workspaces ADD COLUMN retention TEXT;
ALTER TABLE workspaces ADD COLUMN quota_bytes INTEGER;
ALTER TABLE workspaces ADD COLUMN quota_files INTEGER;
ALTER TABLE tenants ADD COLUMN retention TEXT;
ALTER TABLE tenants ADD COLUMN quota_bytes INTEGER;
ALTER TABLE tenants ADD COLUMN quota_files INTEGER;
CREATE TABLE side_refs (
    workspace BLOB NOT NULL REFERENCES workspaces,
    name TEXT NOT NULL,
    snapshot BLOB NOT NULL,
    created INTEGER NOT NULL,
    row_hash BLOB NOT NULL,
    PRIMARY KEY (workspace, name)
) WITHOUT ROWID, STRICT;
CREATE TABLE usage (
    workspace BLOB PRIMARY KEY REFERENCES workspaces,
    bytes INTEGER NOT NULL,
    files INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE TABLE checked_packs (
    pack BLOB PRIMARY KEY,
    checked INTEGER NOT NULL,
    damaged INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
";

/// How many steps there are.
pub(super) fn newest() -> i64 {
    STEPS.len() as i64
}

/// The steps that a database with this version has not seen; refuses one of a newer Esker.
pub(super) fn steps_after(version: i64) -> Result<&'static [&'static str]> {
    usize::try_from(version).ok().and_then(|done| STEPS.get(done..)).ok_or_else(|| {
        let message =
            format!("the database has schema version {version}, this Esker knows {}: use a newer Esker", STEPS.len());
        Error::new(Kind::Unsupported, message)
    })
}
