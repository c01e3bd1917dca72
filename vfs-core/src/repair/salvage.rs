//! What is left of lost files, written into a folder: chunks that are gone become holes.

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::lost::Loss;
use super::{RepairOptions, View};
use crate::error::{Error, Result};
use crate::id::{BlobId, SnapshotId};
use crate::name::Name;
use crate::object::{Blob, Content, Extent};

/// Writes lost files; each content once, where it comes first.
pub(super) struct Salvage<'a> {
    view: &'a View<'a>,
    folder: Option<PathBuf>,
    seen: HashSet<BlobId>,
    files: u64,
}

impl<'a> Salvage<'a> {
    pub(super) fn new(view: &'a View<'a>, options: &RepairOptions) -> Result<Salvage<'a>> {
        let folder = options.salvage.clone();
        if let Some(folder) = &folder {
            make(folder)?;
        }
        Ok(Salvage { view, folder, seen: HashSet::new(), files: 0 })
    }

    pub(super) fn files(&self) -> u64 {
        self.files
    }

    /// Writes the files of a snapshot of which something is left, as `WORKSPACE@SNAPSHOT/PATH`.
    pub(super) async fn write(&mut self, workspace: &str, snapshot: SnapshotId, lost: &[Loss]) -> Result<()> {
        let Some(folder) = self.folder.clone() else { return Ok(()) };
        let place = folder.join(format!("{workspace}@{}", &snapshot.to_hex()[..12]));
        for loss in lost {
            let Some(Content::Blob { id, size }) = &loss.content else { continue };
            if self.seen.insert(*id)
                && let Some(bytes) = self.view.read_one((*id).into()).await?
                && let Ok(blob) = Blob::decode(&bytes)
            {
                self.file(&place, &loss.path, &blob, *size).await?;
            }
        }
        Ok(())
    }

    async fn file(&mut self, place: &Path, path: &[Name], blob: &Blob, size: u64) -> Result<()> {
        let mut target = place.to_owned();
        path.iter().for_each(|name| target.push(std::ffi::OsStr::from_bytes(name.as_bytes())));
        let failed = |error| Error::io(format!("{} could not be written", target.display()), error);
        let (mut file, mut offset) = (None, 0);
        for extent in blob.extents() {
            if let Extent::Chunk(chunk) = extent
                && let Some(bytes) = self.view.read_one(chunk.id.into()).await?
            {
                if file.is_none() {
                    target.parent().map_or(Ok(()), make)?;
                    // A second run may find what the first has written.
                    file = Some(fs::File::create(&target).map_err(failed)?);
                }
                if let Some(file) = &file {
                    file.write_all_at(&bytes, offset).map_err(failed)?;
                }
            }
            offset += extent.length();
        }
        if let Some(file) = file {
            file.set_len(size).map_err(failed)?;
            file.sync_all().map_err(failed)?;
            self.files += 1;
        }
        Ok(())
    }
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)
        .map_err(|error| Error::io(format!("the folder {} could not be made", folder.display()), error))
}
