//! Wakes those who wait for something new, however many there are.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A number that only grows, and those who wait for the next one.
#[derive(Debug, Default)]
pub struct Bell {
    number: Mutex<u64>,
    wake: Condvar,
}

impl Bell {
    /// Wakes all who wait. Does not block.
    pub fn ring(&self) {
        *self.number.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.wake.notify_all();
    }

    /// Waits until it has rung since it had the number `seen`, for so long at most; gives the number that it has now.
    #[must_use]
    pub fn wait(&self, seen: u64, within: Duration) -> u64 {
        let number = self.number.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.wake.wait_timeout_while(number, within, |number| *number == seen);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rang_before_is_not_missed() {
        let bell = Bell::default();
        bell.ring();
        let seen = bell.wait(0, Duration::from_secs(60));
        assert_eq!(seen, 1);
        assert_eq!(bell.wait(seen, Duration::ZERO), 1, "it has not rung since");
        bell.ring();
        bell.ring();
        assert_eq!(bell.wait(seen, Duration::from_secs(60)), 3, "rung twice is heard once");
    }

    #[test]
    fn who_waits_is_woken() {
        let bell = Bell::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| bell.wait(0, Duration::from_secs(60)));
            bell.ring();
            assert_eq!(waiting.join().unwrap(), 1);
        });
    }
}
