//! Rules by themselves: which rows stay.

use std::collections::HashSet;

use super::*;
use crate::clock::Time;
use crate::error::Kind;
use crate::id::{HolderId, WorkspaceId};

const MINUTE_S: i64 = 60;
/// Monday, 2024-01-01 00:00:00 UTC.
const MONDAY_S: i64 = 1_704_067_200;

fn snapshot(sequence: u64) -> SnapshotId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&sequence.to_be_bytes());
    SnapshotId::from_bytes(bytes)
}

fn row(sequence: u64, seconds: i64, automatic: bool) -> HistoryRow {
    HistoryRow {
        sequence,
        snapshot: snapshot(sequence),
        time: Time { seconds, nanos: 0 },
        automatic,
        message: String::new(),
        author: String::new(),
        session: String::new(),
        turn: String::new(),
    }
}

/// Rows from the oldest to the newest, as seconds after Monday.
fn history(times: &[i64]) -> Vec<HistoryRow> {
    let rows = times.iter().enumerate().map(|(index, time)| row(index as u64 + 1, MONDAY_S + time, false));
    let mut rows: Vec<_> = rows.collect();
    rows.reverse();
    rows
}

fn subject(rules: RetentionRules, rows: Vec<HistoryRow>) -> Subject {
    let sequence = rows[0].sequence;
    let workspace = WorkspaceId::from_bytes([1; 16]);
    let head = RefRow { workspace, snapshot: rows[0].snapshot, epoch: 0, sequence, covered: None };
    Subject { rules, head, lease: None, rows, held: HashSet::new() }
}

fn kept(subject: &Subject) -> Vec<u64> {
    let gone: HashSet<u64> = doomed(subject).iter().map(|row| row.sequence).collect();
    subject.rows.iter().map(|row| row.sequence).filter(|sequence| !gone.contains(sequence)).collect()
}

fn rules(text: &str) -> RetentionRules {
    parse(text).unwrap()
}

#[test]
fn the_newest_named_rows_are_counted() {
    let mut rows = history(&[0, 1, 2, 3, 4, 5]);
    assert_eq!(kept(&subject(rules(r#"{"keep_last": 2}"#), rows.clone())), [6, 5]);
    rows[1].automatic = true;
    assert_eq!(kept(&subject(rules(r#"{"keep_last": 2}"#), rows)), [6, 4], "automatic rows do not use the rule up");
}

#[test]
fn the_newest_of_each_hour_day_and_week_stays() {
    let hours = [0, 10, 59, 60, 61, 200, 201].map(|minute| minute * MINUTE_S);
    assert_eq!(
        kept(&subject(rules(r#"{"keep_hourly": 2}"#), history(&hours))),
        [7, 5],
        "hours without rows do not count"
    );
    assert_eq!(kept(&subject(rules(r#"{"keep_hourly": 24}"#), history(&hours))), [7, 5, 3, 1], "and the oldest");
    let days = [0, 23 * HOUR_S, 24 * HOUR_S, 47 * HOUR_S, 9 * DAY_S];
    assert_eq!(kept(&subject(rules(r#"{"keep_daily": 9}"#), history(&days))), [5, 4, 2, 1]);
    // Sunday evening, Monday morning; a week begins on Monday.
    let weeks = [7 * DAY_S - 1, 7 * DAY_S, 7 * DAY_S + 5, 14 * DAY_S - 1, 14 * DAY_S];
    assert_eq!(kept(&subject(rules(r#"{"keep_weekly": 9}"#), history(&weeks))), [5, 4, 1]);
}

#[test]
fn time_before_1970_and_clocks_that_jump_back_are_fine() {
    let times = [-MONDAY_S - 1, -MONDAY_S, 3 * HOUR_S, 2 * HOUR_S, 3 * HOUR_S + 1];
    assert_eq!(kept(&subject(rules(r#"{"keep_hourly": 9}"#), history(&times))), [5, 4, 2, 1]);
    let back = subject(rules(r#"{"keep_within_s": 3600}"#), history(&times));
    assert_eq!(kept(&back), [5, 3], "within an hour of the newest time");
}

#[test]
fn a_span_is_counted_from_the_newest_row_not_from_now() {
    let rows = history(&[0, 100, 3599, 3600, 7199]);
    assert_eq!(kept(&subject(rules(r#"{"keep_within_s": 3600}"#), rows.clone())), [5, 4, 3]);
    assert_eq!(kept(&subject(rules(r#"{"keep_within_s": 3599}"#), rows)), [5, 4]);
}

#[test]
fn rules_add_up() {
    let times = [0, HOUR_S, 2 * HOUR_S, DAY_S, DAY_S + 10];
    let both = rules(r#"{"keep_last": 1, "keep_daily": 2}"#);
    assert_eq!(kept(&subject(both, history(&times))), [5, 3]);
}

#[test]
fn what_must_stay_stays_under_any_rule() {
    let one = rules(r#"{"keep_weekly": 1}"#);
    let mut rows = history(&[0, 1, 2, 3, 4]);
    rows[0].automatic = true;
    rows[1].automatic = true;
    let mut subject = subject(one, rows);
    assert_eq!(kept(&subject), [5, 3], "the head and the newest named row");
    subject.held = HashSet::from([snapshot(1)]);
    assert_eq!(kept(&subject), [5, 3, 1], "tags and bases");
    subject.lease = Some(LeaseRow {
        workspace: subject.head.workspace,
        holder: HolderId::from_bytes([1; 16]),
        epoch: 1,
        host: String::new(),
        pid: 1,
        mountpoint: String::new(),
        last_seen: Time::default(),
        base: snapshot(5),
    });
    assert_eq!(kept(&subject), [5, 4, 3, 1], "the holder may ask again about its last publish");
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    for wrong in [r#"{}"#, r#"{"keep_last": 0}"#, r#"{"keep_hourly": 1000001}"#, r#"{"keep_within_s": 0}"#] {
        assert_eq!(check(&serde_json::from_str(wrong).unwrap()).unwrap_err().kind(), Kind::Invalid, "{wrong}");
        assert_eq!(parse(wrong).unwrap_err().kind(), Kind::Corrupt, "{wrong}");
    }
    for wrong in ["", "x", r#"{"keep_lots": 1}"#, r#"{"keep_last": -1}"#] {
        assert_eq!(parse(wrong).unwrap_err().kind(), Kind::Corrupt, "{wrong}");
    }
}
