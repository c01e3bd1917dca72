//! Long work, answered as a stream of JSON lines: progress, then the result or an error.
//!
//! The work runs as a task of its own, so a slow reader does not hold it up; if the reader goes away, it is stopped.
//! Every job either commits in one step at its end or may be stopped anywhere.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use vfs_core::progress::{OnProgress, Progress};
use vfs_core::{Error, Kind, Result};

use super::error::log;
use crate::limits::{LINES_WAITING_MAX, PROGRESS_EVERY};
use crate::wire::JobLine;
use crate::wire::job::CONTENT_TYPE;

/// What a job reports its progress to.
pub(super) type Reporter = Arc<OnProgress>;

/// Starts `work` and answers with its lines.
pub(super) fn stream_of<T, W>(work: impl FnOnce(Reporter) -> W) -> Response
where
    T: Serialize + Send + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
{
    let (lines, arriving) = mpsc::channel::<Bytes>(LINES_WAITING_MAX);
    let reports = lines.clone();
    let told: Mutex<Vec<(&'static str, Instant)>> = Mutex::default();
    let report: Reporter = Arc::new(move |progress: Progress| {
        // A reader that is behind misses some of the progress; one slot is kept for the last line.
        if is_worth_a_line(&mut told.lock(), progress) && reports.capacity() > 1 {
            let _ = reports.try_send(line(&JobLine::<()>::Progress(progress.into())));
        }
    });
    let work = work(report);
    let task = tokio::spawn(async move {
        let last = match work.await {
            Ok(result) => JobLine::Result(result),
            Err(error) => {
                log(&error);
                JobLine::Error((&error).into())
            }
        };
        // If the reader is gone, nobody is left to tell.
        let _ = lines.send(line(&last)).await;
    });
    let state = (arriving, Stopping(task));
    let body = stream::unfold(state, |(mut arriving, task)| async move {
        let line = arriving.recv().await?;
        Some((Ok::<_, Error>(line), (arriving, task)))
    });
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], Body::from_stream(body)).into_response()
}

/// Nobody reads faster than [`PROGRESS_EVERY`]; the first of each kind and the last are always told.
fn is_worth_a_line(told: &mut Vec<(&'static str, Instant)>, progress: Progress) -> bool {
    let (now, is_last) = (Instant::now(), progress.total == Some(progress.done));
    match told.iter_mut().find(|(what, _)| *what == progress.what) {
        Some((_, before)) if !is_last && now - *before < PROGRESS_EVERY => false,
        Some((_, before)) => {
            *before = now;
            true
        }
        None => {
            told.push((progress.what, now));
            true
        }
    }
}

/// Stops its task when it is dropped; one that is done does not notice.
struct Stopping(JoinHandle<()>);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn line<T: Serialize>(line: &JobLine<T>) -> Bytes {
    let mut text = serde_json::to_vec(line).unwrap_or_else(|error| {
        let error = Error::new(Kind::Internal, "the result cannot be written as JSON").because(error);
        log(&error);
        serde_json::to_vec(&JobLine::<()>::Error((&error).into())).expect("because an error is two strings")
    });
    text.push(b'\n');
    text.into()
}

#[cfg(test)]
mod tests;
