//! A write is there as a whole or not at all, wherever the journal breaks off.

use super::*;

/// The newest journal segment and its bytes.
fn journal(world: &World) -> (std::path::PathBuf, Vec<u8>) {
    let segments = std::fs::read_dir(world.folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let newest = segments.filter(|path| path.extension().is_some_and(|extension| extension == "journal")).max();
    let path = newest.unwrap();
    let bytes = std::fs::read(&path).unwrap();
    (path, bytes)
}

async fn torn_everywhere(mut world: World, path: &str, new: &[u8], old: Option<&[u8]>) {
    let start = journal(&world).1.len();
    world.write(path, new).await.unwrap();
    let (segment, whole) = journal(&world);
    assert!(whole.len() > start);
    let names = world.names("").await;
    let mut seen = (0, 0);
    for length in start..=whole.len() {
        // Later segments, which the reopening made, would look like a gap.
        world.reopen_torn(&segment, &whole[..length]).await;
        match (world.piece(path).await, old) {
            (Ok(piece), _) if piece.content.0 == new => seen.1 += 1,
            (Ok(piece), Some(old)) => {
                assert_eq!(piece.content.0, old, "cut at {length}");
                seen.0 += 1;
            }
            (Ok(piece), None) => panic!("cut at {length}: {piece:?}"),
            (Err(error), None) => {
                assert_eq!(error.kind(), Kind::NotFound);
                seen.0 += 1;
            }
            (Err(error), Some(_)) => panic!("cut at {length}: {error}"),
        }
        let now = world.names("").await;
        assert!(now.iter().all(|name| names.contains(name)), "cut at {length}: {now:?}");
        // What was not named does not come back with a checkpoint, and the journal goes on.
        assert!(world.workspace.status().known_inodes < 8);
    }
    assert!(seen.0 > 10 && seen.1 >= 1, "{seen:?}");
}

impl World {
    async fn reopen_torn(&mut self, segment: &std::path::Path, bytes: &[u8]) {
        let folder = self.folder.path().to_owned();
        self.close().await;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "journal") && path > *segment {
                std::fs::remove_file(path).unwrap();
            }
        }
        std::fs::write(segment, bytes).unwrap();
        self.workspace = open(&self.repo, self.id, &folder).await;
        self.files = Files::new(self.workspace.clone());
    }
}

#[tokio::test]
async fn a_new_file_is_whole_or_absent() {
    let world = World::with(&[("other", "x")]).await;
    torn_everywhere(world, "new", b"some content", None).await;
}

#[tokio::test]
async fn a_replaced_file_is_the_old_or_the_new_one() {
    let world = World::with(&[("file", "the old content")]).await;
    torn_everywhere(world, "file", b"new", Some(b"the old content")).await;
}

#[tokio::test]
async fn a_file_replaced_twice_in_one_period_is_one_of_them() {
    let world = World::with(&[("file", "base")]).await;
    world.write("file", b"first").await.unwrap();
    torn_everywhere(world, "file", b"second", Some(b"first")).await;
}

#[tokio::test]
async fn replaced_files_survive_kill_and_checkpoint() {
    let mut world = World::with(&[("d/file", "base")]).await;
    for round in 0..4 {
        let content = format!("round {round}");
        let entry = world.write("d/file", content.as_bytes()).await.unwrap().entry;
        if round % 2 == 1 {
            world.publish().await;
        }
        world.reopen().await;
        assert_eq!(world.read("d/file").await.unwrap(), content);
        assert_eq!(world.stat("d/file").await.unwrap(), entry);
        assert_eq!(world.names("d").await, ["file"]);
    }
}
