//! Tags, rules of retention, and gc that follows them.

use vfs_core::Kind;

use super::world::{World, content, publish};
use crate::wire::gc::GcRequest;
use crate::wire::keep::{AddTag, Rules};
use crate::wire::workspace::CreateWorkspace;

fn tag(name: &str, snapshot: &str) -> AddTag {
    AddTag { name: name.into(), snapshot: snapshot.into() }
}

#[tokio::test]
async fn tags_keep_what_rules_let_go() {
    let world = World::new().await;
    let client = &world.client;
    client.create_workspace(&CreateWorkspace { name: "w".into(), ..CreateWorkspace::default() }).await.unwrap();
    for seed in 1..5 {
        publish(&world, "w", b"a", &[content(seed, 1000)]).await;
    }
    let rows = client.log("w", true, 100).await.unwrap();
    let old = rows[2].snapshot;
    let made = client.add_tag("w", &tag("v1", &old.to_hex()[..12])).await.unwrap();
    assert_eq!((made.name.as_str(), made.snapshot), ("v1", old));
    assert_eq!(client.add_tag("w", &tag("v1", "HEAD")).await.unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(client.add_tag("w", &tag("beef", "HEAD")).await.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(client.resolve("w@v1").await.unwrap().snapshot, old);
    assert_eq!(client.log("w", false, 100).await.unwrap().iter().filter(|row| row.tags == ["v1"]).count(), 1);

    assert_eq!(client.retention(Some("w")).await.unwrap().effective, None);
    assert_eq!(client.set_retention(None, &Rules::default()).await.unwrap_err().kind(), Kind::Invalid);
    let rules = Rules { keep_last: Some(1), ..Rules::default() };
    assert_eq!(client.set_retention(None, &rules).await.unwrap().own, Some(rules));
    let found = client.retention(Some("w")).await.unwrap();
    assert_eq!((found.own, found.effective), (None, Some(rules)));

    let request = GcRequest { grace_s: Some(0), delete: true, dry_run: true, repack_below_percent: None };
    let dry = client.gc(&request, |_| {}).await.unwrap();
    assert!(dry.dry_run && !dry.deleted && dry.deletable_bytes > 0, "{dry:?}");
    assert_eq!(client.log("w", true, 100).await.unwrap().len(), rows.len());
    let real = client.gc(&GcRequest { dry_run: false, ..request.clone() }, |_| {}).await.unwrap();
    assert_eq!((real.deletable_bytes, &real.removed_rows), (dry.deletable_bytes, &dry.removed_rows));
    let left = client.log("w", true, 100).await.unwrap();
    assert_eq!(left.iter().map(|row| row.snapshot).collect::<Vec<_>>(), [rows[0].snapshot, old]);
    client.snapshot(old).await.unwrap();

    assert_eq!(client.tags("w").await.unwrap(), [made]);
    client.remove_tag("w", "v1").await.unwrap();
    assert_eq!(client.remove_tag("w", "v1").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(client.resolve("w@v1").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(client.clear_retention(None).await.unwrap().effective, None);
    let wrong = GcRequest { repack_below_percent: Some(101), ..request };
    assert_eq!(client.gc(&wrong, |_| {}).await.unwrap_err().kind(), Kind::Invalid);
}
