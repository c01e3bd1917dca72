//! What others do with the files of a mounted workspace, by path (decision 0012).
//!
//! Keeps true: before a change is answered it is on disk (level *local*) and the kernel has forgotten what it knew, so
//! whoever hears the answer sees the change through the mount.

use vfs_core::files::{Answer, Request};
use vfs_core::workspace::{Invalidation, Workspace};
use vfs_core::{Error, Kind, Result};

use super::{Holder, blocking};

impl Holder {
    /// Does something with the files.
    pub(super) async fn files(&self, request: Request) -> Result<Answer> {
        let changes = if request.is_read() { None } else { Some(self.takes_changes.read().await) };
        if changes.as_ref().is_some_and(|taken| !**taken) {
            return Err(Error::new(Kind::Unavailable, "the mount is ending; try again"));
        }
        let done = self.files.run(request).await;
        if done.changed.is_empty() {
            return done.result;
        }
        let (synced, told) = tokio::join!(sync(&self.workspace), self.tell(done.changed));
        told?;
        let answer = done.result?;
        synced?;
        Ok(answer)
    }

    /// From here on, and after what is under way, nobody changes files by path: what is published next is the end.
    pub(super) async fn take_no_more_changes(&self) {
        *self.takes_changes.write().await = false;
    }

    /// Tells the kernel and waits until it has heard.
    async fn tell(&self, changed: Vec<Invalidation>) -> Result<()> {
        let mount = self.mount.clone();
        blocking(move || {
            mount.invalidate(changed);
            mount.settle();
            Ok(())
        })
        .await
    }
}

/// Waits until everything written so far is on disk.
async fn sync(workspace: &Workspace) -> Result<()> {
    let (send, receive) = tokio::sync::oneshot::channel();
    workspace.sync(Box::new(move |result| drop(send.send(result))));
    receive.await.map_err(|_| Error::new(Kind::Unavailable, "the workspace is closed"))?
}
