//! The thread that writes an export: does the steps of the plan, in order, below the target.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc::Receiver;

use super::plan::{Parcel, Piece, Step};
use super::{Exported, write};
use crate::error::{Error, Kind, Result};
use crate::name::Name;
use crate::object::{Body, Content, Xattrs};

/// Where it is.
pub(super) struct Writer {
    root: Arc<OwnedFd>,
    owner: bool,
    /// The directories between the target and the present one, open.
    stack: Vec<Arc<OwnedFd>>,
    path: PathBuf,
    file: Option<OwnedFd>,
    done: Exported,
}

impl Writer {
    pub(super) fn new(root: OwnedFd, owner: bool) -> Writer {
        let root = Arc::new(root);
        let (stack, path) = (vec![root.clone()], PathBuf::new());
        Writer { root, owner, stack, path, file: None, done: Exported::default() }
    }

    /// Does all steps of all parcels; reports after each parcel, until nobody listens. Returns the target.
    pub(super) fn run(
        mut self,
        mut parcels: Receiver<Parcel>,
        report: impl Fn(Exported) -> bool,
    ) -> Result<Arc<OwnedFd>> {
        while let Some(parcel) = parcels.blocking_recv() {
            parcel.steps.into_iter().try_for_each(|step| self.step(step))?;
            if !report(std::mem::take(&mut self.done)) {
                break;
            }
        }
        Ok(self.root)
    }

    fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Enter(name) => {
                let directory = write::make_directory(self.here()?, &name)?;
                self.path.push(OsStr::from_bytes(name.as_bytes()));
                self.stack.push(Arc::new(directory));
                self.done.names += 1;
            }
            Step::Leave { node, xattrs } => {
                let xattrs = attributes(&xattrs)?;
                let warnings = write::finish_directory(self.here()?, &node, &xattrs, self.owner)?;
                let path = self.path.clone();
                self.warn(path, warnings);
                self.stack.pop();
                self.path.pop();
            }
            Step::Open(name) => self.file = Some(write::make_file(self.here()?, &name)?),
            Step::Write(offset, piece) => {
                write::write_at(self.file.as_ref().ok_or_else(out_of_order)?, offset, piece.bytes()?)?;
            }
            Step::Close { name, node, xattrs } => {
                let file = self.file.take().ok_or_else(out_of_order)?;
                if matches!(node.body, Body::File(Content::Blob { .. })) {
                    // A hole at the end is not written.
                    write::set_length(&file, node.size())?;
                }
                let xattrs = attributes(&xattrs)?;
                let warnings = write::finish_file(&file, self.here()?, &name, &node, &xattrs, self.owner)?;
                self.named(&name, node.size(), warnings);
            }
            Step::Symlink { name, node, target, xattrs } => {
                let xattrs = attributes(&xattrs)?;
                let warnings = write::make_symlink(self.here()?, &name, &target, &node, &xattrs, self.owner)?;
                self.named(&name, 0, warnings);
            }
            Step::Special { name, node, xattrs } => {
                let xattrs = attributes(&xattrs)?;
                let warnings = write::make_special(self.here()?, &name, &node, &xattrs, self.owner)?;
                self.named(&name, 0, warnings);
            }
            Step::Link { first, name } => {
                write::link(&self.root, &first, self.here()?, &name)?;
                self.done.names += 1;
            }
            Step::Skip(path, why) => {
                self.done.names += 1;
                self.warn(path, vec![why.to_owned()]);
            }
        }
        Ok(())
    }

    /// The directory that is being filled.
    fn here(&self) -> Result<&OwnedFd> {
        self.stack.last().map(|directory| &**directory).ok_or_else(out_of_order)
    }

    /// One more name is done.
    fn named(&mut self, name: &Name, bytes: u64, warnings: Vec<String>) {
        self.done.names += 1;
        self.done.bytes += bytes;
        if !warnings.is_empty() {
            self.warn(self.path.join(OsStr::from_bytes(name.as_bytes())), warnings);
        }
    }

    fn warn(&mut self, path: PathBuf, warnings: Vec<String>) {
        self.done.skipped.extend(warnings.into_iter().map(|why| (path.clone(), why)));
    }
}

fn attributes(piece: &Piece) -> Result<Xattrs> {
    let bytes = piece.bytes()?;
    if bytes.is_empty() { Ok(Xattrs::default()) } else { Xattrs::decode(bytes) }
}

fn out_of_order() -> Error {
    Error::new(Kind::Internal, "the steps of an export came out of order")
}
