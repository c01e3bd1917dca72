//! Names that move, and the index: the database of a repo.
//!
//! One file a noun, in the SQL that SQLite and PostgreSQL share; below them the narrow trait of `backend` and its two
//! implementations (decision 0017). Only this module holds SQL. Rows of refs, history, leases and documents carry
//! their own hash: no database's integrity check sees a flipped bit.
//!
//! The functions of the nouns take a connection, so that several make one transaction. A transaction in which a
//! statement has failed cannot be committed, on neither database: PostgreSQL would roll it back and say nothing.

mod backend;
pub mod checked;
#[cfg(test)]
mod conformance;
pub mod copies;
pub mod counters;
pub mod documents;
pub mod history;
pub mod leases;
pub mod meta;
pub mod orphans;
pub mod packs;
mod postgres;
mod query;
pub mod quotas;
pub mod refs;
pub mod repairs;
pub mod retention;
mod row;
mod row_more;
mod schema;
mod session_row;
pub mod sessions;
pub mod side_refs;
mod sqlite;
#[cfg(test)]
mod tests;
pub mod turn_log;
pub mod workspaces;

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;

use backend::{Backend, Each, Failure, Open, Outcome, Row, Statement, map_error};
pub(crate) use postgres::PostgresUrl;
use query::{Builder, Columns, query, time_to_sql, to_sql};
pub use row::{
    DocumentRow, HistoryRow, KindTotals, LeaseRow, Location, OrphanRow, PackRow, RefRow, VersionRow, WorkspaceRow,
};
pub use row_more::{CheckedPack, IndexRow, SideRefRow};
pub use session_row::{DocumentVersion, EventRow, SessionRow, TurnRow};

use crate::error::{Error, Kind, Result};

/// The database of a repo. Clones are the same database.
#[derive(Debug, Clone)]
pub struct Database {
    backend: Arc<dyn Backend>,
}

/// A connection, inside or outside of a transaction.
pub struct Connection {
    open: Box<dyn Open>,
    failed: bool,
}

/// A transaction that may write; rolled back when dropped.
pub struct Transaction(Connection);

impl Database {
    /// Opens a file of SQLite, makes it if need be, and brings its tables up to date.
    pub async fn open(path: &Path) -> Result<Database> {
        Ok(Database { backend: Arc::new(sqlite::Sqlite::open(path).await?) })
    }

    /// Connects to a database of PostgreSQL and brings its tables up to date.
    pub(crate) async fn connect(url: &PostgresUrl) -> Result<Database> {
        Ok(Database { backend: Arc::new(postgres::Postgres::open(url).await?) })
    }

    /// A database in memory.
    pub async fn in_memory() -> Result<Database> {
        Ok(Database { backend: Arc::new(sqlite::Sqlite::in_memory().await?) })
    }

    /// A connection that only reads.
    pub async fn read(&self) -> Result<Connection> {
        let open = self.backend.read().await;
        open.map(Connection::new).map_err(|failure| map_error(failure, "the database has no free connection"))
    }

    /// Starts a transaction that sees and blocks all other writers.
    pub async fn begin(&self) -> Result<Transaction> {
        #[cfg(feature = "testing")]
        crate::testing::step("begin").await?;
        let failed = |failure| map_error(failure, "a transaction could not be started");
        #[cfg_attr(not(feature = "testing"), allow(unused_mut))]
        let mut open = self.backend.begin().await.map_err(failed)?;
        #[cfg(feature = "testing")]
        if let Some(statement) = crate::testing::begun() {
            open.script(statement).await.map_err(failed)?;
        }
        Ok(Transaction(Connection::new(open)))
    }

    /// Makes what a transaction wrote durable. `Unavailable`: it may have been committed or not.
    pub async fn commit(&self, transaction: Transaction) -> Result<()> {
        let Connection { open, failed } = transaction.0;
        if failed {
            let message = "a transaction in which a statement failed cannot be committed";
            return Err(Error::new(Kind::Internal, message));
        }
        #[cfg(feature = "testing")]
        crate::testing::step("commit").await?;
        open.commit().await.map_err(|failure| map_error(failure, "a transaction could not be committed"))?;
        #[cfg(feature = "testing")]
        crate::testing::step("committed").await?;
        Ok(())
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.backend.close().await;
    }

    /// The database's own look at its files; returns what it complains of.
    pub async fn integrity(&self) -> Result<Vec<String>> {
        self.backend.integrity().await.map_err(|failure| map_error(failure, "the database could not be checked"))
    }
}

impl Connection {
    fn new(open: Box<dyn Open>) -> Connection {
        Connection { open, failed: false }
    }

    async fn execute(&mut self, statement: Statement<'_>) -> Outcome<u64> {
        let done = self.open.execute(statement).await;
        self.failed |= done.is_err();
        done
    }

    async fn fetch(&mut self, statement: Statement<'_>, each: Each<'_>) -> Outcome<()> {
        let done = self.open.fetch(statement, each).await;
        self.failed |= done.is_err();
        done
    }

    /// Runs statements as they stand, for tests that damage something.
    #[cfg(test)]
    pub(crate) async fn vandal(&mut self, sql: &str) -> Result<()> {
        self.open.script(sql).await.map_err(|failure| map_error(failure, "the vandal failed"))
    }
}

impl Deref for Transaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}
