//! Packs and objects.

use std::collections::BTreeSet;

use super::*;
use crate::id::{ObjectId, ObjectKind, PackId};
use crate::limits::LOOKUP_MAX;
use crate::pack::{Pack, PackClass, PackEntry};

fn object(number: u32) -> ObjectId {
    let kind = if number.is_multiple_of(2) { ObjectKind::Chunk } else { ObjectKind::Blob };
    ObjectId { kind, hash: *blake3::hash(&number.to_le_bytes()).as_bytes() }
}

fn entry(number: u32, offset: u64) -> PackEntry {
    PackEntry {
        id: object(number),
        compressed: offset % 2 == 1,
        sealed: offset % 3 == 1,
        offset,
        stored_length: number,
        plain_length: u32::MAX,
    }
}

fn pack(number: u8, objects: std::ops::Range<u32>) -> Pack {
    let entries = objects.clone().map(|object| entry(object, u64::from(object - objects.start))).collect();
    let id = PackId::from_bytes([number; 32]);
    Pack { id, class: PackClass::Contents, size: 100, entries }
}

async fn registered(place: &Place, tenant: i64, pack: &Pack) -> BTreeSet<PackId> {
    let mut transaction = place.database.begin().await.unwrap();
    let holding = packs::register(&mut transaction, tenant, pack, at(5)).await.unwrap();
    place.database.commit(transaction).await.unwrap();
    holding
}

pub(super) async fn objects_are_located(place: &Place) {
    let tenant = one_workspace(place).await;
    // More than one statement, and a rest.
    let count = 2 * LOOKUP_MAX as u32 + 7;
    let all = pack(1, 0..count);
    assert_eq!(registered(place, tenant, &all).await, BTreeSet::from([all.id]));
    let mut reader = place.database.read().await.unwrap();
    assert_eq!(packs::count_objects(&mut reader, tenant).await.unwrap(), u64::from(count));
    assert_eq!(packs::count_objects(&mut reader, tenant + 1).await.unwrap(), 0);
    for asked in [0, 1, 2, LOOKUP_MAX as u32, count] {
        let ids: Vec<ObjectId> = (0..asked).map(object).collect();
        let found = packs::locate(&mut reader, tenant, &ids).await.unwrap();
        assert_eq!(found.len(), ids.len());
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(found[id], Location { pack: all.id, entry: entry(number as u32, number as u64) });
        }
    }
    let other_kind = ObjectId { kind: ObjectKind::Tree, ..object(0) };
    assert!(packs::locate(&mut reader, tenant, &[other_kind, object(count)]).await.unwrap().is_empty());
    assert!(packs::locate(&mut reader, tenant + 1, &[object(0)]).await.unwrap().is_empty());
    let entries = packs::objects_of(&mut reader, all.id).await.unwrap();
    assert_eq!(entries, all.entries, "by offset");
}

pub(super) async fn packs_are_listed_and_removed(place: &Place) {
    let tenant = one_workspace(place).await;
    for number in 1..=3 {
        registered(place, tenant, &pack(number, u32::from(number) * 10..u32::from(number) * 10 + 5)).await;
    }
    let (one, two) = (PackId::from_bytes([1; 32]), PackId::from_bytes([2; 32]));
    let mut transaction = place.database.begin().await.unwrap();
    packs::condemn(&mut transaction, one, Some(at(9))).await.unwrap();
    packs::condemn(&mut transaction, two, Some(at(9))).await.unwrap();
    packs::condemn(&mut transaction, two, None).await.unwrap();
    let mut rows = packs::all(&mut transaction, tenant).await.unwrap();
    rows.sort_by_key(|row| row.id);
    let short: Vec<_> = rows.iter().map(|row| (row.id, row.size, row.objects, row.created, row.condemned)).collect();
    assert_eq!(short[0], (one, 100, 5, at(5), Some(at(9))));
    assert_eq!(short[1], (two, 100, 5, at(5), None));
    assert_eq!(rows[0].class, PackClass::Contents);
    packs::remove(&mut transaction, &[one, two]).await.unwrap();
    assert_eq!(packs::all(&mut transaction, tenant).await.unwrap().len(), 1);
    assert_eq!(packs::count_objects(&mut transaction, tenant).await.unwrap(), 5);
    assert_eq!(packs::objects_of(&mut transaction, one).await.unwrap(), []);
    place.database.commit(transaction).await.unwrap();
}

pub(super) async fn the_first_pack_keeps_an_object(place: &Place) {
    let tenant = one_workspace(place).await;
    let (one, two) = (pack(1, 0..10), pack(2, 5..15));
    registered(place, tenant, &one).await;
    assert_eq!(registered(place, tenant, &two).await, BTreeSet::from([one.id, two.id]));
    let mut transaction = place.database.begin().await.unwrap();
    let found = packs::locate(&mut transaction, tenant, &[object(5), object(10)]).await.unwrap();
    assert_eq!((found[&object(5)].pack, found[&object(10)].pack), (one.id, two.id));
    // Registering again revives.
    packs::condemn(&mut transaction, one.id, Some(at(9))).await.unwrap();
    packs::register(&mut transaction, tenant, &one, at(10)).await.unwrap();
    assert!(packs::all(&mut transaction, tenant).await.unwrap().iter().all(|row| row.condemned.is_none()));
}

pub(super) async fn a_pack_that_is_gone_is_not_revived(place: &Place) {
    let tenant = one_workspace(place).await;
    let one = pack(1, 0..3);
    registered(place, tenant, &one).await;
    let mut transaction = place.database.begin().await.unwrap();
    packs::condemn(&mut transaction, one.id, Some(at(9))).await.unwrap();
    packs::revive(&mut transaction, &BTreeSet::from([one.id])).await.unwrap();
    assert_eq!(packs::all(&mut transaction, tenant).await.unwrap()[0].condemned, None);
    let gone = BTreeSet::from([one.id, PackId::from_bytes([7; 32])]);
    assert_eq!(packs::revive(&mut transaction, &gone).await.unwrap_err().kind(), Kind::Conflict);
}
