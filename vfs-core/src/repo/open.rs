//! Opening a repo: data folder, database, bucket, and the proof that they belong together.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::config::Config;
use super::publish::Sessions;
use super::{Inner, Repo, RepoOptions};
use crate::bucket::{Bucket, make_private_folder};
use crate::chance::{Chance, random};
use crate::clock::Clock;
use crate::db::{Database, meta};
use crate::error::{Error, Kind, Result};
use crate::id::RepoId;
use crate::keys::OperatorKey;
use crate::limits::SESSION_NEWS_MAX;
use crate::store::Store;

const FORMAT: &str = "esker 0";
/// Settings of the database.
const REPO: &str = "repo";
const BUCKET: &str = "bucket";
const CONFIG: &str = "config";
/// The bucket is `<data>/bucket`, wherever the data folder is moved to.
const BUCKET_IN_DATA: &str = "data";
const WRITTEN: &str = "written";

pub(super) async fn open(options: RepoOptions) -> Result<Repo> {
    let data = std::path::absolute(&options.data)
        .map_err(|error| Error::io(format!("the data folder {} cannot be named", options.data.display()), error))?;
    make_private_folder(&data)?;
    check_format(&data)?;
    let database = Database::open(&data.join("esker.db")).await?;
    let bucket = open_bucket(&data, &database, options.bucket.as_deref()).await?;
    assemble(database, bucket, options.clock, options.key.as_ref()).await
}

pub(super) async fn in_memory(clock: Arc<dyn Clock>) -> Result<Repo> {
    assemble(Database::in_memory().await?, Bucket::memory(), clock, None).await
}

/// Reads `<data>/format`, or writes it, durably, where it is missing.
fn check_format(data: &Path) -> Result<()> {
    let path = data.join("format");
    let failed = |error| Error::io(format!("{} could not be read or written", path.display()), error);
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim_end() == FORMAT => Ok(()),
        Ok(text) => {
            let message = format!("{} says {:?}: a newer Esker is needed", path.display(), text.trim_end());
            Err(Error::new(Kind::Unsupported, message))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let temporary = data.join("format.new");
            let mut file = std::fs::File::create(&temporary).map_err(failed)?;
            file.write_all(format!("{FORMAT}\n").as_bytes()).map_err(failed)?;
            file.sync_all().map_err(failed)?;
            std::fs::rename(&temporary, &path).map_err(failed)?;
            std::fs::File::open(data).and_then(|folder| folder.sync_all()).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// The bucket that the database remembers; at first the one asked for.
async fn open_bucket(data: &Path, database: &Database, asked: Option<&str>) -> Result<Bucket> {
    let mut transaction = database.begin().await?;
    let remembered = meta::get(&mut transaction, BUCKET).await?;
    let bucket = match remembered.as_deref().or(asked) {
        None | Some(BUCKET_IN_DATA) => Bucket::folder(&data.join("bucket"))?,
        Some(url) => Bucket::open(url)?,
    };
    match (&remembered, asked) {
        (Some(_), Some(asked)) if Bucket::open(asked)?.url() != bucket.url() => {
            let message = format!(
                "the data folder {} belongs to the bucket {}, not to {asked}: leave --bucket out or use another --data",
                data.display(),
                bucket.url()
            );
            return Err(Error::new(Kind::Invalid, message));
        }
        (Some(_), _) => {}
        (None, asked) => {
            let value = if asked.is_some() { bucket.url() } else { BUCKET_IN_DATA };
            meta::set(&mut transaction, BUCKET, value).await?;
        }
    }
    database.commit(transaction).await?;
    Ok(bucket)
}

/// Proves that bucket and database belong together, or makes them so if both are new.
pub(super) async fn assemble(
    database: Database,
    bucket: Bucket,
    clock: Arc<dyn Clock>,
    key: Option<&OperatorKey>,
) -> Result<Repo> {
    let (repo, written) = repo_of(&database).await?;
    let config = match (Config::read(&bucket).await?, written) {
        (Some(config), _) => config,
        (None, false) => Config::create(&bucket, repo, key, &Chance::machine()).await?,
        (None, true) => {
            let message = format!(
                "the bucket {} is empty or not the one of this data folder: its config.json is missing",
                bucket.url()
            );
            return Err(Error::corrupt(message));
        }
    };
    if config.repo != repo {
        let message = format!(
            "the bucket {} belongs to the repo {}, this data folder to the repo {repo}: two databases on one bucket \
             would delete each other's data",
            bucket.url(),
            config.repo
        );
        return Err(Error::new(Kind::Denied, message));
    }
    // Before anything is written: a wrong key must leave no trace.
    let keys = config.keys(key)?;
    let mut transaction = database.begin().await?;
    meta::set(&mut transaction, CONFIG, WRITTEN).await?;
    let tenant_number = meta::tenant(&mut transaction, config.tenant, clock.now()).await?;
    database.commit(transaction).await?;
    let store = Store::new(bucket, database.clone(), clock.clone(), tenant_number, keys, Chance::machine());
    let connected = Mutex::new(HashSet::new());
    let inner = Inner {
        repo,
        tenant: config.tenant,
        tenant_number,
        database,
        store,
        clock,
        connected,
        sessions: Sessions::default(),
        news: tokio::sync::broadcast::Sender::new(SESSION_NEWS_MAX),
    };
    Ok(Repo { inner: Arc::new(inner) })
}

/// The repo's id, made at first, and whether its config is known to be in the bucket.
async fn repo_of(database: &Database) -> Result<(RepoId, bool)> {
    let mut transaction = database.begin().await?;
    let written = meta::get(&mut transaction, CONFIG).await?.is_some();
    let repo = match meta::get(&mut transaction, REPO).await? {
        Some(text) => text.parse()?,
        None => {
            let repo = RepoId::from_bytes(random()?);
            meta::set(&mut transaction, REPO, &repo.to_hex()).await?;
            repo
        }
    };
    database.commit(transaction).await?;
    Ok((repo, written))
}
