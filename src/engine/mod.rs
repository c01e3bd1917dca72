//! The engine of a data folder: found, started if there is none, or served by this very process.

mod find;
mod lock;
mod serve;
mod start;
mod token;

use std::sync::Arc;

use api::client::{Client, EngineStarter};
use async_trait::async_trait;
use vfs_core::{Error, Kind, Result};

use crate::exit::{Failure, Outcome};
use crate::folder::DataFolder;

pub(crate) use lock::EngineInfo;
pub(crate) use serve::{Serving, serve};

/// A client of the data folder's engine, which is started if there is none.
pub(crate) async fn connect(data: &DataFolder) -> Outcome<Client> {
    let info = ensure(data.clone()).await?;
    let starter = Arc::new(Starter { data: data.clone() });
    Ok(Client::unix(info.socket).with_starter(starter))
}

/// Starts the engine again when a client that lives long finds it gone.
#[derive(Debug)]
struct Starter {
    data: DataFolder,
}

#[async_trait]
impl EngineStarter for Starter {
    async fn start(&self) -> Result<()> {
        match ensure(self.data.clone()).await {
            Ok(_) => Ok(()),
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
