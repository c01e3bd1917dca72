//! A batch lets one addition at a time through, in the order in which they came: an import must not wait for itself.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::clock::Time;
use crate::id::{IdKey, ObjectId, ObjectKind};
use crate::import::archive::import_archive;

/// As slow and as strict as a batch that is full all the time.
struct OneAtATime {
    objects: MemoryObjects,
    turn: tokio::sync::Mutex<()>,
}

impl OneAtATime {
    fn new() -> OneAtATime {
        OneAtATime { objects: memory(), turn: tokio::sync::Mutex::default() }
    }
}

#[async_trait]
impl Objects for OneAtATime {
    fn key(&self) -> &IdKey {
        self.objects.key()
    }

    async fn read_many(&self, ids: &[ObjectId]) -> Result<Vec<Bytes>> {
        self.objects.read_many(ids).await
    }
}

#[async_trait]
impl NewObjects for OneAtATime {
    async fn add(&self, kind: ObjectKind, canonical: Bytes) -> Result<ObjectId> {
        let _turn = self.turn.lock().await;
        tokio::time::sleep(Duration::from_micros(100)).await;
        self.objects.add(kind, canonical).await
    }
}

/// Long after any import of some hundred small files.
const PATIENCE: Duration = Duration::from_secs(60);

fn many_files(root: &Path) {
    for directory in 0..20 {
        let folder = root.join(format!("folder {directory}"));
        fs::create_dir(&folder).unwrap();
        for file in 0..20 {
            fs::write(folder.join(format!("file {file}")), noise(directory * 100 + file, 1000)).unwrap();
        }
        fs::write(folder.join("large"), noise(directory, 600_000)).unwrap();
    }
}

#[tokio::test]
async fn an_import_does_not_wait_for_itself() {
    let folder = tempfile::tempdir().unwrap();
    many_files(folder.path());
    let (objects, counter) = (OneAtATime::new(), Counter::default());
    let options = ImportOptions::default();
    let imported = import(&objects, &counter, folder.path(), None, &options, &silent);
    let imported = tokio::time::timeout(PATIENCE, imported).await.expect("the import hangs").unwrap();
    assert_eq!(imported.totals.nodes, 20 * 22);
}

#[tokio::test]
async fn an_import_of_an_archive_does_not_wait_for_itself() {
    let folder = tempfile::tempdir().unwrap();
    many_files(folder.path());
    let tar = Command::new("tar").arg("-cC").arg(folder.path()).arg(".").output().unwrap();
    let (objects, counter) = (OneAtATime::new(), Counter::default());
    let input = std::io::Cursor::new(tar.stdout);
    let imported = import_archive(&objects, &counter, input, None, Time::default(), &silent);
    let imported = tokio::time::timeout(PATIENCE, imported).await.expect("the import hangs").unwrap();
    assert_eq!(imported.totals.nodes, 20 * 22);
}
