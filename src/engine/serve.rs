//! Being the engine: takes the lock, opens the repo, listens, and leaves on a signal or when nobody needs it.
//!
//! The lock is held until the repo is closed, so the next engine opens what this one has finished.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use api::server::{self, Bound, Listeners, ServerState, Token};
use tokio::net::lookup_host;
use vfs_core::clock::SystemClock;
use vfs_core::limits::{CACHE_DISK_BYTES, ENGINE_IDLE};
use vfs_core::repo::{Repo, RepoOptions};
use vfs_core::{Error, Kind, Result};

use super::lock::{EngineInfo, EngineLock};
use super::token;
use crate::exit::{Failure, Outcome};
use crate::folder::DataFolder;
use crate::key;
use crate::limits::{ENGINE_STOP, IDLE_TICK, POLL};
use crate::signals::Signals;

/// How an engine is run.
pub(crate) struct Serving {
    /// TCP address.
    pub(crate) listen: Option<String>,
    /// URL of the bucket, for a new data folder.
    pub(crate) bucket: Option<String>,
    /// How much of a remote bucket is kept on this disk; the default unless said.
    pub(crate) cache_bytes: Option<u64>,
    /// URL of a team's database; never shown, it may hold a password.
    pub(crate) database: Option<String>,
    /// Leave when nobody has needed it for a while.
    pub(crate) leave_when_idle: bool,
}

/// Serves until a signal, or until nobody needs it. `say` hears where it listens.
pub(crate) async fn serve(data: &DataFolder, serving: Serving, say: impl FnOnce(&EngineInfo) -> Outcome) -> Outcome {
    data.prepare()?;
    let mut signals = Signals::listen()?;
    let lock = lock(data, &serving).await?;
    let socket = data.socket()?;
    let (state, encrypted) = open(data, &serving).await?;
    let bound = bind(&serving, socket.clone()).await?;
    let info = EngineInfo {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        socket,
        address: bound.tcp_address().map(|address| address.to_string()),
        background: serving.leave_when_idle,
        encrypted,
    };
    info.write(data)?;
    tracing::info!(version = info.version, socket = %info.socket.display(), address = ?info.address, "engine serves");
    say(&info)?;
    let idle = state.clone();
    let end = async move {
        tokio::select! {
            () = signals.next() => tracing::info!("told to stop by a signal"),
            () = idle_for_long(&idle), if serving.leave_when_idle => tracing::info!("nobody needs this engine"),
        }
    };
    let served = bound.serve(state, end).await;
    info.remove(data);
    drop(lock);
    Ok(served?)
}

async fn open(data: &DataFolder, serving: &Serving) -> Outcome<(ServerState, bool)> {
    let source = key::source(data)?;
    let key = source.as_ref().map(key::load).transpose()?.flatten();
    let token = match serving.listen {
        Some(_) => Some(Token::new(&token::load(data)?)),
        None => None,
    };
    let clock = Arc::new(SystemClock);
    let options = RepoOptions {
        data: data.path().to_owned(),
        bucket: serving.bucket.clone(),
        database: serving.database.clone(),
        key,
        clock: clock.clone(),
    };
    let repo = Repo::open(options).await.map_err(newer_or_not)?;
    let cached = repo.cache_reads(&data.path().join("cache"), serving.cache_bytes.unwrap_or(CACHE_DISK_BYTES));
    if let Err(error) = cached {
        // Slower, and as right as with it.
        tracing::warn!(%error, "nothing is cached on disk");
    }
    if let Some(source) = source.filter(|_| repo.is_encrypted()) {
        key::remember(data, &source)?;
    }
    let encrypted = repo.is_encrypted();
    let bucket = repo.bucket_url().to_owned();
    let info = server::EngineInfo { data_folder: data.path().to_owned(), bucket, token };
    Ok((ServerState::new(repo, info, clock), encrypted))
}

/// Opening answers `Unsupported` only for what a newer version wrote.
fn newer_or_not(error: Error) -> Failure {
    match error.kind() {
        Kind::Unsupported => Failure { code: crate::exit::Code::Newer, error },
        _ => error.into(),
    }
}

async fn bind(serving: &Serving, socket: PathBuf) -> Result<Bound> {
    let tcp = match &serving.listen {
        Some(address) => Some(resolve(address).await?),
        None => None,
    };
    Listeners { unix: Some(socket), tcp }.bind().await
}

/// `host:port`, `:port` for this machine only, or a port alone.
async fn resolve(address: &str) -> Result<SocketAddr> {
    let full = match address.strip_prefix(':').unwrap_or(address).parse::<u16>() {
        Ok(port) => format!("127.0.0.1:{port}"),
        Err(_) => address.to_owned(),
    };
    let invalid = || {
        Error::new(
            Kind::Invalid,
            format!("{address:?} is no address to listen on: use HOST:PORT, such as 127.0.0.1:7070"),
        )
    };
    let mut found = lookup_host(&full).await.map_err(|error| invalid().because(error))?;
    found.next().ok_or_else(invalid)
}

/// Takes the lock. An engine in front takes the place of one that a command has started.
async fn lock(data: &DataFolder, serving: &Serving) -> Outcome<EngineLock> {
    let until = Instant::now() + ENGINE_STOP;
    loop {
        if let Some(lock) = EngineLock::take(data)? {
            return Ok(lock);
        }
        let replaceable = !serving.leave_when_idle && EngineInfo::read(data).is_some_and(|info| info.background);
        if !replaceable || Instant::now() >= until {
            return Err(busy(data));
        }
        // One that does not answer is starting or dying, and tells which within moments.
        if let Err(failure) = super::stop(data).await
            && failure.kind() != Kind::Unavailable
        {
            return Err(failure);
        }
        tokio::time::sleep(POLL).await;
    }
}

fn busy(data: &DataFolder) -> Failure {
    let who = match EngineInfo::read(data) {
        Some(info) => format!("process {}", info.pid),
        None => "another process".to_owned(),
    };
    let line = format!(
        "{who} is the engine of {} already; commands find it by themselves, or stop it with a signal first",
        data.path().display()
    );
    Failure::new(Kind::Busy, line)
}

async fn idle_for_long(state: &ServerState) {
    while state.idle_for() < ENGINE_IDLE {
        tokio::time::sleep(IDLE_TICK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_without_a_host_stay_on_this_machine() {
        assert_eq!(resolve("7070").await.unwrap(), "127.0.0.1:7070".parse().unwrap());
        assert_eq!(resolve(":7070").await.unwrap(), "127.0.0.1:7070".parse().unwrap());
        assert_eq!(resolve("[::1]:80").await.unwrap(), "[::1]:80".parse().unwrap());
        assert_eq!(resolve("nonsense").await.unwrap_err().kind(), Kind::Invalid);
    }
}
