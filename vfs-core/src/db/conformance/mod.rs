//! One suite for both databases: what every function of every noun does, and what transactions keep apart.
//!
//! Each check gets an empty database: SQLite in memory, SQLite in a file, PostgreSQL. Whatever behaves differently on
//! one of them is a bug, or has no place above the trait.

mod damage;
mod index;
mod logs;
mod mending;
mod nouns;
mod transactions;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use super::*;
use crate::clock::Time;
use crate::id::{SnapshotId, WorkspaceId};

/// An empty database, and how to open it once more, as another engine would.
pub(super) struct Place {
    pub(super) database: Database,
    again: Again,
    _folder: Option<tempfile::TempDir>,
}

enum Again {
    Same,
    File(PathBuf),
    Postgres(PostgresUrl),
}

impl Place {
    async fn memory() -> Place {
        Place { database: Database::in_memory().await.unwrap(), again: Again::Same, _folder: None }
    }

    async fn file() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let database = Database::open(&path).await.unwrap();
        Place { database, again: Again::File(path), _folder: Some(folder) }
    }

    async fn postgres() -> Option<Place> {
        let url: PostgresUrl = crate::testing::postgres::database()?.parse().unwrap();
        let database = Database::connect(&url).await.unwrap();
        Some(Place { database, again: Again::Postgres(url), _folder: None })
    }

    /// Another handle; the same one where there can be only one.
    pub(super) async fn another(&self) -> Database {
        match &self.again {
            Again::Same => self.database.clone(),
            Again::File(path) => Database::open(path).await.unwrap(),
            Again::Postgres(url) => Database::connect(url).await.unwrap(),
        }
    }

    /// Runs the same statement on both databases, past all checks.
    pub(super) async fn vandal(&self, sql: &str) {
        let mut transaction = self.database.begin().await.unwrap();
        transaction.vandal(sql).await.unwrap();
        self.database.commit(transaction).await.unwrap();
    }
}

type Check = (&'static str, fn(&Place) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>);

macro_rules! checks {
    ($($module:ident::$check:ident),* $(,)?) => {
        [$((stringify!($module::$check), |place| Box::pin($module::$check(place)))),*]
    };
}

const CHECKS: &[Check] = &checks![
    nouns::counters_count,
    nouns::settings_are_kept,
    nouns::tenants_have_numbers,
    nouns::orphans_are_noted_once,
    nouns::workspaces_are_found,
    nouns::a_workspace_leaves_nothing,
    nouns::refs_are_written_over,
    nouns::leases_are_replaced,
    nouns::histories_are_pages,
    nouns::histories_are_thinned,
    index::objects_are_located,
    index::packs_are_listed_and_removed,
    index::the_first_pack_keeps_an_object,
    index::a_pack_that_is_gone_is_not_revived,
    index::living_objects_move_to_another_pack,
    index::the_index_is_read_page_by_page,
    nouns::side_refs_hold_and_go,
    nouns::retention_is_of_a_workspace_or_of_all,
    nouns::a_dead_orphan_stays_dead,
    logs::documents_have_versions,
    logs::heads_are_listed_by_bytes,
    logs::strange_versions_are_found,
    logs::sessions_are_listed,
    logs::events_are_pages,
    logs::turns_are_recorded,
    logs::an_open_turn_attributes,
    damage::every_guarded_row_is_compared,
    damage::a_cut_log_is_found,
    mending::an_index_row_is_put_and_dropped,
    mending::rows_without_a_pack_are_strangers,
    mending::rows_of_packs_are_put_right,
    mending::checked_packs_are_remembered,
    transactions::a_dropped_one_did_nothing,
    transactions::a_failed_one_cannot_be_committed,
    transactions::a_reader_sees_what_is_committed,
    transactions::writers_take_turns,
    transactions::two_handles_see_each_other,
    transactions::large_values_come_back,
];

async fn run(place: impl AsyncFn() -> Option<Place>) {
    for (name, check) in CHECKS {
        let Some(place) = place().await else { return };
        println!("{name}");
        check(&place).await;
        place.database.close().await;
    }
}

#[tokio::test]
async fn sqlite_in_memory() {
    run(async || Some(Place::memory().await)).await;
}

#[tokio::test]
async fn sqlite_in_a_file() {
    run(async || Some(Place::file().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    run(Place::postgres).await;
}

pub(super) fn at(seconds: i64) -> Time {
    Time { seconds, nanos: 7 }
}

pub(super) fn workspace(number: u8) -> WorkspaceId {
    WorkspaceId::from_bytes([number; 16])
}

pub(super) fn snapshot(number: u8) -> SnapshotId {
    SnapshotId::from_bytes([number; 32])
}

/// A tenant with one workspace, its ref, a lease and a row of its history.
pub(super) async fn one_workspace(place: &Place) -> i64 {
    let mut transaction = place.database.begin().await.unwrap();
    let tenant = meta::tenant(&mut transaction, crate::id::TenantId::from_bytes([1; 16]), at(1)).await.unwrap();
    let row = WorkspaceRow { id: workspace(1), name: "w".into(), source: None, created: at(2) };
    workspaces::insert(&mut transaction, tenant, &row).await.unwrap();
    refs::put(&mut transaction, &nouns::reference(1)).await.unwrap();
    leases::put(&mut transaction, &nouns::lease(1)).await.unwrap();
    history::put(&mut transaction, workspace(1), &nouns::line(1, false)).await.unwrap();
    place.database.commit(transaction).await.unwrap();
    tenant
}
