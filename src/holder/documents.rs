//! The documents of a view, shown at a folder by this process: alone, or beside a workspace that it holds.
//!
//! A record in the data folder says which process shows what where, as long as something may be on its way to the store:
//! `esker unmount` waits until it is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::client::Client;
use fuse_mount::documents::{DocumentMount, DocumentOptions, EngineDocuments, Writer};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use vfs_core::Result;

use super::{blocking, prepare_mountpoint, stop};
use crate::exit::Outcome;
use crate::folder::DataFolder;
use crate::limits::{FINAL_PATIENCE, LAZY_GRACE, POLL};
use crate::signals::Signals;

/// Which documents are shown where, and for whom.
#[derive(Debug, Clone)]
pub(crate) struct WantedDocuments {
    /// The view: scopes, nearest first.
    pub view: Vec<String>,
    /// Scopes that may be written.
    pub grants: Vec<String>,
    /// Who writes.
    pub author: String,
    /// The session that writes; empty for a person.
    pub session: String,
    /// Where.
    pub mountpoint: PathBuf,
    /// Other users may use it.
    pub allow_other: bool,
}

/// What is shown where: said at the start, and recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ShownDocuments {
    /// The view: scopes, nearest first.
    pub view: Vec<String>,
    /// Scopes that may be written.
    pub grants: Vec<String>,
    /// The session that writes; empty for a person.
    pub session: String,
    /// Where they are mounted.
    pub mountpoint: PathBuf,
    /// The process that shows them.
    pub pid: u32,
}

/// Documents that are shown; ends with the process at the latest.
pub(crate) struct Documents {
    /// What is shown where.
    pub(crate) shown: ShownDocuments,
    mount: Arc<DocumentMount>,
    /// Ends once the mount has, and nothing is on its way any more.
    settled: JoinHandle<()>,
}

impl Documents {
    /// Mounts them.
    pub(crate) async fn start(data: &DataFolder, client: Client, wanted: WantedDocuments) -> Outcome<Documents> {
        prepare_mountpoint(&wanted.mountpoint)?;
        let record = data.documents_record(&wanted.mountpoint);
        crate::folder::private(record.parent().expect("because the path has a folder"))?;
        let shown = ShownDocuments {
            view: wanted.view.clone(),
            grants: wanted.grants.clone(),
            session: wanted.session.clone(),
            mountpoint: wanted.mountpoint.clone(),
            pid: std::process::id(),
        };
        let writer = Writer { author: wanted.author, session: wanted.session, grants: wanted.grants.clone() };
        let store = Arc::new(EngineDocuments::new(client, writer));
        let options = DocumentOptions {
            grants: wanted.grants,
            allow_other: wanted.allow_other,
            ..DocumentOptions::new(wanted.view)
        };
        let (at, runtime) = (wanted.mountpoint, tokio::runtime::Handle::current());
        let mount = Arc::new(blocking(move || DocumentMount::start(store, &at, &options, runtime)).await?);
        write_record(&record, &shown)?;
        let settled = tokio::spawn(settle(mount.clone(), record));
        Ok(Documents { shown, mount, settled })
    }

    /// Unmounts them, lazily if somebody still uses them, and stores what was closed.
    pub(crate) async fn end(self) -> Result<()> {
        let mount = self.mount.clone();
        blocking(move || match mount.unmount(false) {
            Err(error) if error.kind() == vfs_core::Kind::Busy => mount.unmount(true),
            unmounted => unmounted,
        })
        .await?;
        self.finish().await;
        Ok(())
    }

    /// Waits a moment for the last user of what was unmounted, and then for the store.
    async fn finish(self) {
        let ended = async {
            while !self.mount.has_ended() {
                tokio::time::sleep(POLL).await;
            }
        };
        if tokio::time::timeout(LAZY_GRACE, ended).await.is_err() {
            self.mount.settle().await;
            return;
        }
        let _ = tokio::time::timeout(FINAL_PATIENCE, self.settled).await;
    }
}

/// Shows documents until a signal, or until somebody unmounts them.
pub(crate) async fn show_documents(
    data: &DataFolder,
    client: Client,
    wanted: WantedDocuments,
    say: impl FnOnce(&ShownDocuments) -> Outcome,
    tell: &dyn Fn(&str),
) -> Outcome {
    let mut signals = Signals::listen()?;
    let documents = Documents::start(data, client, wanted).await?;
    say(&documents.shown)?;
    let ended = async {
        while !documents.mount.has_ended() {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::select! {
        () = signals.next() => stop::unmount(&documents.mount, &mut signals, tell).await?,
        () = ended => {}
    }
    documents.finish().await;
    Ok(())
}

/// Once the mount has ended: stores what was closed, then takes the record away.
async fn settle(mount: Arc<DocumentMount>, record: PathBuf) {
    while !mount.has_ended() {
        tokio::time::sleep(POLL).await;
    }
    mount.settle().await;
    let _ = fs::remove_file(&record);
}

fn write_record(path: &Path, shown: &ShownDocuments) -> Result<()> {
    let temporary = path.with_extension("new");
    fs::write(&temporary, crate::print::json_line(shown))
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|error| vfs_core::Error::io(format!("cannot write {}", path.display()), error))
}

/// What the data folder knows of the documents mounted at a path, as long as their process lives.
pub(crate) fn documents_at(data: &DataFolder, at: &Path) -> Option<ShownDocuments> {
    let text = fs::read(data.documents_record(at)).ok()?;
    let shown: ShownDocuments = serde_json::from_slice(&text).ok()?;
    (shown.mountpoint == at && super::is_alive(shown.pid)).then_some(shown)
}
