//! `esker stats`.

use api::wire::stats::{Logical, Stats};

use crate::context::Context;
use crate::exit::Outcome;
use crate::print;

/// Says how much there is and what it takes.
pub(crate) async fn run(context: &Context) -> Outcome {
    let stats = context.client().await?.stats().await?;
    context.printer.result(&stats, || text(&stats))
}

fn text(stats: &Stats) -> String {
    let mut rows = vec![("heads", logical(&stats.heads))];
    if let Some(kept) = &stats.kept {
        rows.push(("kept", logical(kept)));
    }
    rows.push(("unique", format!("{} in {}", print::size(stats.unique_bytes), objects(stats))));
    rows.push(("stored", format!("{} in {} packs", print::size(stats.pack_bytes), print::count(stats.packs))));
    if let (Some(dedup), Some(compression)) = (stats.dedup_ratio, stats.compression_ratio) {
        rows.push(("ratios", format!("dedup {dedup:.2}, compression {compression:.2}")));
    }
    let requests = &stats.requests;
    rows.push((
        "bucket",
        format!(
            "{} reads ({}), {} writes ({}), {} lists, {} deletes, {} retries",
            print::count(requests.get + requests.range),
            print::size(requests.bytes_in),
            print::count(requests.create + requests.part),
            print::size(requests.bytes_out),
            print::count(requests.list),
            print::count(requests.delete),
            print::count(requests.retries),
        ),
    ));
    let memory = &stats.memory_cache;
    rows.push(("memory", cache(memory.hits, memory.misses, memory.bytes, memory.limit_bytes)));
    if let Some(disk) = &stats.disk_cache {
        let stopped = if disk.stopped { "; stopped: the disk is full or the folder gone" } else { "" };
        rows.push(("disk", cache(disk.hits, disk.misses, disk.bytes, disk.limit_bytes) + stopped));
    }
    rows.push(("gc", last_gc(stats)));
    let rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    print::table(&rows)
}

fn logical(logical: &Logical) -> String {
    let (bytes, entries) = (print::size(logical.bytes), print::count(logical.entries));
    format!("{bytes}, {entries} names in {} snapshots", print::count(logical.snapshots))
}

fn objects(stats: &Stats) -> String {
    let kinds: Vec<String> =
        stats.objects.iter().map(|kind| format!("{} {}s", print::count(kind.objects), kind.kind)).collect();
    if kinds.is_empty() { "no objects".to_owned() } else { kinds.join(", ") }
}

fn cache(hits: u64, misses: u64, bytes: u64, limit_bytes: u64) -> String {
    let (bytes, limit) = (print::size(bytes), print::size(limit_bytes));
    format!("{} hits, {} misses, {bytes} of {limit}", print::count(hits), print::count(misses))
}

fn last_gc(stats: &Stats) -> String {
    match &stats.last_gc {
        None => "never ran".to_owned(),
        Some(last) => format!(
            "{}: freed {}, {} condemned, {} waiting",
            print::moment(vfs_core::clock::Time::from(last.time)),
            print::size(last.report.deletable_bytes),
            print::count(last.report.condemned_packs),
            print::count(last.report.waiting_packs),
        ),
    }
}
