//! The signals that mean "stop": Ctrl-C, SIGTERM, and the terminal that closes.
//!
//! They are caught from the moment the value is made; one that comes before [`Signals::next`] is asked is not lost.

use std::future::poll_fn;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};
use vfs_core::{Error, Result};

/// Listens for the signals.
pub(crate) struct Signals(Vec<Signal>);

impl Signals {
    /// Begins to listen. From here on they do not end the process.
    pub(crate) fn listen() -> Result<Signals> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let listened: std::io::Result<Vec<Signal>> = kinds.into_iter().map(signal).collect();
        Ok(Signals(listened.map_err(|error| Error::io("cannot listen for signals", error))?))
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        poll_fn(|context| match self.0.iter_mut().any(|signal| signal.poll_recv(context).is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_that_came_early_is_not_lost() {
        let mut signals = Signals::listen().unwrap();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP).unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(10), signals.next()).await.unwrap();
    }
}
