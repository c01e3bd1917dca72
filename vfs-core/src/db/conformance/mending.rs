//! What check and repair ask of the database, and how they put rows right.

use super::*;
use crate::id::{ObjectId, ObjectKind, PackId};
use crate::pack::{Pack, PackClass, PackEntry};

fn entry(number: u8, offset: u64) -> PackEntry {
    let id = ObjectId { kind: ObjectKind::Chunk, hash: [number; 32] };
    PackEntry { id, compressed: true, sealed: false, offset, stored_length: 10, plain_length: 20 }
}

async fn two_packs(place: &Place, tenant: i64) -> [Pack; 2] {
    let pack = |number: u8, entries| Pack {
        id: PackId::from_bytes([number; 32]),
        class: PackClass::Contents,
        size: 100,
        entries,
    };
    let packs = [pack(1, vec![entry(1, 0), entry(2, 10)]), pack(2, vec![entry(3, 0)])];
    let mut transaction = place.database.begin().await.unwrap();
    for pack in &packs {
        super::super::packs::register(&mut transaction, tenant, pack, at(5)).await.unwrap();
    }
    place.database.commit(transaction).await.unwrap();
    packs
}

async fn entries(connection: &mut Connection, tenant: i64, pack: PackId) -> Vec<PackEntry> {
    let rows = repairs::rows_of(connection, tenant, pack).await.unwrap();
    let count = repairs::row_counts(connection, tenant).await.unwrap().get(&pack).copied().unwrap_or(0);
    // Whether what it likely has is all of it, more than that, or only a part.
    let all: Vec<ObjectId> = rows.iter().filter_map(IndexRow::id).collect();
    for likely in [&all[..], &[&all[..], &[entry(99, 0).id]].concat(), &all[..all.len() / 2], &[]] {
        let same = repairs::likely_rows_of(connection, tenant, pack, likely, count).await.unwrap();
        assert_eq!(same, rows);
    }
    rows.into_iter().map(|row| row.entry.unwrap()).collect()
}

pub(super) async fn an_index_row_is_put_and_dropped(place: &Place) {
    let tenant = one_workspace(place).await;
    let [one, two] = two_packs(place, tenant).await;
    let mut transaction = place.database.begin().await.unwrap();
    // Once where there is none, once over the one that is there.
    for offset in [30, 40] {
        repairs::put_row(&mut transaction, tenant, two.id, &entry(4, offset)).await.unwrap();
        assert_eq!(entries(&mut transaction, tenant, two.id).await, [entry(3, 0), entry(4, offset)]);
    }
    repairs::put_row(&mut transaction, tenant, two.id, &entry(2, 50)).await.unwrap();
    assert_eq!(entries(&mut transaction, tenant, one.id).await, [entry(1, 0)]);
    assert_eq!(entries(&mut transaction, tenant, two.id).await, [entry(3, 0), entry(4, 40), entry(2, 50)]);
    assert_eq!(entries(&mut transaction, tenant + 1, two.id).await, []);
    repairs::put_row(&mut transaction, tenant, PackId::from_bytes([9; 32]), &entry(5, 0)).await.unwrap();
    let ids: Vec<ObjectId> = (1..=5).map(|number| entry(number, 0).id).collect();
    let found = repairs::packs_of(&mut transaction, tenant, &ids).await.unwrap();
    assert_eq!(found.len(), 4, "nothing is put into a pack that is not there");
    assert_eq!((found[&ids[0]], found[&ids[1]]), (one.id, two.id));
    let row = repairs::rows_of(&mut transaction, tenant, two.id).await.unwrap().remove(0);
    repairs::drop_row(&mut transaction, Some(one.id), &row).await.unwrap();
    assert_eq!(entries(&mut transaction, tenant, two.id).await.len(), 3, "it is not that pack's");
    repairs::drop_row(&mut transaction, Some(two.id), &row).await.unwrap();
    assert_eq!(entries(&mut transaction, tenant, two.id).await, [entry(4, 40), entry(2, 50)]);
}

pub(super) async fn rows_without_a_pack_are_strangers(place: &Place) {
    let tenant = one_workspace(place).await;
    let [one, _] = two_packs(place, tenant).await;
    place.vandal("UPDATE objects SET pack = 77 WHERE \"offset\" = 10").await;
    let mut transaction = place.database.begin().await.unwrap();
    let strangers = repairs::strangers(&mut transaction, tenant).await.unwrap();
    assert_eq!(strangers.iter().map(|row| row.entry.unwrap()).collect::<Vec<_>>(), [entry(2, 10)]);
    repairs::drop_row(&mut transaction, None, &strangers[0]).await.unwrap();
    assert_eq!(repairs::strangers(&mut transaction, tenant).await.unwrap().len(), 0);
    repairs::drop_rows_of_others(&mut transaction).await.unwrap();
    assert_eq!(entries(&mut transaction, tenant, one.id).await, [entry(1, 0)]);
}

pub(super) async fn rows_of_packs_are_put_right(place: &Place) {
    let tenant = one_workspace(place).await;
    let [one, two] = two_packs(place, tenant).await;
    place.vandal("UPDATE packs SET class = 99 WHERE size = 100 AND objects = 1").await;
    let mut transaction = place.database.begin().await.unwrap();
    let rows = repairs::pack_rows(&mut transaction, tenant).await.unwrap();
    let sound = |id| rows.iter().find(|(row, _)| row.id == id).unwrap().1;
    assert_eq!((rows.len(), sound(one.id), sound(two.id)), (2, true, false));
    let (row, _) = *rows.iter().find(|(row, _)| row.id == two.id).unwrap();
    let right = PackRow { class: PackClass::Contents, size: 101, objects: 2, ..row };
    repairs::put_pack(&mut transaction, tenant, &right, at(9)).await.unwrap();
    let fresh = PackRow { id: PackId::from_bytes([3; 32]), ..right };
    repairs::put_pack(&mut transaction, tenant, &fresh, at(9)).await.unwrap();
    let rows = packs::all(&mut transaction, tenant).await.unwrap();
    let of = |id| *rows.iter().find(|row| row.id == id).unwrap();
    assert_eq!(of(two.id), right, "when it was made stays");
    assert_eq!(of(fresh.id), PackRow { created: at(9), ..fresh });
    let dead = PackId::from_bytes([8; 32]);
    orphans::note(&mut transaction, dead, at(3)).await.unwrap();
    assert_eq!(repairs::dead_orphans(&mut transaction).await.unwrap(), []);
    orphans::kill(&mut transaction, dead).await.unwrap();
    assert_eq!(repairs::dead_orphans(&mut transaction).await.unwrap(), [dead]);
    let late = Pack { id: dead, class: PackClass::Contents, size: 1, entries: Vec::new() };
    let refused = packs::register(&mut transaction, tenant, &late, at(9)).await;
    assert_eq!(refused.unwrap_err().kind(), crate::error::Kind::Conflict, "gc is about to delete it");
}

pub(super) async fn checked_packs_are_remembered(place: &Place) {
    let tenant = one_workspace(place).await;
    let [one, _] = two_packs(place, tenant).await;
    let gone = PackId::from_bytes([7; 32]);
    let mut transaction = place.database.begin().await.unwrap();
    checked::put(&mut transaction, one.id, at(3), true).await.unwrap();
    checked::put(&mut transaction, one.id, at(4), false).await.unwrap();
    checked::put(&mut transaction, gone, at(3), false).await.unwrap();
    checked::forget_gone(&mut transaction).await.unwrap();
    let all = checked::all(&mut transaction).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((all[&one.id].checked, all[&one.id].damaged), (at(4), false));
}
