//! The files of a workspace by path: for callers that have no kernel (decision 0012).
//!
//! | file | what |
//! |---|---|
//! | `request` | what is asked and answered; travels as JSON as it is |
//! | `look` `resolve` | asking the workspace until nothing is missing; a path to an inode |
//! | `read` `write` `edit` `names` | one file or directory |
//! | `walk` `ignored` `glob` `grep` | many files, by ripgrep's rules |
//!
//! Keeps true: a path never leads out of the workspace, because nothing here opens a path of the host; whatever was
//! changed is named in [`Done::changed`], also if the request failed half-way; every walk, answer and wait has a limit.
//!
//! Must not know: mounts, HTTP. All of it blocks, so it runs on threads of its own.

mod edit;
mod glob;
mod grep;
mod ignored;
mod look;
mod names;
mod read;
pub mod request;
mod resolve;
#[cfg(test)]
mod tests;
mod uploads;
mod walk;
mod write;

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

pub use glob::check_glob;
pub use request::{Answer, Request};

use crate::error::{Error, Kind, Result};
use crate::limits::SEARCHES_MAX;
use crate::workspace::{Invalidation, Workspace};
use look::Look;
use uploads::Uploads;

/// The files of one workspace.
pub struct Files {
    workspace: Arc<Workspace>,
    uploads: Uploads,
    searches: Arc<Semaphore>,
}

/// What became of a request.
#[derive(Debug)]
pub struct Done {
    /// What was asked for, or why not.
    pub result: Result<Answer>,
    /// What a kernel that shows the workspace must forget before the answer is given.
    pub changed: Vec<Invalidation>,
}

impl Files {
    /// The files of `workspace`.
    pub fn new(workspace: Arc<Workspace>) -> Arc<Files> {
        Arc::new(Files { workspace, uploads: Uploads::default(), searches: Arc::new(Semaphore::new(SEARCHES_MAX)) })
    }

    /// Does what is asked. Acknowledged means written to the journal, not yet that it is on disk.
    pub async fn run(self: &Arc<Self>, request: Request) -> Done {
        // Held by the search itself, which goes on when its caller hangs up.
        let permit = match &request {
            Request::Glob(_) | Request::Grep(_) => self.searches.clone().acquire_owned().await.ok(),
            _ => None,
        };
        let (files, runtime) = (self.clone(), Handle::current());
        let work = move || {
            let _permit = permit;
            let look = Look::new(files.workspace.clone(), runtime);
            let mut changed = Vec::new();
            let result = files.answer(&look, request, &mut changed);
            Done { result, changed }
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Done {
            result: Err(Error::new(Kind::Internal, "a file operation broke off").because(error)),
            // What it may have changed is not known.
            changed: vec![Invalidation::AllNames],
        })
    }

    fn answer(&self, look: &Look, request: Request, changed: &mut Vec<Invalidation>) -> Result<Answer> {
        Ok(match request {
            Request::Stat { path } => Answer::Stat(read::stat(look, &path)?),
            Request::List { path, after, limit } => Answer::Listing(read::list(look, &path, after.as_ref(), limit)?),
            Request::Read { path, offset, length } => Answer::Piece(read::read(look, &path, offset, length)?),
            Request::Upload { upload, offset, content } => {
                self.uploads.add(upload, offset, &content)?;
                Answer::Done
            }
            Request::Write(request) => Answer::Written(write::write(look, &self.uploads, request, changed)?),
            Request::Edit(request) => Answer::Edited(edit::edit(look, &request, changed)?),
            Request::MakeDirectory { path, parents } => {
                names::make_directory(look, &path, parents, changed)?;
                Answer::Done
            }
            Request::Remove { path, recursive } => {
                names::remove(look, &path, recursive, changed)?;
                Answer::Done
            }
            Request::Rename { from, to } => {
                names::rename(look, &from, &to, changed)?;
                Answer::Done
            }
            Request::Glob(request) => Answer::Globbed(glob::glob(look, &request)?),
            Request::Grep(request) => Answer::Grepped(grep::grep(look, &request)?),
        })
    }
}
