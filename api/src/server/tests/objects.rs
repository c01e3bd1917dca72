//! Objects in bulk, asked for wrongly.

use reqwest::Method;
use vfs_core::Kind;

use super::world::World;
use crate::limits::{BATCH_CHUNKS_MAX, BATCH_ITEMS_MAX};
use crate::wire::frames;

#[tokio::test]
async fn batches_that_are_wrong_or_too_large_are_refused() {
    let world = World::new().await;
    let id = world.repo.create_workspace("w", None, None).await.unwrap().id;
    let ask = |path: &str, items: Vec<Vec<u8>>| {
        let (client, path) = (world.client.clone(), format!("/v1/workspaces/{id}/{path}"));
        async move { client.raw(Method::POST, &path, frames::encode(&items)).await.map_err(|error| error.kind()) }
    };
    assert_eq!(ask("trees", vec![]).await.unwrap(), frames::encode::<Vec<u8>>(&[]));
    assert_eq!(ask("trees", vec![vec![1; 31]]).await.unwrap_err(), Kind::Invalid);
    assert_eq!(ask("trees", vec![vec![1; 33]]).await.unwrap_err(), Kind::LimitExceeded);
    assert_eq!(ask("trees", vec![vec![1; 32]]).await.unwrap_err(), Kind::NotFound);
    assert_eq!(ask("trees", vec![vec![1; 32]; BATCH_ITEMS_MAX + 1]).await.unwrap_err(), Kind::LimitExceeded);
    assert_eq!(ask("blobs", vec![vec![1; 32]]).await.unwrap_err(), Kind::NotFound);
    assert_eq!(ask("chunks", vec![vec![1; 32]]).await.unwrap_err(), Kind::Invalid);
    assert_eq!(ask("chunks", vec![vec![0; 68]; BATCH_CHUNKS_MAX + 1]).await.unwrap_err(), Kind::LimitExceeded);
    let name = world.client.raw(Method::POST, "/v1/workspaces/w/trees", frames::encode::<Vec<u8>>(&[])).await;
    assert_eq!(name.unwrap_err().kind(), Kind::Invalid, "mounts name workspaces by id");
    let lease = format!("holder={}&epoch=1", "00".repeat(16));
    let changes = format!("/v1/workspaces/{id}/publish/5/changes?{lease}");
    let nonsense = world.client.raw(Method::PUT, &changes, "nonsense".into()).await;
    assert_eq!(nonsense.unwrap_err().kind(), Kind::Invalid, "what a mount sends wrongly is no damage of ours");
}
