//! Which database a data folder has: SQLite in the folder itself, or a team's PostgreSQL, whose URL the folder remembers.
//!
//! `<data>/database` holds the URL with its password, for its owner only; neither is ever part of a message. It is written
//! once the repo has been opened with it, and again when a URL of the same database has another password or option.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::db::{Database, PostgresUrl};
use crate::error::{Error, Kind, Result};

pub(crate) const SQLITE: &str = "esker.db";
pub(crate) const REMEMBERED: &str = "database";

/// The database of a data folder.
pub(super) enum Chosen {
    /// A file in the folder.
    Sqlite(PathBuf),
    /// A team's.
    Postgres(PostgresUrl),
}

impl Chosen {
    /// What was asked for, which must be what the folder has, if it has one.
    pub(super) fn find(data: &Path, asked: Option<&str>) -> Result<Chosen> {
        let sqlite = data.join(SQLITE);
        let remembered = read(data)?;
        let Some(asked) = asked else {
            return Ok(remembered.map_or(Chosen::Sqlite(sqlite), Chosen::Postgres));
        };
        let asked: PostgresUrl = asked.parse()?;
        let refused = |theirs: &str| {
            let message = format!(
                "the data folder {} belongs to {theirs}, not to the database {asked}: leave --database out or use \
                 another --data",
                data.display()
            );
            Err(Error::new(Kind::Invalid, message))
        };
        match remembered {
            Some(remembered) if !remembered.same_database(&asked)? => refused(&format!("the database {remembered}")),
            None if sqlite.exists() => refused("its own database, in SQLite"),
            _ => Ok(Chosen::Postgres(asked)),
        }
    }

    /// Opens it.
    pub(super) async fn open(&self) -> Result<Database> {
        match self {
            Chosen::Sqlite(path) => Database::open(path).await,
            Chosen::Postgres(url) => Database::connect(url).await,
        }
    }

    /// Whether other engines may use it as well.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Chosen::Postgres(_))
    }

    /// Notes a team's database in the data folder, durably.
    pub(super) fn remember(&self, data: &Path) -> Result<()> {
        let Chosen::Postgres(url) = self else { return Ok(()) };
        if read(data)?.is_some_and(|remembered| remembered.secret() == url.secret()) {
            return Ok(());
        }
        let path = data.join(REMEMBERED);
        let failed = |error| Error::io(format!("{} could not be written", path.display()), error);
        let temporary = data.join("database.new");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary).map_err(failed)?;
        file.write_all(format!("{}\n", url.secret()).as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        std::fs::rename(&temporary, &path).map_err(failed)?;
        std::fs::File::open(data).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

fn read(data: &Path) -> Result<Option<PostgresUrl>> {
    let path = data.join(REMEMBERED);
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|error: Error| {
            Error::corrupt(format!("{} holds no URL of a database", path.display())).because(error)
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("{} could not be read", path.display()), error)),
    }
}
