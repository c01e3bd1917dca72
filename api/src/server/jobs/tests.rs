//! Streams of lines: the result comes whatever the reader does, and stops the work when it goes away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::to_bytes;

use super::*;

async fn lines(response: Response) -> Vec<serde_json::Value> {
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    body.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

#[tokio::test]
async fn progress_comes_before_the_result() {
    let response = stream_of(|report| async move {
        report(Progress { what: "files", done: 1, total: Some(2) });
        Ok(42)
    });
    let lines = lines(response).await;
    assert_eq!(lines[0]["progress"]["done"], 1);
    assert_eq!(lines[1]["result"], 42);
    assert_eq!(lines.len(), 2);
}

#[tokio::test]
async fn an_error_is_the_last_line_and_hides_its_cause() {
    let response = stream_of(|_| async move {
        Err::<(), _>(Error::new(Kind::NoSpace, "the disk is full").because(Error::new(Kind::Internal, "secret")))
    });
    let lines = lines(response).await;
    assert_eq!(lines, [serde_json::json!({"error": {"kind": "no_space", "message": "the disk is full"}})]);
}

#[tokio::test]
async fn a_flood_of_progress_never_drowns_the_result() {
    let response = stream_of(|report| async move {
        (0..100_000).for_each(|done| report(Progress { what: "objects", done, total: None }));
        Ok("done")
    });
    // Let the work end before anybody reads.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let lines = lines(response).await;
    assert!(lines.len() <= LINES_WAITING_MAX);
    assert_eq!(lines.last().unwrap()["result"], "done");
}

#[tokio::test]
async fn a_reader_that_leaves_stops_the_work() {
    let ended = Arc::new(AtomicBool::new(false));
    struct Ending(Arc<AtomicBool>);
    impl Drop for Ending {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let ending = Ending(ended.clone());
    let response = stream_of(|_| async move {
        let _ending = ending;
        std::future::pending::<()>().await;
        Ok(())
    });
    tokio::task::yield_now().await;
    drop(response);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if ended.load(Ordering::SeqCst) {
            return;
        }
    }
    panic!("the work goes on without a reader");
}
