//! The packs of a batch that are being written: one of contents, one of trees, and what of them is to be uploaded next.
//!
//! Knows nothing of the bucket. Nothing is encrypted twice for one place of a pack: a load is pushed once, and a pack that
//! failed in the middle is never used again.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::super::Store;
use super::load::Load;
use crate::error::{Error, Kind, Result};
use crate::id::PackId;
use crate::limits::{PACK_OBJECTS_TARGET, PACK_TARGET, UPLOAD_PART};
use crate::pack::{Pack, PackClass, PackWriter};

/// What is to be done in the bucket, in this order.
pub(super) enum Step {
    /// Send this part of an open pack.
    Part(PackId, Bytes),
    /// Nothing more comes for a pack: send the rest and register it.
    Finish(Pack, Bytes),
}

pub(super) struct OpenPacks {
    store: Store,
    contents: Option<PackWriter>,
    trees: Option<PackWriter>,
    pub(super) steps: VecDeque<Step>,
    /// The load that was pushed last, until its batch has noted that.
    pub(super) packed: Option<Arc<Load>>,
    /// Packs that were begun and that the batch has not pinned yet.
    pub(super) begun: Vec<PackId>,
    broken: bool,
}

impl OpenPacks {
    pub(super) fn new(store: Store) -> OpenPacks {
        let (steps, begun) = (VecDeque::new(), Vec::new());
        OpenPacks { store, contents: None, trees: None, steps, packed: None, begun, broken: false }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(super) fn break_up(&mut self) {
        self.broken = true;
    }

    /// `Unavailable` if something was lost.
    pub(super) fn check_whole(&self) -> Result<()> {
        match self.broken {
            false => Ok(()),
            true => Err(Error::new(Kind::Unavailable, "an upload to the bucket failed halfway: begin again")),
        }
    }

    /// Puts a load into the open packs. Takes a while. A load that was pushed already is not pushed again.
    pub(super) fn push(&mut self, load: &Arc<Load>) -> Result<()> {
        self.check_whole()?;
        if self.packed.as_ref().is_some_and(|packed| Arc::ptr_eq(packed, load)) {
            return Ok(());
        }
        // The first thing that can fail, before anything has changed: chance has run out.
        for class in [PackClass::Contents, PackClass::Trees] {
            if load.objects.iter().any(|(id, _)| PackClass::of(id.kind) == class) {
                self.open(class)?;
            }
        }
        self.broken = true;
        self.push_all(load)?;
        self.broken = false;
        self.packed = Some(load.clone());
        Ok(())
    }

    fn push_all(&mut self, load: &Load) -> Result<()> {
        for (id, stored) in &load.objects {
            let class = PackClass::of(id.kind);
            let writer = self.open(class)?;
            writer.push(*id, stored)?;
            let (pack, mut parts) = (writer.id(), Vec::new());
            while writer.waiting() >= UPLOAD_PART {
                parts.push(Step::Part(pack, writer.take(UPLOAD_PART)));
            }
            let full = writer.size() >= PACK_TARGET || writer.objects() >= PACK_OBJECTS_TARGET;
            self.steps.extend(parts);
            if full {
                self.end(class)?;
            }
        }
        Ok(())
    }

    fn open(&mut self, class: PackClass) -> Result<&mut PackWriter> {
        let store = &self.store;
        let slot = match class {
            PackClass::Contents => &mut self.contents,
            PackClass::Trees | PackClass::Bundle => &mut self.trees,
        };
        if slot.is_none() {
            let writer = store.new_pack(class)?;
            self.begun.push(writer.id());
            *slot = Some(writer);
        }
        Ok(slot.as_mut().expect("because it was opened"))
    }

    /// Ends the open pack of a class. Contents go first: no tree may be in the index before what it names.
    pub(super) fn close(&mut self, class: PackClass) -> Result<()> {
        self.check_whole()?;
        self.broken = true;
        self.end(class)?;
        self.broken = false;
        Ok(())
    }

    fn end(&mut self, class: PackClass) -> Result<()> {
        if class == PackClass::Trees {
            self.end(PackClass::Contents)?;
        }
        let slot = if class == PackClass::Contents { &mut self.contents } else { &mut self.trees };
        if let Some(writer) = slot.take_if(|writer| !writer.is_empty()) {
            let (pack, rest) = writer.finish()?;
            self.steps.push_back(Step::Finish(pack, rest));
        }
        Ok(())
    }
}
