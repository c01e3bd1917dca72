//! Repacking: what lives in packs that are mostly garbage is copied to new packs.
//!
//! Copies go to the bucket first. One transaction, in which the roots are those that the marks were made from, then adds
//! the new pack, points the living objects at it, drops the others from the index and marks the old packs *emptied*:
//! a publish that counted on one of these fails with `Conflict` and begins again. A crash before leaves an orphan, one
//! after it leaves emptied packs, which go like condemned ones; until then, whoever has located an object in one reads
//! it there.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::marks::{Live, Marks, Part, each_object};
use crate::db::{Location, PackRow, Transaction, copies, counters};
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectId, PackId};
use crate::limits::{
    COPIES_PERCENT, GARBAGE_PERCENT, GC_READ_BYTES, PACK_OBJECTS_TARGET, PACK_TARGET, REPACK_BYTES_MAX,
    REPACK_OBJECTS_MAX, UPLOAD_PART,
};
use crate::pack::{Pack, PackClass, PackWriter, Stored};
use crate::progress::{OnProgress, Progress};
use crate::store::{Pinned, Store};

/// A pack to copy from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) id: PackId,
    class: PackClass,
    pub(super) size: u64,
    objects: u64,
    pub(super) live: Part,
}

impl Source {
    fn garbage(&self) -> u64 {
        self.size.saturating_sub(self.live.bytes)
    }
}

/// Packs whose living objects go to one new pack.
pub(super) struct Group {
    class: PackClass,
    pub(super) sources: Vec<Source>,
    /// What the index says is in them: what lives …
    living: Vec<Location>,
    /// … and what does not.
    rest: Vec<(PackId, ObjectId)>,
}

/// Chooses packs of which less than `below_percent` is alive, and others while all garbage together is more than
/// [`GARBAGE_PERCENT`] of what lives; those with the largest share of garbage first, as many as one run may copy. Packs
/// without anything alive are not among them: they are condemned.
///
/// A bucket holds what was copied twice until the emptied packs have waited for the end of their grace period. So those
/// others are copied only as long as the copies, with the packs that wait already, are at most [`COPIES_PERCENT`] of what
/// lives; one pack may be more, if none waits.
pub(super) fn choose(rows: &[PackRow], pinned: &HashSet<PackId>, live: &Live, below_percent: u8) -> Vec<Source> {
    let waiting: u64 = rows.iter().filter(|row| row.emptied).map(|row| row.size).sum();
    let mut sources: Vec<Source> = rows
        .iter()
        .filter(|row| !row.emptied && !pinned.contains(&row.id))
        .map(|row| Source { id: row.id, class: row.class, size: row.size, objects: row.objects, live: live.of(row.id) })
        .filter(|source| source.live.objects > 0)
        .filter(|source| source.live.objects < source.objects)
        .collect();
    sources.sort_by(|a, b| {
        let (left, right) =
            (u128::from(a.live.bytes) * u128::from(b.size), u128::from(b.live.bytes) * u128::from(a.size));
        left.cmp(&right).then(a.id.cmp(&b.id))
    });
    let is_below =
        |source: &Source| u128::from(source.live.bytes) * 100 < u128::from(source.size) * u128::from(below_percent);
    let mut garbage: u64 = sources.iter().map(Source::garbage).sum();
    let tolerated = live.living.bytes / 100 * GARBAGE_PERCENT;
    let (room, mut copies) = (live.living.bytes / 100 * COPIES_PERCENT, waiting);
    sources.retain(|source| {
        let fits = copies == 0 || copies + source.live.bytes <= room;
        let wanted = is_below(source) || (garbage > tolerated && fits);
        if wanted {
            garbage -= source.garbage();
            copies += source.live.bytes;
        }
        wanted
    });
    let (mut bytes, mut objects) = (0, 0);
    let mut fits = |source: &Source| {
        bytes += source.live.bytes;
        objects += source.objects;
        bytes <= REPACK_BYTES_MAX && objects <= REPACK_OBJECTS_MAX
    };
    let many = sources.iter().take_while(|source| fits(source)).count();
    sources.truncate(many);
    sources
}

/// Puts packs together whose living objects fit into one, and finds what is in them with one walk through the index.
pub(super) async fn groups(
    store: &Store,
    sources: Vec<Source>,
    marks: &Marks,
    pack_target: Option<u64>,
    progress: &OnProgress,
) -> Result<VecDeque<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    let mut place: HashMap<PackId, usize> = HashMap::new();
    let target = pack_target.unwrap_or(PACK_TARGET);
    let mut open: BTreeMap<PackClass, (usize, Part)> = BTreeMap::new();
    for source in sources {
        let (index, full) = match open.get(&source.class) {
            Some((index, full))
                if full.bytes + source.live.bytes <= target
                    && full.objects + source.live.objects <= PACK_OBJECTS_TARGET as u64 =>
            {
                (*index, *full)
            }
            _ => {
                let empty = Group { class: source.class, sources: Vec::new(), living: Vec::new(), rest: Vec::new() };
                groups.push(empty);
                (groups.len() - 1, Part::default())
            }
        };
        let (objects, bytes) = (full.objects + source.live.objects, full.bytes + source.live.bytes);
        open.insert(source.class, (index, Part { objects, bytes }));
        place.insert(source.id, index);
        groups[index].sources.push(source);
    }
    if groups.is_empty() {
        return Ok(VecDeque::new());
    }
    each_object(store, progress, |location| {
        let Some(&index) = place.get(&location.pack) else { return };
        match marks.contains(&location.entry.id) {
            true => groups[index].living.push(*location),
            false => groups[index].rest.push((location.pack, location.entry.id)),
        }
    })
    .await?;
    for group in &mut groups {
        // As they lay: neighbours stay neighbours, and are read in one request.
        group.living.sort_unstable_by_key(|location| (location.pack, location.entry.offset));
    }
    Ok(groups.into())
}

/// A new pack in the bucket that the index does not know yet.
pub(super) struct Copy {
    pack: Pack,
    /// While it lives, no gc of this engine takes the pack for an orphan.
    _pinned: Pinned,
}

impl Copy {
    pub(super) fn bytes(&self) -> u64 {
        self.pack.size
    }
}

/// Copies what lives into a new pack and makes that durable. `None` if there is nothing to copy any more.
pub(super) async fn copy(store: &Store, group: &Group, progress: &OnProgress) -> Result<Option<Copy>> {
    if group.living.is_empty() {
        return Ok(None);
    }
    let mut writer = store.new_pack(group.class)?;
    let mut pinned = store.pins().none();
    pinned.add(writer.id());
    let name = store.pack_name(writer.id());
    let mut upload = None;
    let mut rest = &group.living[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(fitting(rest));
        let mut read = Vec::with_capacity(now.len());
        for (location, bytes) in now.iter().zip(store.fetch(now).await) {
            read.push((location.entry.id, bytes?));
        }
        writer = push(writer, read).await?;
        while writer.waiting() >= UPLOAD_PART {
            let upload = upload.get_or_insert_with(|| store.bucket().upload(&name));
            upload.put_part(writer.take(UPLOAD_PART)).await?;
        }
        rest = later;
        let (done, total) = ((group.living.len() - rest.len()) as u64, Some(group.living.len() as u64));
        progress(Progress { what: "copied objects", done, total });
    }
    let (pack, bytes) = writer.finish()?;
    match upload {
        Some(mut upload) => {
            for start in (0..bytes.len()).step_by(UPLOAD_PART) {
                upload.put_part(bytes.slice(start..bytes.len().min(start + UPLOAD_PART))).await?;
            }
            upload.finish().await?;
        }
        None => {
            store.bucket().create_named_by_content(&name, bytes).await?;
        }
    }
    Ok(Some(Copy { pack, _pinned: pinned }))
}

/// How many of these are read at once: one at least.
fn fitting(locations: &[Location]) -> usize {
    let mut bytes = 0;
    let fits = |location: &&Location| {
        let first = bytes == 0;
        bytes += u64::from(location.entry.plain_length);
        first || bytes <= GC_READ_BYTES
    };
    locations.iter().take_while(fits).count()
}

/// Compresses and encrypts off the async threads.
async fn push(mut writer: PackWriter, objects: Vec<(ObjectId, bytes::Bytes)>) -> Result<PackWriter> {
    let panicked = |error| Error::new(Kind::Internal, "packing objects panicked").because(error);
    let work = move || {
        for (id, bytes) in objects {
            writer.push(id, &Stored::new(&bytes)?)?;
        }
        Ok(writer)
    };
    tokio::task::spawn_blocking(work).await.map_err(panicked)?
}

/// Moves the living objects, in a transaction that has proved the marks to be current. False, and nothing is changed,
/// if the old packs are not as they were.
pub(super) async fn commit(
    store: &Store,
    mut transaction: Transaction,
    group: &Group,
    copy: &Copy,
    marks: &Marks,
) -> Result<bool> {
    let (tenant, now) = (store.tenant_number(), store.now());
    let pinned = store.pins().all();
    let counted_on = group.sources.iter().any(|source| pinned.contains(&source.id));
    // What a publish has made reachable since, we have not copied.
    if counted_on || group.rest.iter().any(|(_, id)| marks.contains(id)) {
        return Ok(false);
    }
    for source in &group.sources {
        if !copies::empty(&mut transaction, source.id, now).await? {
            return Ok(false);
        }
    }
    let from: HashMap<ObjectId, PackId> =
        group.living.iter().map(|location| (location.entry.id, location.pack)).collect();
    match copies::register(&mut transaction, tenant, &copy.pack, &from, now).await {
        Ok(moved) if moved == from.len() as u64 => {}
        Ok(_) => return Ok(false),
        // Another gc took the new pack for an orphan, or the same copy was made twice.
        Err(error) if matches!(error.kind(), Kind::Conflict | Kind::AlreadyExists) => return Ok(false),
        Err(error) => return Err(error),
    }
    let mut rest: HashMap<PackId, Vec<ObjectId>> = HashMap::new();
    for (pack, id) in &group.rest {
        rest.entry(*pack).or_default().push(*id);
    }
    for (pack, ids) in rest {
        copies::drop_objects(&mut transaction, tenant, pack, &ids).await?;
    }
    counters::take(&mut transaction, counters::MOVES, 0, 1).await?;
    store.database().commit(transaction).await?;
    Ok(true)
}
