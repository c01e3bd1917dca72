//! What every command needs: the data folder, a client of its engine, and where to print.

use std::ffi::OsStr;

use api::client::Client;
use vfs_core::base::PublishNote;
use vfs_core::id::SnapshotId;

use crate::address::StateName;
use crate::engine;
use crate::exit::Outcome;
use crate::folder::DataFolder;
use crate::print::Printer;

/// What a command works with.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// Where results go.
    pub printer: Printer,
    /// The data folder.
    pub data: DataFolder,
    /// Address of an engine elsewhere, if one is used.
    pub engine: Option<String>,
    /// What that engine lets in; commands that are started give it on in their environment.
    pub token: Option<String>,
}

/// A state that was looked up.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// Name of the workspace.
    pub workspace: String,
    /// The snapshot that it means.
    pub snapshot: SnapshotId,
}

impl Context {
    /// A client of the engine elsewhere, or of the data folder's own, which is started if it does not run.
    pub(crate) async fn client(&self) -> Outcome<Client> {
        match &self.engine {
            Some(url) => {
                self.data.prepare()?;
                engine::connect_to(url, self.token.as_deref())
            }
            None => engine::connect(&self.data).await,
        }
    }
}

/// Parses and looks up `W[@SNAPSHOT]`.
pub(crate) async fn resolve_text(client: &Client, text: &OsStr, published: bool) -> Outcome<Resolved> {
    resolve(client, &StateName::parse(text)?, published).await
}

/// The snapshot that a state means. A workspace without one means what its mount shows now: everything written
/// before this call, through a barrier; or with `published` what others see already.
pub(crate) async fn resolve(client: &Client, state: &StateName, published: bool) -> Outcome<Resolved> {
    if state.snapshot.is_none() && !published {
        let note = PublishNote { author: crate::holder::author(), automatic: true, ..PublishNote::default() };
        let done = client.checkpoint(&state.workspace, note).await?;
        return Ok(Resolved { workspace: state.workspace.clone(), snapshot: done.snapshot });
    }
    let found = client.resolve(&state.to_string()).await?;
    Ok(Resolved { workspace: found.name, snapshot: found.snapshot })
}
