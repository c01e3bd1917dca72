//! The arithmetic, and the same questions to every program that is installed: what it keeps it gives back.

use std::fs;
use std::time::Duration;

use super::growth::percentile;
use super::input::Input;
use super::measure::{self, Cost, peak_of, ticks_of};
use super::peers::{Borg, Casync, Restic};
use super::report::Row;
use super::tool::{Place, Tool, bytes_below};
use super::{Measured, Step, turns};

#[test]
fn each_program_has_its_turn_first() {
    let first: std::collections::BTreeSet<usize> = (0..4).map(|run| turns(4, run, Step::First)[0]).collect();
    assert_eq!(first.len(), 4);
    assert_ne!(turns(4, 0, Step::First), turns(4, 0, Step::Again));
    assert!(turns(0, 3, Step::First).is_empty());
}

#[test]
fn a_program_is_measured_with_its_children() {
    let work = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done";
    let cost = measure::run(std::process::Command::new("sh").args(["-c", &format!("sh -c '{work}'; true")])).unwrap();
    assert!(cost.processor_seconds > 0.005, "the grandchild's time counts: {cost:?}");
    assert!(cost.seconds > 0.0 && cost.peak_bytes > 100_000, "{cost:?}");
    let error = measure::run(std::process::Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
    assert!(error.context().contains("why"), "{error}");
}

#[test]
fn proc_is_read_whatever_a_process_is_called() {
    assert_eq!(peak_of("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\n"), Some(2 << 20));
    assert_eq!(peak_of("Name:\tx\n"), None);
    let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 2 3 4 11 22 33 44 20 0 1 0 5 6 7";
    assert_eq!(ticks_of(stat), Some(110));
    assert_eq!(ticks_of("7 (x) S 1"), None);
    let (seconds, peak) = measure::of_process(std::process::id()).unwrap();
    assert!(seconds >= 0.0 && peak > 100_000);
}

#[test]
fn tables_show_medians_spread_and_reasons() {
    let run = |seconds| Measured {
        cost: Cost { seconds, processor_seconds: 1.0, peak_bytes: 3 << 20 },
        stored: 2 << 20,
        remark: Some("a | b".to_owned()),
    };
    let row = Row::of("restic", vec![run(3.0), run(1.0), run(2.0)], None).markdown(Some(1.0));
    assert_eq!(row, "| restic | 2.000 | 1.000 to 3.000 | 2.00 | 1.00 | 3 | 2.00 | a / b |\n");
    let row = Row::of("borg", vec![], Some("no | such\nthing".to_owned())).markdown(None);
    assert_eq!(row, "| borg | | | | | | | cannot run: no / such thing |\n");
    let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
    assert_eq!(percentile(&times, 99), 100.0);
    assert_eq!(percentile(&[], 99), 0.0);
}

/// A small source tree and a scratch folder around it.
fn world() -> (tempfile::TempDir, Input) {
    let scratch = tempfile::tempdir().unwrap();
    let from = scratch.path().join("from");
    fs::create_dir_all(from.join("below")).unwrap();
    for number in 0..150 {
        fs::write(from.join(format!("below/file-{number:03}")), format!("line {number}\n").repeat(20 + number))
            .unwrap();
    }
    let input = Input::source(scratch.path(), Some(&from), 150).unwrap();
    (scratch, input)
}

#[test]
fn an_input_changes_a_little_and_notices_a_wrong_restore() {
    let (scratch, mut input) = world();
    let before = scratch.path().join("before");
    assert!(std::process::Command::new("cp").arg("-a").arg(&input.path).arg(&before).status().unwrap().success());
    input.verify(&before).unwrap();
    input.change(0).unwrap();
    assert!(input.verify(&before).is_err(), "a changed file is seen");
    assert!(input.changed_bytes > 0 && input.changed_bytes < input.bytes / 20, "{input:?}");
    assert_eq!(bytes_below(&before).unwrap(), input.bytes);
}

#[test]
fn every_installed_peer_gives_back_what_it_kept() {
    let (scratch, mut input) = world();
    let peers: [Box<dyn Tool>; 3] = [Box::new(Restic), Box::new(Borg), Box::new(Casync)];
    for tool in peers {
        if let Err(error) = tool.version() {
            assert!(error.context().contains("scripts/setup --bench"), "{error}");
            eprintln!("skipped: {error}");
            continue;
        }
        let place = Place::new(scratch.path(), tool.name()).unwrap();
        tool.prepare(&place).unwrap();
        tool.backup(&place, &input.path).unwrap();
        let once = tool.stored(&place).unwrap();
        input.change(1).unwrap();
        let cost = tool.backup(&place, &input.path).unwrap();
        assert!(cost.seconds > 0.0 && once > 1_000, "{}: {cost:?}, {once} bytes", tool.name());
        let target = place.folder.join("restored");
        fs::create_dir(&target).unwrap();
        tool.restore(&place, &input.path, &target).unwrap();
        input.verify(&tool.restored(&input.path, &target)).unwrap();
    }
}
