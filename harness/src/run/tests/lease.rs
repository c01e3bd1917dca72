//! Who may drive: one at a time, and a driver that lost its lease writes nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use vfs_core::Kind;

use super::engine::LEASE_TTL;
use super::model::{Reply, call, text, turns};
use super::{World, options};
use crate::run::{Run, Shown};

#[tokio::test]
async fn a_second_driver_of_this_machine_is_refused_at_once() {
    let world = World::new(turns(vec![])).await;
    let run = world.begin().await.unwrap();
    assert_eq!(world.resume().await.unwrap_err().kind(), Kind::Busy);
    drop(run);
    assert_eq!(world.resume().await.unwrap().epoch(), 2, "its lock was free, so the lease need not run out");
}

#[tokio::test]
async fn a_driver_elsewhere_is_waited_for_only_while_it_is_silent() {
    let world = World::new(turns(vec![])).await;
    let run = world.begin().await.unwrap();
    // Another machine: it does not see the lock.
    let mut place = world.place();
    let elsewhere = tempfile::tempdir().unwrap();
    place.folder = elsewhere.path().to_owned();
    drop(run);
    let begun = Instant::now();
    let remarks = std::sync::Mutex::new(0);
    let show = |shown: Shown<'_>| {
        if matches!(shown, Shown::Remark(_)) {
            *remarks.lock().unwrap() += 1;
        }
    };
    let run = Run::resume(&world.client, &world.engine.session_id(), &place, &show).await.unwrap();
    assert_eq!((run.epoch(), *remarks.lock().unwrap()), (2, 1));
    assert!(begun.elapsed() + Duration::from_millis(30) >= LEASE_TTL, "it did not wait");
}

#[tokio::test]
async fn an_old_lock_file_proves_nothing_about_another_epoch() {
    let world = World::new(turns(vec![])).await;
    drop(world.begin().await.unwrap());
    // Somebody elsewhere has it now: the file names the epoch before.
    world.engine.steal();
    let begun = Instant::now();
    drop(world.resume().await.unwrap());
    assert!(begun.elapsed() + Duration::from_millis(30) >= LEASE_TTL, "a living owner was taken for dead");
}

#[tokio::test]
async fn a_driver_that_loses_its_lease_stops_and_writes_nothing() {
    // In the middle of a request to the model, where nothing is appended: the renewal finds out.
    let world = World::new(Arc::new(|_, _| Reply::Blocks(vec![text("late")], "end_turn"))).await;
    let mut run = world.begin().await.unwrap();
    world.points.arm(7); // The request to the model never comes back.
    let mut tools = world.tools();
    let driving = async { run.drive(&mut tools, &world.dialect, &options(Some("x")), &|_| {}).await };
    let stealing = async {
        while world.points.reached.load(Ordering::SeqCst) < 7 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        world.engine.steal();
        world.events().len()
    };
    let (ended, before) = tokio::join!(driving, stealing);
    assert_eq!(ended.unwrap_err().kind(), Kind::LeaseLost);
    assert_eq!(world.events().len(), before);
}

#[tokio::test]
async fn a_zombie_that_wakes_up_in_a_tool_writes_nothing() {
    let world =
        World::new(turns(vec![vec![call("r", "Read", "{}"), call("w", "Write", "{}")], vec![text("end")]])).await;
    let mut place = world.place();
    place.renewal = Duration::from_secs(600); // It slept: no renewal tells it.
    let request = api::wire::session::CreateSession { workspace: "w".into(), ..Default::default() };
    let mut zombie = Run::begin(&world.client, &request, &place).await.unwrap();
    let engine = world.engine.clone();
    let steal = move |shown: Shown<'_>| {
        if let Shown::Event(event) = shown
            && event.key == "started:r"
        {
            engine.steal();
        }
    };
    let error = zombie.drive(&mut world.tools(), &world.dialect, &options(Some("x")), &steal).await.unwrap_err();
    assert_eq!(error.kind(), Kind::LeaseLost);
    assert_eq!(world.events().last().unwrap().key, "started:r");
    assert!(!world.effects.done().contains_key("w"), "what is not in the log has no effect");
    assert!(world.bodies("session.ended").is_empty());
    drop(zombie);
    assert_eq!(world.drive(&options(None)).await.unwrap().state, "done");
    assert_eq!(world.effects.done()["w"], 1);
}
