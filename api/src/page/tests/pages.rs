//! What the pages say, and that what does not fit is linked.

use bytes::Bytes;
use vfs_core::base::Publisher;

use super::browser::Browser;
use crate::limits::{PAGE_FILE_BYTES, PAGE_SNAPSHOTS};
use crate::server::tests_world::{World, content, publish};

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[tokio::test]
async fn one_goes_from_a_workspace_to_a_file_and_to_what_changed() {
    let world = World::new().await;
    world.repo.create_workspace("w", Some("/home/ada/project"), None).await.unwrap();
    let before = publish(&world, "w", b"one.txt", &[text("first\nsecond\nthird\n")]).await;
    publish(&world, "w", b"two.txt", &[text("other\n")]).await;
    let after = publish(&world, "w", b"one.txt", &[text("first\n2nd\nthird\n")]).await;
    let browser = Browser::visiting(&world.state, world.address).await;

    let start = browser.get("/admin").await.page();
    assert!(start.text.contains("/home/ada/project"));
    assert!(start.links.contains(&"/admin/workspaces/w".to_owned()));

    let log = browser.get("/admin/workspaces/w").await.page();
    let root = format!("/admin/workspaces/w/at/{after}");
    assert!(log.links.contains(&root) && log.text.contains("published"));

    let tree = browser.get(&root).await.page();
    let file = format!("{root}?path=one.txt");
    assert!(tree.links.contains(&file) && tree.text.contains("two.txt"));
    assert!(tree.text.contains("-rw-r--r--"));

    let shown = browser.get(&file).await.page();
    assert!(shown.text.contains("first\n\n2nd\n\nthird"), "{}", shown.text);

    let diff = browser.get(&format!("/admin/workspaces/w/diff?from={before}&to={after}")).await.page();
    let flat = diff.text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("modified one.txt") && flat.contains("added two.txt"), "{flat}");
    assert!(flat.contains("2 − second 2 + 2nd"), "{flat}");
    let alone = format!("/admin/workspaces/w/diff/file?from={before}&to={after}&path=two.txt");
    assert!(browser.get(&alone).await.page().text.contains("other"));
}

#[tokio::test]
async fn automatic_snapshots_are_shown_when_asked_for() {
    let world = World::new().await;
    let id = world.repo.create_workspace("w", None, None).await.unwrap().id;
    let note = vfs_core::base::PublishNote { automatic: true, message: "by itself".into(), ..Default::default() };
    let attached =
        world.repo.attach(id, crate::server::tests_world::holder(9), &crate::server::tests_world::who()).await.unwrap();
    let mut mount = crate::server::tests_world::Mount::new(world.repo.clone(), attached);
    mount.send(b"f", &[text("x")]).await.unwrap();
    world.repo.commit(&mount.lease, mount.position, note).await.unwrap();
    let browser = Browser::visiting(&world.state, world.address).await;
    assert!(!browser.get("/admin/workspaces/w").await.page().text.contains("by itself"));
    assert!(browser.get("/admin/workspaces/w?all=true").await.page().text.contains("by itself"));
}

#[tokio::test]
async fn a_long_file_comes_in_parts_that_lose_nothing() {
    let world = World::new().await;
    world.repo.create_workspace("w", None, None).await.unwrap();
    let lines: Vec<String> = (1..=60_000).map(|number| format!("line-{number} ä")).collect();
    let whole = lines.join("\n");
    assert!(whole.len() as u64 > PAGE_FILE_BYTES);
    publish(&world, "w", b"long", &[text(&whole)]).await;
    let browser = Browser::visiting(&world.state, world.address).await;
    let mut next = Some("/admin/workspaces/w/at/HEAD?path=long".to_owned());
    let (mut seen, mut pages) = (0, 0);
    while let Some(path) = next {
        let page = browser.get(&path).await.page();
        for line in page.text.lines().filter(|line| line.starts_with("line-")) {
            seen += 1;
            assert_eq!(line, format!("line-{seen} ä"));
        }
        pages += 1;
        next = page.links.into_iter().find(|link| link.contains("&start="));
        if let Some(next) = &next {
            assert!(next.ends_with(&format!("&line={}", seen + 1)), "{next} after {seen}");
        }
    }
    assert_eq!((seen, pages), (60_000, 2));
}

#[tokio::test]
async fn bytes_are_not_shown_but_saved() {
    let world = World::new().await;
    world.repo.create_workspace("w", None, None).await.unwrap();
    let bytes = content(7, 300_000);
    publish(&world, "w", b"picture.png", &[bytes.clone()]).await;
    let browser = Browser::visiting(&world.state, world.address).await;
    let page = browser.get("/admin/workspaces/w/at/HEAD?path=picture.png").await.page();
    assert!(page.text.contains("Not text: 293.0 KiB"), "{}", page.text);
    let to = page.links.iter().find(|link| link.contains("/download?")).unwrap();
    assert!(browser.get(to).await.body == bytes);
}

#[tokio::test]
async fn a_long_history_comes_in_pages() {
    let world = World::new().await;
    world.repo.create_workspace("w", None, None).await.unwrap();
    let id = world.repo.workspace("w").await.unwrap().id;
    let attached =
        world.repo.attach(id, crate::server::tests_world::holder(9), &crate::server::tests_world::who()).await.unwrap();
    let mut mount = crate::server::tests_world::Mount::new(world.repo.clone(), attached);
    for number in 0..PAGE_SNAPSHOTS + 5 {
        mount.send(b"f", &[text(&number.to_string())]).await.unwrap();
        let note = crate::server::tests_world::note(&format!("number-{number};"));
        let published = world.repo.commit(&mount.lease, mount.position, note).await.unwrap();
        mount.base = published.snapshot;
    }
    let browser = Browser::visiting(&world.state, world.address).await;
    let first = browser.get("/admin/workspaces/w").await.page();
    assert!(first.text.contains("number-204;") && !first.text.contains("number-4;"));
    let next = first.links.iter().find(|link| link.contains("skip=")).expect("a link to the rest");
    let second = browser.get(next).await.page();
    assert!(
        second.text.contains("number-4;") && second.text.contains("number-0;") && !second.text.contains("number-5;")
    );
}
