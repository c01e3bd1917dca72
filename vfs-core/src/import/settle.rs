//! Waits until a change of a file would show in its times.
//!
//! A kernel stamps files with a clock that stands still for some milliseconds. Content that is read within the very tick of
//! its last change may change once more without a new time, and an import that compares times would never see that. git knows
//! such entries as racy and reads them again later; here nothing is read before the tick is over, so there are none.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::walk::Meta;
use crate::clock::Time;

/// File systems that keep whole seconds (or pairs of them: FAT) stamp as coarsely.
const COARSE: Duration = Duration::from_secs(2);
/// Longest wait in all: a file may come from a machine whose clock is ahead.
const WAIT_MAX: Duration = Duration::from_millis(2_500);
/// Time between two looks at the clock; a tick takes 1 to 10 ms.
const PAUSE: Duration = Duration::from_millis(1);

/// The clock that files are stamped with.
fn file_clock() -> Time {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    Time { seconds: now.tv_sec, nanos: u32::try_from(now.tv_nsec).unwrap_or(0) }
}

/// Whether a change that is made at `now` may leave the times as they are.
fn is_racy(meta: &Meta, now: Time) -> bool {
    let last = meta.mtime.max(meta.ctime);
    // One whole second by chance costs a wait; each file has that chance once in 10^9.
    let coarse = meta.ctime.nanos == 0;
    let distance = now.as_nanos() - last.as_nanos();
    match coarse {
        _ if distance < -(WAIT_MAX.as_nanos() as i128) => false,
        true => distance <= COARSE.as_nanos() as i128,
        false => distance <= 0,
    }
}

/// Waits until a change of the file from now on gives it other times. Times in the far future are not waited for: a later
/// import reads what is not older than the earlier snapshot.
pub(super) fn settle(meta: &Meta) {
    let mut waited = Duration::ZERO;
    while is_racy(meta, file_clock()) && waited < WAIT_MAX {
        std::thread::sleep(PAUSE);
        waited += PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::FileKind;

    fn changed_at(time: Time) -> Meta {
        Meta {
            kind: FileKind::File,
            mode: 0,
            uid: 0,
            gid: 0,
            nlink: 1,
            size: 0,
            blocks: 0,
            mtime: Time { seconds: 5, nanos: 5 },
            ctime: time,
            place: (0, 0),
        }
    }

    #[test]
    fn only_the_tick_of_the_change_and_what_is_just_ahead_are_waited_for() {
        let at = |seconds, nanos| Time { seconds, nanos };
        let changed = changed_at(at(100, 7));
        assert!(is_racy(&changed, at(100, 7)) && is_racy(&changed, at(99, 0)));
        assert!(!is_racy(&changed, at(100, 8)) && !is_racy(&changed, at(90, 0)));
        let whole = changed_at(at(100, 0));
        assert!(is_racy(&whole, at(101, 999)) && !is_racy(&whole, at(102, 1)));
    }

    #[test]
    fn after_the_wait_a_change_shows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let look = || Meta::new(&rustix::fs::stat(&path).unwrap()).unwrap();
        for round in 0..20 {
            std::fs::write(&path, format!("{round}")).unwrap();
            let before = look();
            settle(&before);
            std::fs::write(&path, format!("{}", round + 100)).unwrap();
            assert_ne!(look().ctime, before.ctime, "round {round}");
        }
    }
}
