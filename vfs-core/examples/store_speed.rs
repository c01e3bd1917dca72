//! Measures how fast a batch takes many small objects, how fast they are read, and what one small publish costs.
//!
//! `cargo run -p vfs-core --example store_speed -- [folder]`

#![allow(clippy::unwrap_used, reason = "a test or example may panic")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use vfs_core::base::PublishNote;
use vfs_core::clock::SystemClock;
use vfs_core::id::ObjectKind;
use vfs_core::objects::{NewObjects, Objects};
use vfs_core::repo::{Repo, RepoOptions};

const OBJECTS: u64 = 50_000;
const PUBLISHES: u32 = 50;

#[tokio::main]
async fn main() -> vfs_core::Result<()> {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let folder = tempfile::tempdir_in(folder).expect("because a folder to measure in is needed");
    let data = folder.path().to_owned();
    let repo =
        Repo::open(RepoOptions { data, bucket: None, database: None, key: None, clock: Arc::new(SystemClock) }).await?;

    let objects: Vec<Bytes> = (0..OBJECTS).map(source_like).collect();
    let mut ids = Vec::new();
    for round in ["new", "known"] {
        let start = Instant::now();
        let batch = repo.batch();
        ids.clear();
        for object in &objects {
            ids.push(batch.add(ObjectKind::Chunk, object.clone()).await?);
        }
        batch.finish().await?;
        println!("{OBJECTS} {round} objects of 0.5 to 4 KB: {:?}", start.elapsed());
    }
    let start = Instant::now();
    for part in ids.chunks(256) {
        repo.store().read_many(part).await?;
    }
    println!("read {OBJECTS} objects, 256 at a time: {:?}", start.elapsed());

    let workspace = repo.create_workspace("w", None, None).await?;
    let mut head = workspace.head;
    let root = repo.snapshot(head).await?.root;
    let start = Instant::now();
    for number in 0..PUBLISHES {
        let batch = repo.batch();
        batch.add(ObjectKind::Chunk, source_like(1_000_000 + u64::from(number))).await?;
        let note = PublishNote { message: number.to_string(), ..PublishNote::default() };
        head = repo.move_head(workspace.id, head, batch, root.clone(), None, note).await?;
    }
    println!("one small publish: {:?}", start.elapsed() / PUBLISHES);
    Ok(())
}

/// Text that compresses about as source code does.
fn source_like(seed: u64) -> Bytes {
    let mut text = String::new();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let length = 500 + seed % 3500;
    while (text.len() as u64) < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push_str(["let ", "value", " = ", "call(", ");\n", "if ", "return ", "{ }"][(state >> 61) as usize]);
        text.push_str(&(state >> 52).to_string());
    }
    text.into()
}
