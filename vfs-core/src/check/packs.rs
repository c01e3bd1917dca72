//! The packs themselves: that they are there, and (full check) that every byte is what it must be.

use std::collections::HashMap;

use super::{Check, is_damage};
use crate::db::{PackRow, packs};
use crate::error::Result;
use crate::gc::list_packs;
use crate::id::PackId;
use crate::pack::{read_index, unpack};
use crate::progress::Progress;

impl Check<'_> {
    /// Compares the index with the bucket's list; returns the packs that are wrong, and why.
    pub(super) async fn packs(&mut self) -> Result<HashMap<PackId, String>> {
        let rows = self.pack_rows().await?;
        let listed = list_packs(self.store).await?;
        self.report.packs = rows.len() as u64;
        let mut bad = HashMap::new();
        for row in rows {
            let why = match listed.get(&row.id) {
                None => "is missing in the bucket".to_owned(),
                Some(size) if *size != row.size => format!("has {size} bytes instead of {}", row.size),
                Some(_) => continue,
            };
            self.note(format!("the pack {} {why}", row.id));
            bad.insert(row.id, why);
        }
        Ok(bad)
    }

    async fn pack_rows(&self) -> Result<Vec<PackRow>> {
        let mut connection = self.store.database().read().await?;
        packs::all(&mut connection, self.store.tenant_number()).await
    }

    /// Reads every pack and verifies every object in it.
    pub(super) async fn read_everything(&mut self, bad_packs: &HashMap<PackId, String>) -> Result<()> {
        let rows = self.pack_rows().await?;
        for (number, row) in rows.iter().enumerate() {
            if !bad_packs.contains_key(&row.id) {
                self.read_pack(row).await?;
            }
            let (done, total) = (number as u64 + 1, Some(rows.len() as u64));
            (self.progress)(Progress { what: "packs", done, total });
        }
        Ok(())
    }

    async fn read_pack(&mut self, row: &PackRow) -> Result<()> {
        let bytes = match self.store.bucket().get(&self.store.pack_name(row.id)).await {
            Ok(bytes) => bytes,
            // gc may have deleted it since; then the index does not have it either.
            Err(error) if is_damage(error.kind()) => {
                if self.pack_rows().await?.iter().any(|still| still.id == row.id) {
                    self.note(format!("the pack {} cannot be read: {}", row.id, error.context()));
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.report.read_bytes += bytes.len() as u64;
        let indexed = {
            let mut connection = self.store.database().read().await?;
            packs::objects_of(&mut connection, row.id).await?
        };
        match read_index(self.store.keys(), row.id, &bytes) {
            Ok(index) if index.class != row.class => {
                self.note(format!("the pack {} is of another class than the index says", row.id));
            }
            // Objects that another pack holds too are indexed once.
            Ok(index) => {
                let own: HashMap<_, _> = index.entries.iter().map(|entry| (entry.id, entry)).collect();
                for entry in indexed.iter().filter(|entry| own.get(&entry.id) != Some(entry)) {
                    self.note_object(entry.id, format!("{} lies elsewhere in its pack than the index says", entry.id));
                }
            }
            Err(error) => self.note(format!("the pack {}: {}", row.id, error.context())),
        }
        let keys = self.store.keys();
        for entry in &indexed {
            let end = entry.offset.saturating_add(entry.stored_length.into());
            let unpacked = match usize::try_from(end) {
                Ok(end) if end <= bytes.len() => unpack(keys, row.id, entry, &bytes.slice(entry.offset as usize..end)),
                _ => Err(crate::Error::corrupt(format!("{} lies behind the end of its pack", entry.id))),
            };
            match unpacked {
                Ok(_) => self.report.verified_objects += 1,
                Err(error) => self.note_object(entry.id, error.context().to_owned()),
            }
        }
        Ok(())
    }
}
