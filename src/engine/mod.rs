//! The engine of a data folder: found, started if there is none, or served by this very process.

mod find;
mod lock;
mod serve;
mod start;
mod token;

use std::sync::Arc;
use std::time::Instant;

use api::client::{Client, Endpoint, EngineStarter};
use async_trait::async_trait;
use vfs_core::{Error, Kind, Result};

use crate::exit::{Failure, Outcome};
use crate::folder::DataFolder;
use crate::limits::{ENGINE_STOP, POLL};

pub(crate) use lock::{EngineInfo, EngineLock};
pub(crate) use serve::{Serving, serve};

/// A client of the data folder's engine, which is started if there is none.
pub(crate) async fn connect(data: &DataFolder) -> Outcome<Client> {
    let info = ensure(data.clone()).await?;
    let starter = Arc::new(Starter { data: data.clone() });
    Ok(Client::with_starter(Endpoint::Unix(info.socket), starter)?)
}

/// A client of an engine elsewhere, which lets in who has its token.
pub(crate) fn connect_to(url: &str, token: Option<&str>) -> Outcome<Client> {
    let is_http = url.starts_with("http://") || url.starts_with("https://");
    if !is_http {
        return Err(Failure::new(Kind::Invalid, format!("{url:?} is no address of an engine: use http://HOST:PORT")));
    }
    let token = token.unwrap_or_default().trim().to_owned();
    if token.is_empty() {
        let line = "set --token or ESKER_TOKEN to the engine's token: it is in the file `token` of its data folder";
        return Err(Failure::new(Kind::Denied, line));
    }
    Ok(Client::new(Endpoint::Http { url: url.to_owned(), token })?)
}

/// Asks a running engine to leave and waits until it has; answers which process it was.
pub(crate) async fn stop(data: &DataFolder) -> Outcome<Option<u32>> {
    let Some(info) = EngineInfo::read(data) else { return Ok(None) };
    if std::os::unix::net::UnixStream::connect(&info.socket).is_err() {
        return Ok(None);
    }
    Client::new(Endpoint::Unix(info.socket.clone()))?.shutdown().await?;
    let until = Instant::now() + ENGINE_STOP;
    // A live mount may start the next engine at once, so the lock need not come free.
    let left = || !is_running(info.pid) || EngineInfo::read(data).is_none_or(|now| now.pid != info.pid);
    while !left() {
        if Instant::now() >= until {
            let line =
                format!("the engine, process {}, does not leave; its log is {}", info.pid, data.engine_log().display());
            return Err(Failure::new(Kind::Unavailable, line));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(Some(info.pid))
}

fn is_running(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Starts the engine again when a client that lives long finds it gone.
#[derive(Debug)]
struct Starter {
    data: DataFolder,
}

#[async_trait]
impl EngineStarter for Starter {
    async fn ensure(&self) -> Result<Endpoint> {
        match ensure(self.data.clone()).await {
            Ok(info) => Ok(Endpoint::Unix(info.socket)),
            Err(failure) => Err(failure.error),
        }
    }
}

async fn ensure(data: DataFolder) -> Outcome<EngineInfo> {
    match tokio::task::spawn_blocking(move || start::ensure(&data)).await {
        Ok(ensured) => ensured,
        Err(error) => Err(Failure::from(Error::new(Kind::Internal, "cannot start an engine").because(error))),
    }
}
