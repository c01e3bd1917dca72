//! SQLite: one file, one owner. What a committed transaction wrote survives a power cut (WAL, `synchronous=FULL`).
//!
//! One connection writes, several read. Every transaction that writes starts with `BEGIN IMMEDIATE`, so what it reads
//! is what it decides on.

use std::path::Path;

use async_trait::async_trait;
use futures::TryStreamExt;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, SqliteConnection, SqlitePool};

use super::backend::{Backend, Each, Failure, Open, Outcome, Row, Statement, Value, map_error};
use super::schema;
use crate::error::{Kind, Result};
use crate::limits::{
    DATABASE_BUSY, DATABASE_CACHE_KIB, DATABASE_READER_CACHE_KIB, DATABASE_READERS, DATABASE_STATEMENTS,
};

/// A file, or memory.
#[derive(Debug)]
pub(super) struct Sqlite {
    write: SqlitePool,
    read: SqlitePool,
}

impl Sqlite {
    /// Opens a file, makes it if need be, and brings its tables up to date.
    pub(super) async fn open(path: &Path) -> Result<Sqlite> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(DATABASE_BUSY)
            .statement_cache_capacity(DATABASE_STATEMENTS)
            // A statement with many rows keeps the pages that it changes for the case that it fails: in memory, not in
            // a file elsewhere.
            .pragma("temp_store", "memory")
            .foreign_keys(true);
        let context = format!("the database {} could not be opened", path.display());
        let failed = |cause| map_error(failure(cause), &context);
        let one = SqlitePoolOptions::new().max_connections(1);
        // SQLite takes a negative size as KiB.
        let cached = |kib: u32| options.clone().pragma("cache_size", format!("-{kib}"));
        let write = one.connect_with(cached(DATABASE_CACHE_KIB)).await.map_err(failed)?;
        migrate(&write, &context).await?;
        let many = SqlitePoolOptions::new().max_connections(DATABASE_READERS);
        let read = many.connect_with(cached(DATABASE_READER_CACHE_KIB)).await.map_err(failed)?;
        Ok(Sqlite { write, read })
    }

    /// A database in memory.
    pub(super) async fn in_memory() -> Result<Sqlite> {
        // It lives as long as its one connection, which must never be closed for idleness.
        let pool = SqlitePoolOptions::new().max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
        let options = SqliteConnectOptions::new()
            .in_memory(true)
            .statement_cache_capacity(DATABASE_STATEMENTS)
            .foreign_keys(true);
        let context = "a database in memory could not be opened";
        let write = pool.connect_with(options).await.map_err(|cause| map_error(failure(cause), context))?;
        migrate(&write, context).await?;
        Ok(Sqlite { read: write.clone(), write })
    }
}

#[async_trait]
impl Backend for Sqlite {
    async fn read(&self) -> Outcome<Box<dyn Open>> {
        Ok(Box::new(self.read.acquire().await.map_err(failure)?))
    }

    async fn begin(&self) -> Outcome<Box<dyn Open>> {
        let begun = match self.write.begin_with("BEGIN IMMEDIATE").await {
            Err(sqlx::Error::InvalidSavePointStatement) => {
                // A commit failed on a full disk and SQLite rolled it back by itself: the connection still counts it.
                let stuck = self.write.acquire().await.map_err(failure)?.detach();
                sqlx::Connection::close_hard(stuck).await.map_err(failure)?;
                self.write.begin_with("BEGIN IMMEDIATE").await
            }
            begun => begun,
        };
        Ok(Box::new(begun.map_err(failure)?))
    }

    async fn integrity(&self) -> Outcome<Vec<String>> {
        let mut connection = self.read.acquire().await.map_err(failure)?;
        let lines: Vec<String> =
            sqlx::query_scalar("PRAGMA quick_check(20)").fetch_all(&mut *connection).await.map_err(failure)?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
    }

    async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

#[async_trait]
impl Open for PoolConnection<sqlx::Sqlite> {
    async fn execute(&mut self, statement: Statement<'_>) -> Outcome<u64> {
        execute(self, statement).await
    }

    async fn fetch(&mut self, statement: Statement<'_>, each: Each<'_>) -> Outcome<()> {
        fetch(self, statement, each).await
    }

    async fn script(&mut self, sql: &str) -> Outcome<()> {
        script(self, sql).await
    }

    async fn commit(self: Box<Self>) -> Outcome<()> {
        Err(Failure::new(Kind::Internal, "there is no transaction to commit"))
    }
}

#[async_trait]
impl Open for sqlx::Transaction<'static, sqlx::Sqlite> {
    async fn execute(&mut self, statement: Statement<'_>) -> Outcome<u64> {
        execute(self, statement).await
    }

    async fn fetch(&mut self, statement: Statement<'_>, each: Each<'_>) -> Outcome<()> {
        fetch(self, statement, each).await
    }

    async fn script(&mut self, sql: &str) -> Outcome<()> {
        script(self, sql).await
    }

    async fn commit(self: Box<Self>) -> Outcome<()> {
        (*self).commit().await.map_err(failure)
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments>;

async fn execute(connection: &mut SqliteConnection, statement: Statement<'_>) -> Outcome<u64> {
    let done = bound(statement).execute(connection).await.map_err(failure)?;
    Ok(done.rows_affected())
}

async fn fetch(connection: &mut SqliteConnection, statement: Statement<'_>, each: Each<'_>) -> Outcome<()> {
    let mut rows = bound(statement).fetch(connection);
    while let Some(row) = rows.try_next().await.map_err(failure)? {
        if each(Row::Sqlite(row)).is_break() {
            break;
        }
    }
    Ok(())
}

async fn script(connection: &mut SqliteConnection, sql: &str) -> Outcome<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map_err(failure)?;
    Ok(())
}

fn bound(statement: Statement<'_>) -> Query<'static> {
    let mut query = sqlx::query(AssertSqlSafe(statement.sql)).persistent(statement.kept);
    for value in statement.values {
        query = match value {
            Value::Number(number) => query.bind(number),
            Value::Text(text) => query.bind(text.map(String::from)),
            Value::Bytes(bytes) => query.bind(bytes.map(Vec::from)),
        };
    }
    query
}

/// Runs the steps that the file has not seen. `PRAGMA user_version` counts them.
async fn migrate(pool: &SqlitePool, context: &str) -> Result<()> {
    let failed = |cause| {
        let failure = failure(cause);
        match failure.kind {
            Kind::Unavailable => map_error(failure, &format!("{context}: another process works on it, end that first")),
            _ => map_error(failure, &format!("{context}: its tables could not be made")),
        }
    };
    const VERSION: &str = "PRAGMA user_version";
    // Most of the time there is nothing to do, and nobody needs to wait for a writer.
    let version: i64 = sqlx::query_scalar(VERSION).fetch_one(pool).await.map_err(failed)?;
    if schema::steps_after(version)?.is_empty() {
        return Ok(());
    }
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let version: i64 = sqlx::query_scalar(VERSION).fetch_one(&mut *transaction).await.map_err(failed)?;
    let steps = schema::steps_after(version)?;
    for step in steps {
        sqlx::raw_sql(*step).execute(&mut *transaction).await.map_err(failed)?;
    }
    if !steps.is_empty() {
        let version = format!("PRAGMA user_version = {}", schema::newest());
        sqlx::raw_sql(AssertSqlSafe(version)).execute(&mut *transaction).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}

/// What can be done about one of SQLite's errors.
fn failure(cause: sqlx::Error) -> Failure {
    const FULL: u32 = 13;
    const DAMAGED: [u32; 2] = [11, 26];
    let code = match &cause {
        sqlx::Error::Database(cause) => cause.code().and_then(|code| primary_code(&code)),
        _ => None,
    };
    let kind = match (&cause, code) {
        (_, Some(FULL)) => Kind::NoSpace,
        (_, Some(code)) if DAMAGED.contains(&code) => Kind::Corrupt,
        (sqlx::Error::Database(cause), _) if cause.is_unique_violation() => Kind::AlreadyExists,
        (sqlx::Error::Database(cause), _) if cause.is_foreign_key_violation() => Kind::Conflict,
        (sqlx::Error::Database(_) | sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed, _) => {
            Kind::Unavailable
        }
        (sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_), _) => Kind::Corrupt,
        _ => Kind::Internal,
    };
    Failure { kind, cause }
}

/// SQLite's extended codes keep the primary code in their low byte.
fn primary_code(code: &str) -> Option<u32> {
    code.parse::<u32>().ok().map(|code| code & 0xff)
}
