//! Ending a mount: publish, unmount, give the lease back; and what to do if one of these cannot be done now.
//!
//! The first signal publishes and waits until nobody uses the mount; the second detaches it lazily. What runs in
//! the mount is never killed.

use std::sync::Arc;

use fuse_mount::Mount;
use fuse_mount::documents::DocumentMount;
use vfs_core::{Error, Kind, Result};

use super::{End, Holder, blocking};
use crate::exit::{Failure, Outcome};
use crate::limits::{BUSY_RETRY, FINAL_PATIENCE, LAZY_GRACE, POLL};
use crate::signals::Signals;

/// Why a mount ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Ctrl-C, SIGTERM or the terminal closed.
    Signal,
    /// The engine asked; already unmounted.
    Released,
    /// Another holder has the workspace.
    LeaseLost,
    /// Somebody unmounted it from outside.
    Ended,
}

/// Waits until the mount has to end.
pub(super) async fn wait(holder: &Arc<Holder>, signals: &mut Signals) -> Reason {
    let mut end = holder.end.subscribe();
    let told = async {
        match end.wait_for(|end| *end != End::No).await.map(|end| *end) {
            Ok(End::LeaseLost) => Reason::LeaseLost,
            _ => Reason::Released,
        }
    };
    let ended = async {
        while !holder.mount.has_ended() {
            tokio::time::sleep(POLL).await;
        }
        // A release unmounts as well, and says so a moment later.
        tokio::time::sleep(POLL * 4).await;
        Reason::Ended
    };
    tokio::select! {
        biased;
        reason = told => reason,
        () = signals.next() => Reason::Signal,
        reason = ended => reason,
    }
}

/// Ends the mount. `tell` says what is going on to whoever is in front.
pub(super) async fn stop(holder: &Arc<Holder>, reason: Reason, signals: &mut Signals, tell: &dyn Fn(&str)) -> Outcome {
    let published = match reason {
        Reason::LeaseLost => Err(Error::new(
            Kind::LeaseLost,
            format!(
                "another holder has the workspace {}; what was not published is kept in {}",
                holder.name,
                holder.folder.display()
            ),
        )),
        Reason::Released => Ok(()),
        Reason::Signal | Reason::Ended => publish(holder).await,
    };
    match reason {
        Reason::Signal => unmount(&holder.mount, signals, tell).await?,
        Reason::LeaseLost => detach_lazily(&holder.mount).await?,
        Reason::Released | Reason::Ended => {}
    }
    holder.take_no_more_changes().await;
    // What was written between the publish and the unmount, and a second try if the first failed.
    let published = match published {
        Err(error) if error.kind() == Kind::LeaseLost => Err(error),
        _ if holder.workspace.dirty_since().is_some() => publish(holder).await,
        published => published,
    };
    if reason == Reason::Released {
        return Ok(holder.workspace.close().await?);
    }
    // The lease stays where not all is published, so that nobody publishes past our journal at once.
    if published.is_ok()
        && let Err(error) = holder.client.detach(&holder.lease()).await
    {
        tracing::debug!("cannot give the lease back, it will run out: {}", error.chain());
    }
    let closed = holder.workspace.close().await;
    published.map_err(|error| unpublished(holder, error))?;
    Ok(closed?)
}

/// Publishes within a deadline: an engine that is away must not keep a mount from ending.
async fn publish(holder: &Arc<Holder>) -> Result<()> {
    match tokio::time::timeout(FINAL_PATIENCE, holder.barrier(holder.final_note())).await {
        Ok(published) => published.map(|_| ()),
        Err(_) => Err(Error::new(Kind::Unavailable, "the engine does not answer")),
    }
}

/// The last line for work that stays in the journal.
fn unpublished(holder: &Holder, error: Error) -> Failure {
    if error.kind() == Kind::LeaseLost {
        return error.into();
    }
    let kind = match error.kind() {
        Kind::NoSpace => Kind::NoSpace,
        Kind::QuotaExceeded => Kind::QuotaExceeded,
        Kind::Corrupt => Kind::Corrupt,
        _ => Kind::Unavailable,
    };
    let line = format!(
        "{} was unmounted but not all is published ({}); your work is safe in the journal {}: mount it again",
        holder.name,
        error.chain(),
        holder.folder.display()
    );
    Failure::new(kind, line)
}

/// A mount of either kind, as far as ending it goes.
pub(super) trait Unmount: Send + Sync + 'static {
    /// Unmounts; `Busy` names who uses it, unless it is detached lazily.
    fn unmount(&self, lazy: bool) -> Result<()>;
    /// Whether it has ended.
    fn has_ended(&self) -> bool;
}

impl Unmount for Mount {
    fn unmount(&self, lazy: bool) -> Result<()> {
        Mount::unmount(self, lazy)
    }

    fn has_ended(&self) -> bool {
        Mount::has_ended(self)
    }
}

impl Unmount for DocumentMount {
    fn unmount(&self, lazy: bool) -> Result<()> {
        DocumentMount::unmount(self, lazy)
    }

    fn has_ended(&self) -> bool {
        DocumentMount::has_ended(self)
    }
}

/// Unmounts once nobody uses it, or lazily at a second signal.
pub(super) async fn unmount<M: Unmount>(mount: &Arc<M>, signals: &mut Signals, tell: &dyn Fn(&str)) -> Result<()> {
    let mut told = String::new();
    loop {
        match try_unmount(mount, false).await {
            Err(error) if error.kind() == Kind::Busy => {
                if told != error.context() {
                    told = error.context().to_owned();
                    tell(&format!("{told}; waiting (Ctrl-C again detaches the mount at once)"));
                }
            }
            unmounted => return unmounted,
        }
        tokio::select! {
            () = signals.next() => return detach_lazily(mount).await,
            () = tokio::time::sleep(BUSY_RETRY) => {}
        }
    }
}

async fn try_unmount<M: Unmount>(mount: &Arc<M>, lazy: bool) -> Result<()> {
    let mount = mount.clone();
    blocking(move || if mount.has_ended() { Ok(()) } else { mount.unmount(lazy) }).await
}

/// Takes the mount out of the tree at once. Whoever still uses it gets errors once this process has ended.
async fn detach_lazily<M: Unmount>(mount: &Arc<M>) -> Result<()> {
    try_unmount(mount, true).await?;
    let gone = async {
        while !mount.has_ended() {
            tokio::time::sleep(POLL).await;
        }
    };
    let _ = tokio::time::timeout(LAZY_GRACE, gone).await;
    Ok(())
}
