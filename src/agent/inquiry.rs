//! When to ask supervisord, and what.

use std::time::{Duration, Instant};

/// A call of XML-RPC to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// supervisord's own pid: it tells whether its pids mean the same here.
    Identity,
    /// All processes and their states.
    Processes,
    /// Nothing: the call wakes supervisord's loop, so that it sends its news now and not in two seconds.
    Wake,
}

/// Decides about the next question. One is asked at a time.
#[derive(Debug)]
pub struct Inquiry {
    interval: Option<Duration>,
    identity_known: bool,
    /// When to ask for all processes; `None` where nothing calls for it.
    sync_at: Option<Instant>,
    last_sync: Option<Instant>,
    wake_at: Option<Instant>,
    asking: Option<Question>,
    failures: u32,
    retry_at: Option<Instant>,
}

/// Between two calls that only wake supervisord up: costs it 0.6 % of a core.
const WAKE_INTERVAL: Duration = Duration::from_millis(100);
/// Between two lists of all processes, however many events were lost.
const SYNC_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after failures.
const MAX_PAUSE: Duration = Duration::from_secs(30);

impl Inquiry {
    /// All processes are asked for at once, and again after each `interval`.
    #[must_use]
    pub fn new(now: Instant, interval: Option<Duration>) -> Self {
        Self {
            interval,
            identity_known: false,
            sync_at: Some(now),
            last_sync: None,
            wake_at: None,
            asking: None,
            failures: 0,
            retry_at: None,
        }
    }

    /// Something makes the known states doubtful.
    pub fn want_sync(&mut self, now: Instant) {
        let earliest = self.last_sync.map_or(now, |last| last + SYNC_PAUSE).max(now);
        self.sync_at = Some(self.sync_at.map_or(earliest, |at| at.min(earliest)));
    }

    /// The question to ask now; the answer goes to [`Self::answered`] or [`Self::failed`].
    pub fn next(&mut self, now: Instant, in_transition: bool) -> Option<Question> {
        self.note_transition(now, in_transition);
        if self.asking.is_some() || !due(now, self.retry_at.or(Some(now))) {
            return None;
        }
        let question = if due(now, self.sync_at) {
            if self.identity_known { Question::Processes } else { Question::Identity }
        } else if due(now, self.wake_at) {
            self.wake_at = Some(now + WAKE_INTERVAL);
            Question::Wake
        } else {
            return None;
        };
        self.asking = Some(question);
        Some(question)
    }

    /// When [`Self::next`] may have a question, if nothing happens before.
    #[must_use]
    pub fn due_at(&self) -> Option<Instant> {
        if self.asking.is_some() {
            return None;
        }
        let earliest = [self.sync_at, self.wake_at].into_iter().flatten().min()?;
        Some(self.retry_at.map_or(earliest, |retry| retry.max(earliest)))
    }

    /// The question was answered; whether that ends a series of failures.
    pub fn answered(&mut self, now: Instant) -> bool {
        match self.asking.take() {
            Some(Question::Identity) => self.identity_known = true,
            Some(Question::Processes) => {
                self.last_sync = Some(now);
                self.sync_at = self.interval.map(|interval| now + interval);
            }
            Some(Question::Wake) | None => {}
        }
        self.retry_at = None;
        std::mem::take(&mut self.failures) > 0
    }

    /// The question was not answered; whether that begins a series of failures.
    pub fn failed(&mut self, now: Instant) -> bool {
        self.asking = None;
        self.failures = self.failures.saturating_add(1);
        let pause = Duration::from_secs(1 << self.failures.min(5)).min(MAX_PAUSE);
        self.retry_at = Some(now + pause);
        self.failures == 1
    }

    fn note_transition(&mut self, now: Instant, in_transition: bool) {
        match (in_transition, self.wake_at) {
            (false, _) => self.wake_at = None,
            (true, None) => self.wake_at = Some(now),
            (true, Some(_)) => {}
        }
    }
}

fn due(now: Instant, at: Option<Instant>) -> bool {
    at.is_some_and(|at| now >= at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn it_asks_who_supervisord_is_then_for_all_processes_then_each_interval() {
        let start = Instant::now();
        let mut inquiry = Inquiry::new(start, Some(MINUTE));
        assert_eq!(inquiry.next(start, false), Some(Question::Identity));
        assert_eq!(inquiry.next(start, false), None, "one at a time");
        inquiry.answered(start);
        assert_eq!(inquiry.next(start, false), Some(Question::Processes));
        inquiry.answered(start);
        assert_eq!(inquiry.next(start, false), None);
        assert_eq!(inquiry.due_at(), Some(start + MINUTE));
        assert_eq!(inquiry.next(start + MINUTE, false), Some(Question::Processes));
    }

    #[test]
    fn it_wakes_supervisord_only_while_something_is_in_transition() {
        let start = Instant::now();
        let mut inquiry = settled(start);
        assert_eq!(inquiry.next(start, true), Some(Question::Wake));
        inquiry.answered(start);
        assert_eq!(inquiry.next(start, true), None);
        assert_eq!(inquiry.due_at(), Some(start + WAKE_INTERVAL));
        assert_eq!(inquiry.next(start + WAKE_INTERVAL, true), Some(Question::Wake));
        inquiry.answered(start + WAKE_INTERVAL);
        assert_eq!(inquiry.next(start + MINUTE, false), None);
        assert_eq!(inquiry.due_at(), None);
    }

    #[test]
    fn many_reasons_for_a_list_make_one_a_second() {
        let start = Instant::now();
        let mut inquiry = settled(start);
        inquiry.want_sync(start);
        inquiry.want_sync(start);
        assert_eq!(inquiry.next(start, false), None);
        assert_eq!(inquiry.due_at(), Some(start + SYNC_PAUSE));
        assert_eq!(inquiry.next(start + SYNC_PAUSE, false), Some(Question::Processes));
    }

    #[test]
    fn failures_are_told_once_and_retried_with_growing_pauses() {
        let start = Instant::now();
        let mut inquiry = Inquiry::new(start, None);
        inquiry.next(start, false);
        assert!(inquiry.failed(start));
        assert_eq!(inquiry.next(start + Duration::from_secs(1), true), None);
        let second = start + Duration::from_secs(2);
        assert_eq!(inquiry.next(second, false), Some(Question::Identity));
        assert!(!inquiry.failed(second));
        assert_eq!(inquiry.due_at(), Some(second + Duration::from_secs(4)));
        let third = second + Duration::from_secs(4);
        assert_eq!(inquiry.next(third, false), Some(Question::Identity));
        assert!(inquiry.answered(third));
    }

    fn settled(now: Instant) -> Inquiry {
        let mut inquiry = Inquiry::new(now, None);
        while inquiry.next(now, false).is_some() {
            inquiry.answered(now);
        }
        inquiry
    }
}
