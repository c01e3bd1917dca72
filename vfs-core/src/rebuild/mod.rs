//! rebuild: a new database from the bucket and its ref log alone (decision 0020).
//!
//! In this order: take the bucket over (an owner object that fences the old database), read all footers into a new index,
//! read the ref log, find for each workspace the newest chain of moves whose snapshots are complete. The database is made
//! under another name and gets its own only when all is in it: a run that was stopped left nothing, but for its owner object.
//!
//! What is not in the bucket is not rebuilt: documents, sessions, tokens, tags, retention rules, quotas.

mod chains;
mod footers;
pub(crate) mod log;
pub(crate) mod owner;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bucket::{Bucket, make_private_folder};
use crate::chance::{Chance, random};
use crate::clock::Clock;
use crate::db::Database;
use crate::error::{Error, Kind, Result};
use crate::keys::OperatorKey;
use crate::progress::OnProgress;
use crate::repo::chosen::{REMEMBERED, SQLITE};
use crate::repo::config::Config;
use crate::repo::open::{check_format, remember};
use crate::store::Store;

/// What the name of the database begins with while it is being made. Another one each time: connections of a rebuild that
/// was stopped may still be closing, and remove helper files by name.
const UNFINISHED: &str = "esker.db.rebuild-";

/// What is rebuilt, and where.
#[derive(Clone)]
pub struct RebuildOptions {
    /// The new data folder; must not have a database.
    pub data: PathBuf,
    /// URL of the bucket.
    pub bucket: String,
    /// The key of an encrypted repo.
    pub key: Option<OperatorKey>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

/// What a rebuild found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RebuildReport {
    /// How often this bucket was taken over, with this time.
    pub owner: u64,
    /// Packs in the new index.
    pub packs: u64,
    /// Objects in it.
    pub objects: u64,
    /// Packs whose index cannot be read: `esker repair` looks what is left of them.
    pub unreadable_packs: Vec<String>,
    /// Ref log objects that cannot be believed.
    pub unreadable_moves: Vec<String>,
    /// Workspaces, a line each.
    pub workspaces: Vec<String>,
    /// Workspaces that were deleted and stay so.
    pub deleted_workspaces: u64,
    /// History rows.
    pub history: u64,
    /// Moves that were left out, with the reason; kept as side refs where their snapshot is there.
    pub left_out: Vec<String>,
    /// The next inode number.
    pub next_ino: u64,
    /// What a bucket does not hold.
    pub not_rebuilt: Vec<String>,
}

/// Makes a new database. The one before must not be used any more, and is refused when it is opened. `Unsupported` if a newer Esker
/// wrote packs or moves: then everything stays as it was.
pub async fn rebuild(options: &RebuildOptions, progress: &OnProgress) -> Result<RebuildReport> {
    let data = std::path::absolute(&options.data)
        .map_err(|error| Error::io(format!("the data folder {} cannot be named", options.data.display()), error))?;
    refuse_database(&data)?;
    let bucket = Bucket::open(&options.bucket)?;
    let config = Config::read(&bucket).await?.ok_or_else(|| {
        let message = format!("the bucket {} has no config.json: it is not one of Esker's", bucket.url());
        Error::new(Kind::NotFound, message)
    })?;
    let keys = config.keys(options.key.as_ref())?;
    make_private_folder(&data)?;
    check_format(&data)?;
    remove_unfinished(&data)?;
    let unfinished = data.join(format!("{UNFINISHED}{}", hex::encode(random::<8>()?)));
    let database = Database::open(&unfinished).await?;
    // Before anything is read: what an old database writes from now on, it writes in vain.
    let owner = owner::take(&bucket, config.tenant, options.clock.now()).await?;
    let tenant = remember(&database, &config, &bucket, owner, options.clock.now()).await?;
    let clock = options.clock.clone();
    let store = Store::new(bucket, database.clone(), clock, tenant, keys, Chance::machine());
    let mut report = RebuildReport { owner, ..RebuildReport::default() };
    if let Err(error) = fill(&store, &mut report, progress).await {
        database.close().await;
        if error.kind() == Kind::Unsupported {
            // A newer Esker wrote something here: its database must not be refused for a rebuild that could not be.
            owner::give_back(store.bucket(), config.tenant, owner).await?;
            remove_unfinished(&data)?;
        }
        return Err(error);
    }
    report.not_rebuilt =
        ["documents", "sessions", "tokens", "tags", "retention rules", "quotas"].map(String::from).into();
    // Its write-ahead log goes into the file when the last connection is closed.
    database.close().await;
    let (from, to) = (unfinished.clone(), data.join(SQLITE));
    let log = data.join(format!("{}-wal", unfinished.file_name().unwrap_or_default().to_string_lossy()));
    if std::fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        let message = format!("{} could not be written into its database: is the disk full? Try again", log.display());
        return Err(Error::new(Kind::NoSpace, message));
    }
    let moved = std::fs::File::open(&from)
        .and_then(|file| file.sync_all())
        .and_then(|()| std::fs::hard_link(&from, &to))
        .and_then(|()| std::fs::remove_file(&from))
        .and_then(|()| std::fs::File::open(&data)?.sync_all());
    moved.map_err(|error| Error::io(format!("{} could not be put into place", to.display()), error))?;
    Ok(report)
}

async fn fill(store: &Store, report: &mut RebuildReport, progress: &OnProgress) -> Result<()> {
    footers::read(store, report, progress).await?;
    chains::write(store, report, progress).await
}

fn refuse_database(data: &Path) -> Result<()> {
    match [SQLITE, REMEMBERED].map(|name| data.join(name)).iter().find(|path| path.exists()) {
        Some(path) => {
            let message =
                format!("{} exists already: a rebuild needs a data folder without a database", path.display());
            Err(Error::new(Kind::AlreadyExists, message))
        }
        None => Ok(()),
    }
}

/// What runs that were stopped have left.
fn remove_unfinished(data: &Path) -> Result<()> {
    let failed = |error| Error::io(format!("{} could not be cleared of unfinished work", data.display()), error);
    for entry in std::fs::read_dir(data).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            continue;
        }
        match std::fs::remove_file(entry.path()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(())
}
