//! P8: each of the twelve kinds of fault at each call site of the bucket, the first time, the n-th time, and in a burst.
//! Nothing that was acknowledged is lost, errors are of a kind that says what to do, and without faults all works again.

use std::collections::BTreeMap;

use vfs_core::Kind;
use vfs_core::progress::silent;
use vfs_core::repo::CheckOptions;
use vfs_core::testing::{Fault, Operation, Rule, Site, When};

use crate::crash::{Setting, Step, act, prepare};
use crate::verify;
use crate::world::World;
use crate::worlds::{block_on, seeds};

const STEPS: [Step; 9] = [
    Step::Write,
    Step::WriteHeld,
    Step::Collect,
    Step::Reuse,
    Step::Fork,
    Step::Restore,
    Step::Delete,
    Step::Collect,
    Step::Write,
];

const WHENS: [(&str, When); 3] =
    [("first", When::Nth(0)), ("n-th", When::Nth(2)), ("burst", When::Burst { from: 0, count: 4 })];

/// Kinds that a fault may turn an operation into.
fn is_fine(kind: Kind) -> bool {
    use Kind::{
        AlreadyExists, Busy, Conflict, Corrupt, Denied, LeaseLost, NoSpace, NotFound, Unavailable, Unsupported,
    };
    matches!(
        kind,
        AlreadyExists | Busy | Conflict | Corrupt | Denied | LeaseLost | NoSpace | NotFound | Unavailable | Unsupported
    )
}

/// Everything once, from opening to check, with this rule; returns the calls there were and how often it hit.
async fn once(rule: Option<Rule>) -> (Vec<Site>, u64) {
    let world = World::new(5).await;
    // The first engine of a repo writes its config: that is a call site too.
    let is_first = rule.is_some_and(|rule| matches!(rule.object, Some("config" | "probe")));
    if is_first {
        world.faults.set(rule);
        for _ in 0..6 {
            match world.engine().await {
                Ok(_) => break,
                Err(error) => assert!(is_fine(error.kind()), "opening: {:?} {}", error.kind(), error.chain()),
            }
        }
        world.faults.set([]);
    }
    let setting = prepare(&world).await;
    world.faults.set(rule);
    steps(&world, &setting).await;
    world.faults.set([]);
    let repo = world.engine().await.unwrap();
    world.clock.advance(vfs_core::limits::LEASE_TTL);
    verify::all(&repo, &world.model).await;
    for (number, step) in STEPS.into_iter().enumerate() {
        if step != Step::Delete {
            act(&repo, &setting, step, 50 + number as u64).await.unwrap();
        }
    }
    verify::garbage_goes(&world, &repo).await;
    verify::all(&repo, &world.model).await;
    (world.faults.sites().into_iter().collect(), world.faults.count())
}

async fn steps(world: &World, setting: &Setting) {
    let mut repo = None;
    for _ in 0..10 {
        match world.engine().await {
            Ok(opened) => {
                repo = Some(opened);
                break;
            }
            Err(error) => assert!(is_fine(error.kind()), "opening: {:?} {}", error.kind(), error.chain()),
        }
    }
    // It may never open, if the fault never ends.
    let Some(repo) = repo else { return };
    for (number, step) in STEPS.into_iter().enumerate() {
        if let Err(error) = act(&repo, setting, step, number as u64).await {
            assert!(is_fine(error.kind()), "{step:?}: {:?} {}", error.kind(), error.chain());
            assert!(!error.context().is_empty());
        }
        world.clock.advance(vfs_core::limits::LEASE_TTL);
    }
    if let Err(error) = repo.check(CheckOptions { full: true }, &silent).await {
        assert!(is_fine(error.kind()), "check: {:?} {}", error.kind(), error.chain());
    }
}

/// Runs rules on their own, prints the table, and returns the cells that stayed at zero.
fn table(rules: impl IntoIterator<Item = (Fault, Site, usize)>) -> Vec<String> {
    let mut table: BTreeMap<(Site, Fault), [u64; 3]> = BTreeMap::new();
    for (fault, site, when) in rules {
        let rule = Rule::at(fault, site, WHENS[when].1);
        let run = std::panic::AssertUnwindSafe(|| block_on(once(Some(rule))));
        let (_, hits) = std::panic::catch_unwind(run).unwrap_or_else(|cause| {
            eprintln!("the rule was {rule:?}");
            std::panic::resume_unwind(cause);
        });
        table.entry((site, fault)).or_default()[when] += hits;
    }
    println!("{:<18}{:<14}{:>7}{:>7}{:>7}", "call site", "fault", "first", "n-th", "burst");
    let mut zero = Vec::new();
    for ((site, fault), hits) in table {
        println!("{:<18}{:<14}{:>7}{:>7}{:>7}", site.to_string(), format!("{fault:?}"), hits[0], hits[1], hits[2]);
        // A site that is called less than three times has no n-th call.
        if hits[0] == 0 && hits[2] == 0 {
            zero.push(format!("{fault:?} at {site}"));
        }
    }
    zero
}

fn all_rules() -> Vec<(Fault, Site, usize)> {
    let (sites, _) = block_on(once(None));
    let mut rules = Vec::new();
    for site in sites {
        for fault in Fault::ALL.into_iter().filter(|fault| fault.fits(site.operation)) {
            rules.extend((0..WHENS.len()).map(|when| (fault, site, when)));
        }
    }
    rules
}

#[test]
fn each_fault_at_some_call_site_loses_nothing() {
    let rules = all_rules();
    let picked = seeds(1).into_iter().flat_map(|seed| {
        // Each kind once, at another place for each seed.
        Fault::ALL.into_iter().map(move |fault| (seed, fault))
    });
    let picked: Vec<_> = picked
        .map(|(seed, fault)| {
            let of: Vec<_> = rules.iter().filter(|rule| rule.0 == fault && rule.2 != 1).collect();
            *of[(seed as usize * 7 + fault as usize) % of.len()]
        })
        .collect();
    assert_eq!(table(picked), Vec::<String>::new(), "these never happened");
}

#[test]
#[ignore = "takes minutes"]
fn each_fault_at_each_call_site_loses_nothing() {
    assert_eq!(table(all_rules()), Vec::<String>::new(), "these never happened");
}

#[test]
fn every_call_site_of_the_bucket_is_known() {
    let (sites, _) = block_on(once(None));
    let has = |operation, object| sites.contains(&Site { operation, object });
    assert!(has(Operation::Put, "ref log") && has(Operation::List, "pack") && has(Operation::Delete, "pack"));
    assert!(has(Operation::Range, "pack") && has(Operation::Put, "config") && has(Operation::Get, "config"));
    assert!(!sites.iter().any(|site| site.object == "other"), "name this kind of object in Site: {sites:?}");
}
