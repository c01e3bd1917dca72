//! What a database must be able to do (decision 0017): begin, read and commit, execute and fetch.
//!
//! Everything above is written once, in the SQL that SQLite and PostgreSQL share. Parameters are `?`, or `?1` where one
//! is used twice; rows are read by column name. A writer is alone: from `begin` to its end no other transaction of the
//! same repo writes, so what it reads is what it decides on.

use std::borrow::Cow;
use std::ops::ControlFlow;

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use crate::error::{Error, Kind};

/// The answer of a backend.
pub(super) type Outcome<T> = std::result::Result<T, Failure>;
/// Hears each row; breaks off when it has enough.
pub(super) type Each<'f> = &'f mut (dyn FnMut(Row) -> ControlFlow<()> + Send);

/// A database.
#[async_trait]
pub(super) trait Backend: std::fmt::Debug + Send + Sync {
    /// A connection that only reads, outside of a transaction: each statement sees what is committed when it starts.
    async fn read(&self) -> Outcome<Box<dyn Open>>;
    /// Starts a transaction that sees what all others wrote and blocks all other writers; rolled back when dropped.
    async fn begin(&self) -> Outcome<Box<dyn Open>>;
    /// The database's own look at its files: what it complains of.
    async fn integrity(&self) -> Outcome<Vec<String>>;
    /// Closes all connections.
    async fn close(&self);
}

/// An open connection.
#[async_trait]
pub(super) trait Open: Send {
    /// Runs a statement; returns how many rows it changed.
    async fn execute(&mut self, statement: Statement<'_>) -> Outcome<u64>;
    /// Runs a statement and hands over its rows.
    async fn fetch(&mut self, statement: Statement<'_>, each: Each<'_>) -> Outcome<()>;
    /// Runs several statements without parameters, in the database's own words.
    async fn script(&mut self, sql: &str) -> Outcome<()>;
    /// Ends the transaction and makes durable what it wrote.
    async fn commit(self: Box<Self>) -> Outcome<()>;
}

/// A statement with its parameters.
#[derive(Debug)]
pub(super) struct Statement<'q> {
    pub(super) sql: Cow<'static, str>,
    pub(super) values: Vec<Value<'q>>,
    /// Worth keeping prepared: it comes again with the same text.
    pub(super) kept: bool,
}

/// A parameter. Nothing (null) has a type too: PostgreSQL wants to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'q> {
    Number(Option<i64>),
    Text(Option<Cow<'q, str>>),
    Bytes(Option<Cow<'q, [u8]>>),
}

/// A row, owned.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// Why a statement failed, and what can be done about it.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) cause: sqlx::Error,
}

impl Failure {
    pub(super) fn new(kind: Kind, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
        Failure { kind, cause: sqlx::Error::Protocol(cause.into().to_string()) }
    }
}

/// An error that says what was being done.
pub(super) fn map_error(failure: Failure, context: &str) -> Error {
    Error::new(failure.kind, context).because(failure.cause)
}

macro_rules! value {
    ($variant:ident: $($from:ty),*) => {
        $(
            impl<'q> From<$from> for Value<'q> {
                fn from(value: $from) -> Self {
                    Value::$variant(Some(value.into()))
                }
            }
            impl<'q> From<Option<$from>> for Value<'q> {
                fn from(value: Option<$from>) -> Self {
                    Value::$variant(value.map(Into::into))
                }
            }
        )*
    };
}

value!(Number: i64, bool);
value!(Text: &'q str, String, &'q String);
value!(Bytes: &'q [u8], Vec<u8>);

impl<'q> From<&'q Option<String>> for Value<'q> {
    fn from(value: &'q Option<String>) -> Self {
        Value::Text(value.as_deref().map(Cow::from))
    }
}

macro_rules! columns {
    ($($name:ident -> $type:ty),*) => {
        impl Row {
            $(
                /// A column of this type.
                pub(super) fn $name(&self, column: &str) -> Outcome<$type> {
                    use sqlx::Row as _;
                    let found = match self {
                        Row::Sqlite(row) => row.try_get(column),
                        Row::Postgres(row) => row.try_get(column),
                    };
                    found.map_err(unreadable)
                }
            )*
        }
    };
}

columns! {
    number -> Option<i64>,
    text -> Option<String>,
    bytes -> Option<&[u8]>
}

fn unreadable(cause: sqlx::Error) -> Failure {
    let kind = match cause {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Kind::Corrupt,
        _ => Kind::Internal,
    };
    Failure { kind, cause }
}
