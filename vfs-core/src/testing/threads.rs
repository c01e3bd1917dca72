//! What the other threads of this process do: once all of them rest, nothing goes on that an actor could wait for.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long the others are left alone before they are looked at again.
const PATIENCE: Duration = Duration::from_micros(20);

/// Threads that wait for others here: tests of one process must not wait for each other.
static WAITING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// How often each of the other threads has gone to sleep: two that are equal, one before and one after something, say that
/// it gave no thread anything to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rest(Vec<(String, u64)>);

/// Waits until all other threads rest, at most so long; `before` is how they rested the last time. Nothing else runs on
/// this thread meanwhile.
///
/// Threads cannot be looked at all at once: one may wake another that was seen already, and sleep before it is seen. But
/// if each was asleep at two looks, and has not gone to sleep again in between, then they rested when the first one ended.
pub(super) fn wait_for_others(mut before: Rest, at_most: Duration) -> Rest {
    let started = Instant::now();
    let own = rustix::thread::gettid().as_raw_nonzero().get().to_string();
    let _waiting = Waiting::enter(own);
    loop {
        let (now, asleep) = look();
        if (asleep && now == before) || started.elapsed() >= at_most {
            return now;
        }
        if !asleep {
            std::thread::sleep(PATIENCE);
        }
        before = if asleep { now } else { Rest::default() };
    }
}

struct Waiting(String);

impl Waiting {
    fn enter(thread: String) -> Waiting {
        WAITING.lock().insert(thread.clone());
        Waiting(thread)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.lock().remove(&self.0);
    }
}

/// How often each has gone to sleep, and whether all are asleep. One that was woken but has not run yet is not.
fn look() -> (Rest, bool) {
    let waiting = WAITING.lock().clone();
    let (mut rest, mut asleep) = (Vec::new(), true);
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return (Rest(rest), true) };
    for task in tasks.flatten() {
        let name = task.file_name().to_string_lossy().into_owned();
        if waiting.contains(&name) {
            continue;
        }
        // A thread that ended meanwhile has no file any more.
        let Ok(status) = std::fs::read_to_string(task.path().join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_start);
        asleep &= field("State:").is_none_or(|state| state.starts_with(['S', 'Z', 'X']));
        let sleeps = field("voluntary_ctxt_switches:").and_then(|count| count.parse().ok());
        rest.push((name, sleeps.unwrap_or(0)));
    }
    (Rest(rest), asleep)
}
