//! The URL of a database of PostgreSQL. Its password is never shown: [`Display`](fmt::Display) and `Debug` leave it out.

use std::fmt;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use url::Url;

use crate::error::{Error, Kind, Result};

const SCHEMES: [&str; 2] = ["postgres", "postgresql"];
/// Parameters that are as secret as the password.
const SECRET: &str = "password";
const STATEMENT_CACHE: &str = "statement-cache-capacity";

/// `postgres://user:password@host:port/database?sslmode=verify-full`, checked.
#[derive(Clone)]
pub(crate) struct PostgresUrl(Url);

impl PostgresUrl {
    /// What sqlx makes of it, with `PGPASSWORD` and `~/.pgpass` where it has no password.
    pub(super) fn options(&self) -> Result<PgConnectOptions> {
        // sqlx warns of parameters that it does not know, with their values: none of ours is secret.
        PgConnectOptions::from_str(self.0.as_str()).map_err(|error| {
            Error::new(Kind::Invalid, format!("the URL of the database {self} makes no sense")).because(error)
        })
    }

    pub(super) fn sets_statement_cache(&self) -> bool {
        self.0.query_pairs().any(|(name, _)| name == STATEMENT_CACHE)
    }

    /// The whole URL with its password, for a file that nobody else may read.
    pub(crate) fn secret(&self) -> &str {
        self.0.as_str()
    }

    /// Whether both mean the same database; user, password and options of the connection may differ.
    pub(crate) fn same_database(&self, other: &PostgresUrl) -> Result<bool> {
        let (ours, theirs) = (self.options()?, other.options()?);
        let place = |options: &PgConnectOptions| {
            let host = match options.get_socket() {
                Some(socket) => socket.display().to_string(),
                None => options.get_host().to_owned(),
            };
            let database = options.get_database().unwrap_or(options.get_username()).to_owned();
            (host, options.get_port(), database, options.get_options().unwrap_or_default().to_owned())
        };
        Ok(place(&ours) == place(&theirs))
    }
}

impl FromStr for PostgresUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // No part of the text in the error: what cannot be parsed cannot be stripped of its password.
        let invalid = || {
            let message = "the database needs a URL like postgres://USER:PASSWORD@HOST:PORT/DATABASE";
            Error::new(Kind::Invalid, message)
        };
        let url = Url::parse(text).map_err(|error| invalid().because(error))?;
        if !SCHEMES.contains(&url.scheme()) {
            return Err(invalid());
        }
        // sqlx says the value of a parameter that it does not know in a warning.
        let misspelt = |name: &str| name != SECRET && name.to_ascii_lowercase().contains("pass");
        if url.query_pairs().any(|(name, _)| misspelt(&name)) {
            return Err(invalid());
        }
        let url = PostgresUrl(url);
        url.options()?;
        Ok(url)
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.clone();
        // Fails for URLs without a host, which have no password either.
        let _ = shown.set_password(None);
        if shown.query_pairs().any(|(name, _)| name == SECRET) {
            let kept: Vec<_> = self.0.query_pairs().filter(|(name, _)| name != SECRET).collect();
            shown.query_pairs_mut().clear().extend_pairs(kept);
        }
        formatter.write_str(shown.as_str().trim_end_matches('?'))
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PostgresUrl({self})")
    }
}
