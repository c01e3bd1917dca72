//! The counters name and sum what was counted.

use super::*;

#[test]
fn counts_by_name_and_in_total() {
    let counters = Counters::default();
    counters.count(Operation::Lookup);
    counters.count(Operation::CopyFileRange);
    counters.count(Operation::CopyFileRange);
    counters.count(Operation::Misses);
    let requests = counters.read();
    assert_eq!(requests.by_operation, [("lookup", 1), ("copy_file_range", 2), ("misses", 1)]);
    assert_eq!(requests.of("copy_file_range"), 2);
    assert_eq!(requests.of("unlink"), 0);
    assert_eq!(requests.total(), 3);
}
