//! How a request gets its answer: from memory on the session's thread, or, after a miss, from a task.
//!
//! A miss is bounded in time (the caller cannot be interrupted, so it gets EIO in the end) and in number. The task
//! fills what is missing and asks again; nothing was changed by the attempt that missed. A reply never blocks.

use std::sync::Arc;

use fuser::{
    Errno, FileAttr, ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyWrite, ReplyXattr,
};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use vfs_core::Error;
use vfs_core::error::Kind;
use vfs_core::limits::{MISS_DEADLINE, MISSES_MAX};
use vfs_core::workspace::{Answer, Attr, Miss, Stop, Workspace};

use super::listing::Page;
use crate::counters::{Counters, Operation};
use crate::translate as to;

/// What all requests share.
pub(crate) struct Core {
    pub(crate) workspace: Arc<Workspace>,
    pub(crate) counters: Counters,
    /// Show everything as this user and group.
    pub(crate) owner: Option<(u32, u32)>,
    runtime: Handle,
    misses: Semaphore,
    /// Slows every WRITE down: a barrier that did not wait for writes would still pass on a fast mount.
    #[cfg(test)]
    pub(crate) write_delay: parking_lot::Mutex<std::time::Duration>,
}

/// A reply that can say no.
pub(crate) trait Refuse: Send + 'static {
    fn refuse(self, errno: Errno);
}

macro_rules! refuse {
    ($($reply:ty),+) => {
        $(impl Refuse for $reply {
            fn refuse(self, errno: Errno) {
                self.error(errno);
            }
        })+
    };
}

refuse!(ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyWrite, ReplyXattr);

impl Core {
    pub(crate) fn new(workspace: Arc<Workspace>, owner: Option<(u32, u32)>, runtime: Handle) -> Arc<Core> {
        let (counters, misses) = (Counters::default(), Semaphore::new(MISSES_MAX));
        Arc::new(Core {
            workspace,
            counters,
            owner,
            runtime,
            misses,
            #[cfg(test)]
            write_delay: parking_lot::Mutex::default(),
        })
    }

    pub(crate) fn count(&self, operation: Operation) {
        self.counters.count(operation);
    }

    /// Attributes as the kernel gets them.
    pub(crate) fn shown(&self, attr: &Attr) -> FileAttr {
        to::attr(attr, self.owner)
    }

    /// Runs `operation` on the request's `bytes` (names, content) and sends what it gives. The bytes lie in the
    /// session's buffer, so they are copied if, and only if, the operation has to wait.
    pub(crate) fn run<const N: usize, R, T>(
        self: &Arc<Self>,
        reply: R,
        bytes: [&[u8]; N],
        operation: impl Fn(&Workspace, [&[u8]; N]) -> Answer<T> + Send + 'static,
        send: impl FnOnce(&Core, R, T) + Send + 'static,
    ) where
        R: Refuse,
        T: Send + 'static,
    {
        match operation(&self.workspace, bytes) {
            Ok(value) => send(self, reply, value),
            Err(Stop::Failed(error)) => reply.refuse(told(&error)),
            Err(Stop::Miss(miss)) => {
                let kept = bytes.map(<[u8]>::to_vec);
                let again =
                    move |workspace: &Workspace, _: &mut R| operation(workspace, kept.each_ref().map(Vec::as_slice));
                self.later(miss, reply, again, send);
            }
        }
    }

    /// Sends one page of a directory.
    pub(crate) fn list(self: &Arc<Self>, mut page: Page) {
        match page.fill(&self.workspace) {
            Ok(()) => page.send(),
            Err(Stop::Failed(error)) => page.refuse(told(&error)),
            Err(Stop::Miss(miss)) => {
                self.later(miss, page, |workspace, page| page.fill(workspace), |_, page, ()| page.send())
            }
        }
    }

    /// Replies once everything written so far is on disk; the committer's thread does, for many at once.
    pub(crate) fn sync(&self, reply: ReplyEmpty) {
        let done = move |result: vfs_core::Result<()>| match result {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(told(&error)),
        };
        self.workspace.sync(Box::new(done));
    }

    fn later<R, T>(
        self: &Arc<Self>,
        miss: Miss,
        mut reply: R,
        mut again: impl FnMut(&Workspace, &mut R) -> Answer<T> + Send + 'static,
        send: impl FnOnce(&Core, R, T) + Send + 'static,
    ) where
        R: Refuse,
        T: Send + 'static,
    {
        self.count(Operation::Misses);
        let core = Arc::clone(self);
        let task = async move {
            match core.fill_and_retry(miss, |workspace| again(workspace, &mut reply)).await {
                Ok(value) => send(&core, reply, value),
                Err(error) => reply.refuse(told(&error)),
            }
        };
        self.runtime.spawn(task);
    }

    async fn fill_and_retry<T>(
        &self,
        mut miss: Miss,
        mut again: impl FnMut(&Workspace) -> Answer<T> + Send,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + MISS_DEADLINE;
        let late = |_| Error::new(Kind::Unavailable, "content of the base did not come in time");
        let permit = timeout_at(deadline, self.misses.acquire()).await.map_err(late)?;
        let _permit = permit.expect("a permit because the semaphore is never closed");
        loop {
            let filled = timeout_at(deadline, self.workspace.fill(miss)).await.map_err(late)?;
            filled.map_err(unavailable)?;
            match again(&self.workspace) {
                Ok(value) => return Ok(value),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Miss(next)) => miss = next,
            }
        }
    }
}

/// Whatever the base says of its own objects ("there is no such chunk"), the caller's file or name is not at fault.
fn unavailable(error: Error) -> Error {
    match error.kind() {
        Kind::NoSpace | Kind::QuotaExceeded => error,
        _ => Error::new(Kind::Unavailable, "content of the base could not be had").because(error),
    }
}

/// The errno of an error. What the caller only sees as EIO is logged with its causes.
fn told(error: &Error) -> Errno {
    let errno = to::errno(error);
    if errno == Errno::EIO {
        tracing::warn!(kind = error.kind().as_str(), "request answered with EIO: {}", error.chain());
    }
    errno
}
