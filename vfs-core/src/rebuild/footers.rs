//! The index from the packs' own footers, several at a time.

use futures::StreamExt;

use super::RebuildReport;
use crate::check::is_damage;
use crate::db::{PackRow, repairs};
use crate::error::{Error, Kind, Result};
use crate::gc::list_packs;
use crate::id::PackId;
use crate::limits::READS_AT_ONCE;
use crate::pack::{HEADER_LENGTH, PackEntry, PackIndex, TAIL_LENGTH, Tail, read_tail};
use crate::progress::{OnProgress, Progress};
use crate::store::Store;

/// Reads them all. A pack whose footer is damaged is left out and named; `Unsupported` if a newer Esker wrote one: without its
/// objects, a newer state would be lost, and gc would take the pack for garbage.
pub(super) async fn read(store: &Store, report: &mut RebuildReport, progress: &OnProgress) -> Result<()> {
    let mut packs: Vec<(PackId, u64)> = list_packs(store).await?.into_iter().collect();
    packs.sort_unstable();
    let total = Some(packs.len() as u64);
    let reads = packs.into_iter().map(|(id, size)| async move { (id, size, footer(store, id, size).await) });
    let mut reads = futures::stream::iter(reads).buffered(READS_AT_ONCE);
    while let Some((id, size, index)) = reads.next().await {
        match index {
            Ok(index) => add(store, id, size, index, report).await?,
            Err(error) if is_damage(error.kind()) && error.kind() != Kind::Unsupported => {
                report.unreadable_packs.push(format!("{id}: {}", error.context()));
            }
            Err(error) => return Err(error),
        }
        progress(Progress { what: "packs", done: report.packs, total });
    }
    Ok(())
}

async fn add(store: &Store, id: PackId, size: u64, index: PackIndex, report: &mut RebuildReport) -> Result<()> {
    let objects = index.entries.len() as u64;
    let row = PackRow { id, class: index.class, size, objects, created: store.now(), condemned: None, emptied: false };
    let mut transaction = store.database().begin().await?;
    repairs::put_pack(&mut transaction, store.tenant_number(), &row, store.now()).await?;
    let own = new_ones(store, &mut transaction, index.entries).await?;
    for entry in &own {
        repairs::put_row(&mut transaction, store.tenant_number(), id, entry).await?;
    }
    store.database().commit(transaction).await?;
    report.packs += 1;
    report.objects += own.len() as u64;
    Ok(())
}

/// Objects that several packs hold are indexed once.
async fn new_ones(
    store: &Store,
    connection: &mut crate::db::Connection,
    entries: Vec<PackEntry>,
) -> Result<Vec<PackEntry>> {
    let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
    let known = crate::db::packs::locate(connection, store.tenant_number(), &ids).await?;
    Ok(entries.into_iter().filter(|entry| !known.contains_key(&entry.id)).collect())
}

/// The index of a pack, from its two ends.
async fn footer(store: &Store, id: PackId, size: u64) -> Result<PackIndex> {
    let name = store.pack_name(id);
    let first = store.bucket().get_range(&name, 0..size.min(HEADER_LENGTH as u64)).await?;
    let mut length = size.min(TAIL_LENGTH);
    loop {
        let last = store.bucket().get_range(&name, size - length..size).await?;
        match read_tail(store.keys(), id, size, &first, &last)? {
            Tail::Index(index) => return Ok(index),
            Tail::Longer(needed) if needed > length && needed <= size => length = needed,
            Tail::Longer(_) => {
                return Err(Error::corrupt(format!("the footer of the pack {id} is longer than the pack")));
            }
        }
    }
}
