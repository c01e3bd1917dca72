//! SQLite: one file, one owner. What a committed transaction wrote survives a power cut (WAL, `synchronous=FULL`).
//!
//! One connection writes, several read. Every transaction that writes starts with `BEGIN IMMEDIATE`, so what it reads
//! is what it decides on. The functions of the nouns take a connection, so that several make one transaction.

pub mod copies;
pub mod counters;
pub mod documents;
pub mod history;
pub mod leases;
pub mod meta;
pub mod orphans;
pub mod packs;
pub mod refs;
pub mod retention;
mod schema;
pub mod sessions;
pub mod side_refs;
pub mod turn_log;
pub mod workspaces;

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Row, Sqlite, SqlitePool};

use crate::clock::Time;
use crate::error::{Error, Kind, Result};
use crate::limits::{DATABASE_BUSY, DATABASE_READERS};

/// A connection, inside or outside of a transaction.
pub type Connection = sqlx::SqliteConnection;
/// A transaction that may write; rolled back when dropped.
pub type Transaction = sqlx::Transaction<'static, Sqlite>;

/// The database of a repo. Clones are the same database.
#[derive(Debug, Clone)]
pub struct Database {
    write: SqlitePool,
    read: SqlitePool,
}

impl Database {
    /// Opens a file, makes it if need be, and brings its tables up to date.
    pub async fn open(path: &Path) -> Result<Database> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(DATABASE_BUSY)
            .foreign_keys(true);
        let failed = |error| map_error(error, &format!("the database {} could not be opened", path.display()));
        let one = SqlitePoolOptions::new().max_connections(1);
        let write = one.connect_with(options.clone()).await.map_err(failed)?;
        schema::migrate(&write).await?;
        let many = SqlitePoolOptions::new().max_connections(DATABASE_READERS);
        let read = many.connect_with(options).await.map_err(failed)?;
        Ok(Database { write, read })
    }

    /// A database in memory.
    pub async fn in_memory() -> Result<Database> {
        // It lives as long as its one connection, which must never be closed for idleness.
        let pool = SqlitePoolOptions::new().max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
        let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
        let failed = |error| map_error(error, "a database in memory could not be opened");
        let write = pool.connect_with(options).await.map_err(failed)?;
        schema::migrate(&write).await?;
        Ok(Database { read: write.clone(), write })
    }

    /// A connection that only reads.
    pub async fn read(&self) -> Result<sqlx::pool::PoolConnection<Sqlite>> {
        self.read.acquire().await.map_err(|error| map_error(error, "the database has no free connection"))
    }

    /// Starts a transaction that sees and blocks all other writers.
    pub async fn begin(&self) -> Result<Transaction> {
        let failed = |error| map_error(error, "a transaction could not be started");
        match self.write.begin_with("BEGIN IMMEDIATE").await {
            Err(sqlx::Error::InvalidSavePointStatement) => {
                // A commit failed on a full disk and SQLite rolled it back by itself: the connection still counts it.
                let stuck = self.write.acquire().await.map_err(failed)?.detach();
                sqlx::Connection::close_hard(stuck).await.map_err(failed)?;
                self.write.begin_with("BEGIN IMMEDIATE").await.map_err(failed)
            }
            begun => begun.map_err(failed),
        }
    }

    /// Makes what a transaction wrote durable.
    pub async fn commit(&self, transaction: Transaction) -> Result<()> {
        transaction.commit().await.map_err(|error| map_error(error, "a transaction could not be committed"))
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }

    /// SQLite's own look at its file; returns what it complains of.
    pub async fn integrity(&self) -> Result<Vec<String>> {
        let mut connection = self.read().await?;
        let lines: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(20)")
            .fetch_all(&mut *connection)
            .await
            .map_err(|error| map_error(error, "the database could not be checked"))?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
    }
}

/// An error of ours for one of SQLite's.
pub(super) fn map_error(error: sqlx::Error, context: &str) -> Error {
    const FULL: &str = "13";
    const DAMAGED: [&str; 2] = ["11", "26"];
    let code = match &error {
        sqlx::Error::Database(cause) => cause.code().map(|code| primary_code(&code)),
        _ => None,
    };
    let kind = match (&error, code.as_deref()) {
        (_, Some(FULL)) => Kind::NoSpace,
        (_, Some(code)) if DAMAGED.contains(&code) => Kind::Corrupt,
        (sqlx::Error::Database(cause), _) if cause.is_unique_violation() => Kind::AlreadyExists,
        (sqlx::Error::Database(_) | sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed, _) => {
            Kind::Unavailable
        }
        (sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_), _) => Kind::Corrupt,
        _ => Kind::Internal,
    };
    Error::new(kind, context).because(error)
}

/// SQLite's extended codes keep the primary code in their low byte.
fn primary_code(code: &str) -> String {
    code.parse::<u32>().map_or_else(|_| code.to_owned(), |code| (code & 0xff).to_string())
}

/// Numbers are 64 bits with a sign in SQLite; ours never use the sign.
fn to_sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn time_to_sql(time: Time) -> i64 {
    time.as_nanos().clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// Reads typed columns; whatever does not fit is damage.
struct Columns<'r>(&'r SqliteRow);

impl Columns<'_> {
    fn number(&self, name: &'static str) -> Result<u64> {
        let value: i64 = self.0.try_get(name).map_err(|error| map_error(error, "a row could not be read"))?;
        u64::try_from(value).map_err(|_| Error::corrupt(format!("the column {name} of a row is negative")))
    }

    fn small<T: TryFrom<u64>>(&self, name: &'static str) -> Result<T> {
        let value = self.number(name)?;
        T::try_from(value).map_err(|_| Error::corrupt(format!("the column {name} of a row is out of range")))
    }

    fn bytes(&self, name: &'static str) -> Result<&[u8]> {
        self.0.try_get(name).map_err(|error| map_error(error, "a row could not be read"))
    }

    fn optional_bytes(&self, name: &'static str) -> Result<Option<&[u8]>> {
        self.0.try_get(name).map_err(|error| map_error(error, "a row could not be read"))
    }

    fn array<const N: usize>(&self, name: &'static str) -> Result<[u8; N]> {
        let bytes = self.bytes(name)?;
        bytes.try_into().map_err(|_| Error::corrupt(format!("the column {name} of a row has {} bytes", bytes.len())))
    }

    fn text(&self, name: &'static str) -> Result<String> {
        self.0.try_get(name).map_err(|error| map_error(error, "a row could not be read"))
    }

    fn optional_text(&self, name: &'static str) -> Result<Option<String>> {
        self.0.try_get(name).map_err(|error| map_error(error, "a row could not be read"))
    }

    fn time(&self, name: &'static str) -> Result<Time> {
        let nanos: i64 = self.0.try_get(name).map_err(|error| map_error(error, "a row could not be read"))?;
        Ok(Time::from_nanos(nanos.into()))
    }

    fn optional_time(&self, name: &'static str) -> Result<Option<Time>> {
        let nanos: Option<i64> = self.0.try_get(name).map_err(|error| map_error(error, "a row could not be read"))?;
        Ok(nanos.map(|nanos| Time::from_nanos(nanos.into())))
    }
}
