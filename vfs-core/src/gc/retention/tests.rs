//! Rules by themselves: which rows stay.

use super::*;
use crate::clock::Time;
use crate::id::{HolderId, WorkspaceId};

const RULES: RetentionRules = RetentionRules {
    keep_last: None,
    keep_hourly: None,
    keep_daily: None,
    keep_weekly: None,
    keep_within_s: None,
};
/// Monday, 4 January 2027, 00:00.
const MONDAY_S: i64 = 1_799_020_800;

fn row(sequence: u64, seconds: i64) -> HistoryRow {
    HistoryRow {
        sequence,
        snapshot: SnapshotId::from_bytes([sequence as u8; 32]),
        time: Time { seconds, nanos: 0 },
        automatic: false,
        message: String::new(),
        author: String::new(),
        session: String::new(),
        turn: String::new(),
    }
}

/// Rows at these times, the oldest first.
fn subject(rules: RetentionRules, times: &[i64]) -> Subject {
    let mut rows: Vec<HistoryRow> = (1..).zip(times).map(|(sequence, seconds)| row(sequence, *seconds)).collect();
    rows.reverse();
    let workspace = WorkspaceId::from_bytes([1; 16]);
    let (snapshot, sequence) = (rows[0].snapshot, rows[0].sequence);
    let head = RefRow { workspace, snapshot, epoch: 0, sequence, covered: None };
    Subject { rules, head, lease: None, rows, held: HashSet::new() }
}

fn kept(subject: &Subject) -> Vec<u64> {
    let gone: HashSet<u64> = doomed(subject).into_iter().map(|row| row.sequence).collect();
    let mut kept: Vec<u64> = subject.rows.iter().map(|row| row.sequence).filter(|row| !gone.contains(row)).collect();
    kept.sort_unstable();
    kept
}

#[test]
fn the_last_named_rows_stay() {
    let mut subject = subject(RetentionRules { keep_last: Some(2), ..RULES }, &[10, 20, 30, 40, 50]);
    assert_eq!(kept(&subject), [4, 5]);
    // Automatic ones do not count, nor stay.
    subject.rows[1].automatic = true;
    assert_eq!(kept(&subject), [3, 5]);
}

#[test]
fn the_newest_of_each_hour_day_and_week_stays() {
    let hour = |number: i64| MONDAY_S + number * HOUR_S;
    let times = [hour(0), hour(0) + 60, hour(1), hour(1) + 3599, hour(2), hour(2) + 5];
    let hourly = RetentionRules { keep_hourly: Some(2), ..RULES };
    assert_eq!(kept(&subject(hourly, &times)), [4, 6]);
    let daily = RetentionRules { keep_daily: Some(2), ..RULES };
    assert_eq!(kept(&subject(daily, &[hour(0), hour(23), hour(24), hour(47), hour(48)])), [4, 5]);
    // Sunday evening and Monday morning are two weeks, Monday and Sunday after it one.
    let weekly = RetentionRules { keep_weekly: Some(2), ..RULES };
    assert_eq!(kept(&subject(weekly, &[hour(-48), hour(-1), hour(0), hour(7 * 24 - 1)])), [2, 4]);
}

#[test]
fn a_rule_with_something_left_keeps_the_oldest_row() {
    let times = [MONDAY_S, MONDAY_S + 10, MONDAY_S + 20, MONDAY_S + HOUR_S];
    assert_eq!(kept(&subject(RetentionRules { keep_hourly: Some(5), ..RULES }, &times)), [1, 3, 4]);
    assert_eq!(kept(&subject(RetentionRules { keep_hourly: Some(2), ..RULES }, &times)), [3, 4]);
}

#[test]
fn rows_within_a_span_before_the_newest_stay() {
    let rules = RetentionRules { keep_within_s: Some(100), ..RULES };
    assert_eq!(kept(&subject(rules, &[0, 899, 900, 950, 1000])), [3, 4, 5]);
}

#[test]
fn rules_add_up() {
    let rules = RetentionRules { keep_last: Some(1), keep_daily: Some(2), keep_within_s: Some(5), ..RULES };
    let times = [DAY_S, DAY_S + 5, 2 * DAY_S, 2 * DAY_S + 10, 2 * DAY_S + 14];
    assert_eq!(kept(&subject(rules, &times)), [2, 4, 5]);
}

#[test]
fn some_rows_stay_under_any_rule() {
    let rules = RetentionRules { keep_last: Some(1), ..RULES };
    let mut subject = subject(rules, &[10, 20, 30, 40, 50]);
    subject.rows[0].automatic = true;
    assert_eq!(kept(&subject), [4, 5], "the head, and the newest named row");
    subject.held.insert(subject.rows[4].snapshot);
    assert_eq!(kept(&subject), [1, 4, 5], "what a side ref or a lease holds");
    subject.rows[1].automatic = true;
    subject.lease = Some(LeaseRow {
        workspace: subject.head.workspace,
        holder: HolderId::from_bytes([1; 16]),
        epoch: 1,
        host: String::new(),
        pid: 1,
        mountpoint: String::new(),
        last_seen: Time { seconds: 0, nanos: 0 },
        base: subject.head.snapshot,
    });
    assert_eq!(kept(&subject), [1, 3, 4, 5], "the row before the head, while somebody holds the workspace");
}

#[test]
fn rules_that_mean_nothing_are_refused() {
    let refused = |rules| check(&rules).is_err();
    assert!(refused(RULES) && refused(RetentionRules { keep_last: Some(0), ..RULES }));
    assert!(refused(RetentionRules { keep_within_s: Some(u64::MAX), ..RULES }));
    assert!(refused(RetentionRules { keep_daily: Some(RETENTION_KEEP_MAX + 1), ..RULES }));
    assert_eq!(parse("{\"keep_lost\": 1}").unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(parse("{}").unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(parse("{\"keep_last\": 3}").unwrap().keep_last, Some(3));
}
