//! PostgreSQL: any number of engines on one database (decision 0017).
//!
//! Every transaction that writes takes the repo's advisory lock as it begins, in the same round trip, under READ
//! COMMITTED: each of its statements sees what all writers before it committed, and nobody writes beside it. The server
//! lets go of the lock when the transaction ends, also when its engine dies (the connection breaks) or freezes
//! (`idle_in_transaction_session_timeout`). A commit is durable when it is answered: `synchronous_commit` is never off.
//!
//! Whatever takes longer than its limit breaks its connection, because what it would still say belongs to nobody.

mod errors;
mod schema;
#[cfg(test)]
mod tests;
mod url;

use std::future::Future;
use std::ops::ControlFlow;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tokio::time::timeout;

use self::errors::failure;
pub(crate) use self::url::PostgresUrl;
use super::backend::{Backend, Each, Failure, Open, Outcome, Row, Statement, Value, map_error};
use crate::error::{Error, Kind, Result};
use crate::limits::{
    DATABASE_ANSWER, DATABASE_BUSY, DATABASE_CONNECT, DATABASE_FRESH, DATABASE_MIGRATION, DATABASE_STATEMENTS,
    DATABASE_TRANSACTION_IDLE, POSTGRES_READERS, POSTGRES_WRITERS,
};

/// A database of a server.
#[derive(Debug)]
pub(super) struct Postgres {
    write: PgPool,
    read: PgPool,
    /// Starts a transaction of a writer.
    begin: String,
}

impl Postgres {
    /// Connects and brings the tables up to date.
    pub(super) async fn open(url: &PostgresUrl) -> Result<Postgres> {
        let context = format!("the database {url} could not be opened");
        let failed = |cause| map_error(failure(cause), &context);
        let mut options = url.options()?;
        if !url.sets_statement_cache() {
            options = options.statement_cache_capacity(DATABASE_STATEMENTS);
        }
        let write = pool(POSTGRES_WRITERS).connect_with(options.clone()).await.map_err(failed)?;
        let key = examine(&write).await.map_err(|failure| map_error(failure, &context))?;
        let key = key.map_err(|error| Error::new(error.kind(), format!("{context}: {}", error.context())))?;
        schema::migrate(&write, key, DATABASE_MIGRATION, &context).await?;
        // Connects when somebody reads.
        let read = pool(POSTGRES_READERS).connect_lazy_with(options);
        // No parameter fits into a statement of the simple protocol; the key is a number of ours.
        let begin = format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_advisory_xact_lock({key})");
        Ok(Postgres { write, read, begin })
    }

    async fn try_begin(&self) -> Outcome<Session> {
        let connection = self.write.acquire().await.map_err(failure)?;
        let mut session = Session { connection: Some(connection), in_transaction: true };
        session.script(&self.begin).await?;
        Ok(session)
    }
}

/// Looks at the server: what must be so, and the key of this repo's lock there.
async fn examine(pool: &PgPool) -> Outcome<Result<i64>> {
    let looked = sqlx::query_as(
        "SELECT current_schema(), current_setting('server_encoding'), current_setting('server_version_num')::bigint,
         current_setting('fsync')",
    );
    let (schema, encoding, version, fsync): (Option<String>, String, i64, String) =
        in_time(DATABASE_ANSWER, looked.fetch_one(pool)).await?;
    let Some(schema) = schema else {
        return Ok(Err(Error::new(Kind::Invalid, "its search_path names no schema that is there")));
    };
    if encoding != "UTF8" {
        return Ok(Err(Error::new(Kind::Invalid, format!("its encoding is {encoding}: make one with UTF8"))));
    }
    if version < 120_000 {
        return Ok(Err(Error::new(Kind::Invalid, "the server is older than PostgreSQL 12")));
    }
    if fsync == "off" {
        tracing::warn!("the PostgreSQL server runs with fsync=off: a power cut may lose everything it holds");
    }
    let digest = blake3::derive_key("esker v1 advisory lock", schema.as_bytes());
    let (key, _) = digest.split_first_chunk().expect("because a digest has 32 bytes");
    Ok(Ok(i64::from_le_bytes(*key)))
}

fn pool(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(DATABASE_CONNECT)
        // One that was used a moment ago is taken as it is: asking each time would double the time of a small read.
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for < DATABASE_FRESH {
                    return Ok(true);
                }
                Ok(matches!(timeout(DATABASE_CONNECT, connection.ping()).await, Ok(Ok(()))))
            })
        })
        .after_connect(|connection, _| Box::pin(prepare(connection)))
}

/// Settings of a new connection, whatever server, database and role say.
async fn prepare(connection: &mut PgConnection) -> sqlx::Result<()> {
    let settings = format!(
        "SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}; SET client_min_messages = warning;
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
        DATABASE_BUSY.as_millis(),
        DATABASE_TRANSACTION_IDLE.as_millis(),
    );
    sqlx::raw_sql(AssertSqlSafe(settings)).execute(connection).await?;
    Ok(())
}

#[async_trait]
impl Backend for Postgres {
    async fn read(&self) -> Outcome<Box<dyn Open>> {
        let connection = self.read.acquire().await.map_err(failure)?;
        Ok(Box::new(Session { connection: Some(connection), in_transaction: false }))
    }

    async fn begin(&self) -> Outcome<Box<dyn Open>> {
        let begun = match self.try_begin().await {
            // The server was restarted, perhaps: nothing was done yet, so once more on a new connection is safe.
            Err(failure) if errors::is_lost(&failure.cause) => self.try_begin().await?,
            begun => begun?,
        };
        Ok(Box::new(begun))
    }

    /// PostgreSQL checks pages as it reads them, and only where its cluster has checksums; there is nothing to ask for.
    async fn integrity(&self) -> Outcome<Vec<String>> {
        Ok(Vec::new())
    }

    async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

/// A connection in use.
struct Session {
    /// Nothing once it is lost.
    connection: Option<PoolConnection<sqlx::Postgres>>,
    in_transaction: bool,
}

impl Session {
    fn connection(&mut self) -> Outcome<&mut PgConnection> {
        let lost = || Failure::new(Kind::Unavailable, "the connection to the database was lost before");
        self.connection.as_deref_mut().ok_or_else(lost)
    }

    /// Gives up a connection that does not answer any more: cutting it ends its transaction at the server.
    fn noted<T>(&mut self, done: Outcome<T>) -> Outcome<T> {
        if done.as_ref().is_err_and(|failure| errors::is_lost(&failure.cause))
            && let Some(connection) = self.connection.take()
        {
            drop(connection.detach());
        }
        done
    }
}

#[async_trait]
impl Open for Session {
    async fn execute(&mut self, statement: Statement<'_>) -> Outcome<u64> {
        let done = in_time(DATABASE_ANSWER, bound(statement)?.execute(self.connection()?)).await;
        self.noted(done.map(|done| done.rows_affected()))
    }

    async fn fetch(&mut self, statement: Statement<'_>, each: Each<'_>) -> Outcome<()> {
        let done = fetch(self.connection()?, statement, each).await;
        self.noted(done)
    }

    async fn script(&mut self, sql: &str) -> Outcome<()> {
        let done = in_time(DATABASE_ANSWER, sqlx::raw_sql(AssertSqlSafe(sql)).execute(self.connection()?)).await;
        self.noted(done.map(|_| ()))
    }

    async fn commit(mut self: Box<Self>) -> Outcome<()> {
        if !self.in_transaction {
            return Err(Failure::new(Kind::Internal, "there is no transaction to commit"));
        }
        self.script("COMMIT").await?;
        self.in_transaction = false;
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take().filter(|_| self.in_transaction) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            drop(connection.detach());
            return;
        };
        runtime.spawn(async move {
            let rollback = sqlx::raw_sql("ROLLBACK").execute(&mut *connection);
            if in_time(DATABASE_CONNECT, rollback).await.is_err() {
                drop(connection.detach());
            }
        });
    }
}

/// Waits for an answer, but not for ever.
async fn in_time<T>(limit: Duration, answer: impl Future<Output = sqlx::Result<T>>) -> Outcome<T> {
    match timeout(limit, answer).await {
        Ok(answer) => answer.map_err(failure),
        Err(_) => Err(failure(errors::silent(limit))),
    }
}

async fn fetch(connection: &mut PgConnection, statement: Statement<'_>, each: Each<'_>) -> Outcome<()> {
    let mut rows = bound(statement)?.fetch(connection);
    while let Some(row) = in_time(DATABASE_ANSWER, rows.try_next()).await? {
        if let ControlFlow::Break(()) = each(Row::Postgres(row)) {
            break;
        }
    }
    Ok(())
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, PgArguments>;

fn bound(statement: Statement<'_>) -> Outcome<Query<'static>> {
    let mut query = sqlx::query(AssertSqlSafe(numbered(&statement.sql))).persistent(statement.kept);
    for value in statement.values {
        query = match value {
            Value::Number(number) => query.bind(number),
            Value::Text(Some(text)) if text.contains('\0') => {
                return Err(Failure::new(Kind::Invalid, "a text with a NUL character cannot be stored"));
            }
            Value::Text(text) => query.bind(text.map(String::from)),
            Value::Bytes(bytes) => query.bind(bytes.map(Vec::from)),
        };
    }
    Ok(query)
}

/// `$1`, `$2` … for `?`; `?1` becomes `$1`. Our statements have no question mark elsewhere.
fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let mut text = String::with_capacity(sql.len() + 64);
    text.push_str(parts.next().unwrap_or_default());
    for (index, part) in parts.enumerate() {
        text.push('$');
        if !part.starts_with(|next: char| next.is_ascii_digit()) {
            text.push_str(&(index + 1).to_string());
        }
        text.push_str(part);
    }
    text
}
