//! The right to drive a session: a lock file, a lease, and a task that renews it.
//!
//! The lock shows on this machine that an owner is dead: the kernel drops it with the process. The file says which epoch
//! its owner had, so that nobody else's lease is taken for a dead one.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

use api::client::Client;
use api::wire::session::{Session, SessionLease, TakeLease};
use rustix::fs::{FlockOperation, flock};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use vfs_core::{Error, Kind, Result};

use super::{Show, Shown};
use crate::limits::{LEASE_PATIENCE, LEASE_POLL, LEASE_RENEWAL};

/// Where drivers of this machine find each other, and what this one is called.
#[derive(Debug, Clone)]
pub struct Place {
    /// The runtime folder of this user; lock files go into `sessions` in it.
    pub folder: PathBuf,
    /// Who drives, for people: `PID on HOST`.
    pub owner: String,
    /// How often the lease is renewed.
    pub renewal: Duration,
    /// How often a lease is looked at that is to run out.
    pub poll: Duration,
}

impl Place {
    /// A place with the usual renewal.
    pub fn new(folder: PathBuf, owner: String) -> Place {
        Place { folder, owner, renewal: LEASE_RENEWAL, poll: LEASE_POLL }
    }
}

/// A session whose lease is ours.
pub(super) struct Held {
    client: Client,
    session: Session,
    epoch: u64,
    lost: watch::Receiver<bool>,
    renewal: JoinHandle<()>,
    _lock: Lock,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({} under epoch {})", self.session.id, self.epoch)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl Held {
    /// Takes the lease. Waits for one to run out whose owner is silent; one that lives is `Busy`.
    pub(super) async fn take(client: &Client, session: Session, place: &Place, show: Show<'_>) -> Result<Held> {
        let mut lock = Lock::take(&place.folder, &session.id)?;
        let lease = lease(client, &session, place, &lock, show).await?;
        lock.write(lease.epoch)?;
        let (say_lost, lost) = watch::channel(false);
        let renewal = tokio::spawn(renew(client.clone(), session.id.clone(), lease.epoch, place.renewal, say_lost));
        Ok(Held { client: client.clone(), session, epoch: lease.epoch, lost, renewal, _lock: lock })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Comes when the lease has gone to somebody else, and not before.
    pub(super) fn lost(&self) -> impl Future<Output = Error> + Send + use<> {
        let mut lost = self.lost.clone();
        async move {
            if lost.wait_for(|lost| *lost).await.is_err() {
                // The renewal has ended without a word, which only happens together with us.
                std::future::pending::<()>().await;
            }
            Error::new(Kind::LeaseLost, "another process has taken this session over")
        }
    }

    /// Gives the lease back. If that fails it runs out by itself.
    pub(super) async fn release(&self) {
        self.renewal.abort();
        if let Err(error) = self.client.release_session(&self.session.id, self.epoch).await {
            tracing::debug!("the lease was not given back: {}", error.chain());
        }
    }
}

/// Renews the lease until it is lost.
async fn renew(client: Client, id: String, epoch: u64, every: Duration, say_lost: watch::Sender<bool>) {
    loop {
        sleep(every).await;
        match client.renew_session(&id, epoch).await {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), Kind::LeaseLost | Kind::NotFound) => {
                let _ = say_lost.send(true);
                return;
            }
            Err(error) => tracing::warn!("the lease of session {id} was not renewed: {}", error.chain()),
        }
    }
}

async fn lease(client: &Client, session: &Session, place: &Place, lock: &Lock, show: Show<'_>) -> Result<SessionLease> {
    let until = Instant::now() + LEASE_PATIENCE;
    let mut seen = session.lease.clone();
    let mut told = false;
    loop {
        // We have the lock, so whoever wrote this epoch into the file is gone.
        let dead_epoch = seen.as_ref().map(|lease| lease.epoch).filter(|epoch| lock.epoch == Some(*epoch));
        let request = TakeLease { owner: place.owner.clone(), dead_epoch };
        let busy = match client.take_session(&session.id, &request).await {
            Err(error) if error.kind() == Kind::Busy => error,
            taken => return taken,
        };
        let now = client.session(&session.id).await?.lease;
        let Some(owner) = now.clone() else {
            // Not this session is driven, but another one of its workspace; or it has come free just now.
            match told {
                true => return Err(busy),
                false => told = true,
            }
            sleep(place.poll).await;
            continue;
        };
        let lives = seen.as_ref().is_some_and(|seen| (seen.epoch, seen.last_seen) != (owner.epoch, owner.last_seen));
        if lives || Instant::now() >= until {
            return Err(busy);
        }
        if !told {
            show(Shown::Remark(&format!("waiting until the lease of {} runs out", owner.owner)));
            told = true;
        }
        seen = now;
        sleep(place.poll).await;
    }
}

/// A lock file of this machine.
#[derive(Debug)]
struct Lock {
    file: File,
    /// What the owner before wrote into it.
    epoch: Option<u64>,
}

impl Lock {
    fn take(folder: &std::path::Path, id: &str) -> Result<Lock> {
        if id.is_empty() || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Error::new(Kind::Internal, "the engine gave a session an id that is none"));
        }
        let folder = folder.join("sessions");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|error| Error::io(format!("cannot make {}", folder.display()), error))?;
        let path = folder.join(format!("{id}.lock"));
        let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
        let mut file = opened.map_err(|error| Error::io(format!("cannot open {}", path.display()), error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Error::new(
                    Kind::Busy,
                    format!("session {id} is driven by another process of this machine"),
                ));
            }
            Err(error) => return Err(Error::io(format!("cannot lock {}", path.display()), error.into())),
        }
        let mut text = String::new();
        let read = file.read_to_string(&mut text);
        read.map_err(|error| Error::io(format!("cannot read {}", path.display()), error))?;
        Ok(Lock { file, epoch: text.trim().parse().ok() })
    }

    /// Says whose it is now.
    fn write(&mut self, epoch: u64) -> Result<()> {
        let written = self
            .file
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.file.set_len(0))
            .and_then(|()| self.file.write_all(format!("{epoch}\n").as_bytes()));
        written.map_err(|error| Error::io("cannot write the lock file of the session", error))
    }
}
