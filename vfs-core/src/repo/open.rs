//! Opening a repo: data folder, database, bucket, and the proof that they belong together.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::chosen::Chosen;
use super::config::Config;
use super::publish::Sessions;
use super::{Inner, Repo, RepoOptions};
use crate::bucket::{Bucket, make_private_folder};
use crate::chance::{Chance, random};
use crate::clock::{Clock, Time};
use crate::db::{Database, meta};
use crate::error::{Error, Kind, Result};
use crate::id::RepoId;
use crate::keys::OperatorKey;
use crate::limits::SESSION_NEWS_MAX;
use crate::rebuild::owner::{self, OWNER};
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
    let chosen = Chosen::find(&data, options.database.as_deref())?;
    let database = chosen.open().await?;
    let (bucket, value) = open_bucket(&data, &database, &chosen, options.bucket.as_deref()).await?;
    let repo = assemble(database, bucket, &value, options.clock, options.key.as_ref()).await?;
    chosen.remember(&data)?;
    Ok(repo)
}

pub(super) async fn in_memory(clock: Arc<dyn Clock>) -> Result<Repo> {
    assemble(Database::in_memory().await?, Bucket::memory(), "memory:///", clock, None).await
}

/// Reads `<data>/format`, or writes it, durably, where it is missing.
pub(crate) fn check_format(data: &Path) -> Result<()> {
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

/// The bucket that the database remembers; at first the one asked for. And what to remember of it.
async fn open_bucket(
    data: &Path,
    database: &Database,
    chosen: &Chosen,
    asked: Option<&str>,
) -> Result<(Bucket, String)> {
    let remembered = {
        let mut connection = database.read().await?;
        meta::get(&mut connection, BUCKET).await?
    };
    let bucket = match remembered.as_deref().or(asked) {
        None if chosen.is_shared() => {
            let message = "a team's database needs a bucket that all engines reach: give it with --bucket";
            return Err(Error::new(Kind::Invalid, message));
        }
        None | Some(BUCKET_IN_DATA) => Bucket::folder(&data.join("bucket"))?,
        Some(url) => Bucket::open(url)?,
    };
    if chosen.is_shared() && bucket.url().starts_with("memory:") {
        let message = "a bucket in memory is this engine's alone: a team's database needs one that all engines reach";
        return Err(Error::new(Kind::Invalid, message));
    }
    if let (Some(_), Some(asked)) = (&remembered, asked)
        && Bucket::open(asked)?.url() != bucket.url()
    {
        return Err(other_bucket(bucket.url(), asked));
    }
    let value = match (remembered, asked) {
        (Some(remembered), _) => remembered,
        (None, Some(_)) => bucket.url().to_owned(),
        (None, None) => BUCKET_IN_DATA.to_owned(),
    };
    Ok((bucket, value))
}

fn other_bucket(ours: &str, asked: &str) -> Error {
    let message =
        format!("this repo belongs to the bucket {ours}, not to {asked}: leave --bucket out or use another --data");
    Error::new(Kind::Invalid, message)
}

/// Proves that bucket and database belong together, or makes them so if both are new.
pub(super) async fn assemble(
    database: Database,
    bucket: Bucket,
    remember: &str,
    clock: Arc<dyn Clock>,
    key: Option<&OperatorKey>,
) -> Result<Repo> {
    let (repo, written) = repo_of(&database).await?;
    let config = match (Config::read(&bucket).await?, written) {
        (Some(config), _) => config,
        (None, false) => Config::create(&bucket, repo, key, &Chance::machine()).await?,
        (None, true) => {
            let message =
                format!("the bucket {} is empty or not the one of this repo: its config.json is missing", bucket.url());
            return Err(Error::corrupt(message));
        }
    };
    if config.repo != repo {
        let message = format!(
            "the bucket {} belongs to the repo {}, this database to the repo {repo}: two databases on one bucket \
             would delete each other's data",
            bucket.url(),
            config.repo
        );
        return Err(Error::new(Kind::Denied, message));
    }
    // Before anything is written: a wrong key must leave no trace.
    let keys = config.keys(key)?;
    let mut transaction = database.begin().await?;
    let own = meta::get(&mut transaction, OWNER).await?.and_then(|number| number.parse().ok()).unwrap_or(0);
    owner::check(&bucket, config.tenant, own).await?;
    match meta::get(&mut transaction, BUCKET).await? {
        // Another engine opened this database a moment ago, with another bucket.
        Some(other) if other != remember => return Err(other_bucket(&other, remember)),
        Some(_) => {}
        None => meta::set(&mut transaction, BUCKET, remember).await?,
    }
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
        statistics: tokio::sync::Mutex::default(),
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

/// Makes a new database the one of a bucket that has a config; returns what stands for the tenant in it.
pub(crate) async fn remember(
    database: &Database,
    config: &Config,
    bucket: &Bucket,
    owner: u64,
    now: Time,
) -> Result<i64> {
    let mut transaction = database.begin().await?;
    meta::set(&mut transaction, REPO, &config.repo.to_hex()).await?;
    meta::set(&mut transaction, BUCKET, bucket.url()).await?;
    meta::set(&mut transaction, CONFIG, WRITTEN).await?;
    meta::set(&mut transaction, OWNER, &owner.to_string()).await?;
    let tenant = meta::tenant(&mut transaction, config.tenant, now).await?;
    database.commit(transaction).await?;
    Ok(tenant)
}
