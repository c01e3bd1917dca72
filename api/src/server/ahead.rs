//! Reads ahead of a client, which may be slow or stand still.
//!
//! What stays true: a read that was begun goes on to its end whether or not the client asks for more. In a stream alone it
//! would stand still with whatever it holds, a connection to the database for instance, which others wait for.

use tokio::task::JoinSet;

/// Does work on a task of its own from the first poll on. Stops it when dropped.
pub(super) async fn to_its_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let mut task = JoinSet::new();
    task.spawn(work);
    match task.join_next().await {
        Some(Ok(done)) => done,
        Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
        None => unreachable!("because a task was just spawned"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures::StreamExt;
    use futures::stream;
    use tokio::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn a_client_that_stands_still_keeps_nobody_waiting() {
        let connection = Arc::new(Mutex::new(()));
        let reads = stream::iter(0..8).map(|number| {
            let connection = connection.clone();
            to_its_end(async move {
                let _held = connection.lock().await;
                tokio::time::sleep(Duration::from_millis(1)).await;
                number
            })
        });
        let mut body = Box::pin(reads.buffered(4));
        assert_eq!(body.next().await, Some(0));
        // The client takes nothing more, and others need the connection.
        let other = tokio::time::timeout(Duration::from_secs(20), connection.lock()).await;
        drop(other.expect("a read that nobody asks holds the connection"));
        assert_eq!(body.collect::<Vec<_>>().await, [1, 2, 3, 4, 5, 6, 7]);
    }
}
