//! A clock that stands still until a test turns it, in either direction.

use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::{Clock, Time};

/// Turned by hand.
#[derive(Debug)]
pub struct HandClock(Mutex<Time>);

impl Default for HandClock {
    fn default() -> Self {
        HandClock(Mutex::new(Time { seconds: 1_800_000_000, nanos: 5 }))
    }
}

impl HandClock {
    /// Goes on.
    pub fn advance(&self, by: Duration) {
        self.turn(by.as_nanos() as i128);
    }

    /// Jumps back, as a clock that somebody set.
    pub fn turn_back(&self, by: Duration) {
        self.turn(-(by.as_nanos() as i128));
    }

    fn turn(&self, nanos: i128) {
        let mut now = self.0.lock();
        *now = Time::from_nanos(now.as_nanos() + nanos);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Time {
        *self.0.lock()
    }
}
