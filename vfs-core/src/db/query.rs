//! Statements with their parameters, and rows as typed columns.

use std::borrow::Cow;
use std::ops::ControlFlow;

use super::Connection;
use super::backend::{Each, Failure, Outcome, Row, Statement, Value, map_error};
use crate::clock::Time;
use crate::error::{Error, Kind, Result};

/// A fixed statement; stays prepared.
pub(super) fn query<'q>(sql: &'static str) -> Query<'q> {
    Query(Statement { sql: sql.into(), values: Vec::new(), kept: true })
}

/// A statement whose parameters are being bound.
pub(super) struct Query<'q>(Statement<'q>);

impl<'q> Query<'q> {
    /// Binds the next parameter.
    pub(super) fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        self.0.values.push(value.into());
        self
    }

    /// Runs it; returns how many rows it changed.
    pub(super) async fn execute(self, connection: &mut Connection) -> Outcome<u64> {
        connection.execute(self.0).await
    }

    /// Hands over its rows until one breaks off.
    pub(super) async fn fetch(self, connection: &mut Connection, each: Each<'_>) -> Outcome<()> {
        connection.fetch(self.0, each).await
    }

    /// All rows.
    pub(super) async fn fetch_all(self, connection: &mut Connection) -> Outcome<Vec<Row>> {
        let mut rows = Vec::new();
        let mut keep = |row| {
            rows.push(row);
            ControlFlow::Continue(())
        };
        connection.fetch(self.0, &mut keep).await?;
        Ok(rows)
    }

    /// The first row.
    pub(super) async fn fetch_optional(self, connection: &mut Connection) -> Outcome<Option<Row>> {
        let mut first = None;
        let mut keep = |row| {
            first = Some(row);
            ControlFlow::Break(())
        };
        connection.fetch(self.0, &mut keep).await?;
        Ok(first)
    }

    /// The first row, which there must be.
    pub(super) async fn fetch_one(self, connection: &mut Connection) -> Outcome<Row> {
        let row = self.fetch_optional(connection).await?;
        row.ok_or_else(|| Failure { kind: Kind::Internal, cause: sqlx::Error::RowNotFound })
    }
}

/// A statement that is put together: as many parameters as there are values.
pub(super) struct Builder<'q> {
    sql: String,
    values: Vec<Value<'q>>,
}

impl<'q> Builder<'q> {
    /// Starts with this text.
    pub(super) fn new(sql: &str) -> Self {
        Builder { sql: sql.to_owned(), values: Vec::new() }
    }

    /// Adds text, never anybody's input.
    pub(super) fn push(&mut self, sql: &'static str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// Adds a parameter.
    pub(super) fn push_bind(&mut self, value: impl Into<Value<'q>>) -> &mut Self {
        self.sql.push('?');
        self.values.push(value.into());
        self
    }

    /// Adds parameters with commas between them.
    pub(super) fn push_list<V: Into<Value<'q>>>(&mut self, values: impl IntoIterator<Item = V>) -> &mut Self {
        for (number, value) in values.into_iter().enumerate() {
            if number > 0 {
                self.sql.push_str(", ");
            }
            self.push_bind(value);
        }
        self
    }

    /// Adds `VALUES` with a row for each item.
    pub(super) fn push_values<I, const N: usize>(
        &mut self,
        items: impl IntoIterator<Item = I>,
        row: impl Fn(I) -> [Value<'q>; N],
    ) -> &mut Self {
        self.push("VALUES ");
        for (number, item) in items.into_iter().enumerate() {
            self.push(if number > 0 { ", (" } else { "(" });
            self.push_list(row(item)).push(")");
        }
        self
    }

    /// The statement; it stays prepared only if it comes again with as many parameters (`kept`).
    pub(super) fn build(self, kept: bool) -> Query<'q> {
        Query(Statement { sql: Cow::Owned(self.sql), values: self.values, kept })
    }
}

/// Numbers are 64 bits with a sign in both databases; ours never use the sign.
pub(super) fn to_sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn time_to_sql(time: Time) -> i64 {
    time.as_nanos().clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// Reads typed columns; whatever does not fit is damage.
pub(super) struct Columns<'r>(pub(super) &'r Row);

impl<'r> Columns<'r> {
    /// Any number.
    pub(super) fn signed(&self, name: &'static str) -> Result<i64> {
        self.optional_signed(name)?.ok_or_else(|| nothing(name))
    }

    fn optional_signed(&self, name: &'static str) -> Result<Option<i64>> {
        self.0.number(name).map_err(unreadable)
    }

    pub(super) fn number(&self, name: &'static str) -> Result<u64> {
        u64::try_from(self.signed(name)?).map_err(|_| Error::corrupt(format!("the column {name} of a row is negative")))
    }

    pub(super) fn optional_number(&self, name: &'static str) -> Result<Option<u64>> {
        let negative = |_| Error::corrupt(format!("the column {name} of a row is negative"));
        self.optional_signed(name)?.map(|value| u64::try_from(value).map_err(negative)).transpose()
    }

    pub(super) fn small<T: TryFrom<u64>>(&self, name: &'static str) -> Result<T> {
        let value = self.number(name)?;
        T::try_from(value).map_err(|_| Error::corrupt(format!("the column {name} of a row is out of range")))
    }

    /// Anything but 0 and 1 is damage.
    pub(super) fn flag(&self, name: &'static str) -> Result<bool> {
        match self.number(name)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::corrupt(format!("the column {name} of a row is neither 0 nor 1"))),
        }
    }

    pub(super) fn bytes(&self, name: &'static str) -> Result<&'r [u8]> {
        self.optional_bytes(name)?.ok_or_else(|| nothing(name))
    }

    pub(super) fn optional_bytes(&self, name: &'static str) -> Result<Option<&'r [u8]>> {
        self.0.bytes(name).map_err(unreadable)
    }

    pub(super) fn array<const N: usize>(&self, name: &'static str) -> Result<[u8; N]> {
        let bytes = self.bytes(name)?;
        bytes.try_into().map_err(|_| Error::corrupt(format!("the column {name} of a row has {} bytes", bytes.len())))
    }

    pub(super) fn text(&self, name: &'static str) -> Result<String> {
        self.optional_text(name)?.ok_or_else(|| nothing(name))
    }

    pub(super) fn optional_text(&self, name: &'static str) -> Result<Option<String>> {
        self.0.text(name).map_err(unreadable)
    }

    pub(super) fn time(&self, name: &'static str) -> Result<Time> {
        Ok(Time::from_nanos(self.signed(name)?.into()))
    }

    pub(super) fn optional_time(&self, name: &'static str) -> Result<Option<Time>> {
        Ok(self.optional_signed(name)?.map(|nanos| Time::from_nanos(nanos.into())))
    }
}

fn unreadable(failure: Failure) -> Error {
    map_error(failure, "a row could not be read")
}

fn nothing(name: &str) -> Error {
    Error::corrupt(format!("the column {name} of a row is empty"))
}
