//! What waits to be sent, in an order that keeps each receiver's messages in theirs, and when to try again. Pure: now
//! is a parameter.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How much may wait, and how hard it is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Beyond it, nothing is taken.
    pub(super) room: usize,
    /// Then it is given up.
    pub(super) attempts: u32,
}

/// From a first attempt that failed to the second; doubled from then on.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, whatever a receiver asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// A thing to be done, for a receiver.
#[derive(Debug)]
pub(super) struct Item<J> {
    pub(super) job: J,
    receiver: String,
    due: Instant,
    attempts: u32,
}

impl<J> Item<J> {
    /// Whether nobody has tried it yet.
    pub(super) fn is_first(&self) -> bool {
        self.attempts == 0
    }
}

#[derive(Debug)]
pub(super) struct Queue<J> {
    patience: Patience,
    items: VecDeque<Item<J>>,
}

/// What became of an attempt.
#[derive(Debug)]
pub(super) enum Ended<J> {
    /// It comes again, after this long.
    Later(Duration),
    /// It was tried often enough.
    GivenUp(J),
}

impl<J> Queue<J> {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, items: VecDeque::new() }
    }

    /// Takes it, or gives it back where there is no room.
    pub(super) fn push(&mut self, now: Instant, receiver: String, job: J) -> Result<(), J> {
        if self.items.len() >= self.patience.room {
            return Err(job);
        }
        self.items.push_back(Item { job, receiver, due: now, attempts: 0 });
        Ok(())
    }

    /// What is to be tried now; it is out of the queue until [`Self::failed`]. A receiver's messages come one after the
    /// other: what stands behind one that waits, waits with it.
    pub(super) fn next(&mut self, now: Instant) -> Option<Item<J>> {
        let at = self.heads().filter(|(_, item)| item.due <= now).min_by_key(|(_, item)| item.due)?.0;
        self.items.remove(at)
    }

    /// When [`Self::next`] has something.
    pub(super) fn due(&self) -> Option<Instant> {
        self.heads().map(|(_, item)| item.due).min()
    }

    /// The first item of each receiver.
    fn heads(&self) -> impl Iterator<Item = (usize, &Item<J>)> {
        self.items
            .iter()
            .enumerate()
            .filter(|(at, item)| self.items.iter().take(*at).all(|before| before.receiver != item.receiver))
    }

    /// An attempt did not help; another might, not before the time that the receiver asks for.
    pub(super) fn failed(&mut self, now: Instant, mut item: Item<J>, asked: Option<Duration>) -> Ended<J> {
        item.attempts += 1;
        if item.attempts >= self.patience.attempts {
            return Ended::GivenUp(item.job);
        }
        let doubled = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(item.attempts - 1).unwrap_or(u32::MAX));
        let pause = doubled.max(asked.unwrap_or_default()).min(LONGEST_PAUSE);
        item.due = now + pause;
        // Before those that came after it.
        self.items.push_front(item);
        Ended::Later(pause)
    }

    /// All that is left.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = J> {
        self.items.drain(..).map(|item| item.job)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn queue(room: usize, attempts: u32) -> Queue<u32> {
        Queue::new(Patience { room, attempts })
    }

    fn next(queue: &mut Queue<u32>, now: Instant) -> Option<u32> {
        queue.next(now).map(|item| item.job)
    }

    #[test]
    fn a_full_queue_takes_nothing() {
        let (mut queue, now) = (queue(2, 1), Instant::now());
        assert_eq!(queue.push(now, "a".into(), 1), Ok(()));
        assert_eq!(queue.push(now, "a".into(), 2), Ok(()));
        assert_eq!(queue.push(now, "a".into(), 3), Err(3));
        assert_eq!(next(&mut queue, now), Some(1));
        assert_eq!(queue.push(now, "a".into(), 3), Ok(()));
    }

    #[test]
    fn a_receiver_that_fails_holds_up_its_own_and_nobody_elses() {
        let (mut queue, now) = (queue(9, 9), Instant::now());
        for (receiver, job) in [("a", 1), ("a", 2), ("b", 3)] {
            queue.push(now, receiver.into(), job).unwrap();
        }
        let item = queue.next(now).unwrap();
        assert!(matches!(queue.failed(now, item, None), Ended::Later(pause) if pause == SECOND));
        assert_eq!((next(&mut queue, now), next(&mut queue, now)), (Some(3), None));
        assert_eq!(queue.due(), Some(now + SECOND));
        assert_eq!(next(&mut queue, now + SECOND), Some(1));
        assert_eq!(next(&mut queue, now + SECOND), Some(2));
    }

    #[test]
    fn pauses_double_up_to_five_minutes_and_then_it_is_given_up() {
        let (mut queue, mut now) = (queue(1, 12), Instant::now());
        queue.push(now, "a".into(), 7).unwrap();
        let mut pauses = Vec::new();
        loop {
            let item = queue.next(now).unwrap();
            match queue.failed(now, item, None) {
                Ended::Later(pause) => pauses.push(pause.as_secs()),
                Ended::GivenUp(job) => break assert_eq!(job, 7),
            }
            now = queue.due().unwrap();
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert!(queue.items.is_empty());
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_but_not_for_ever() {
        for (asked, expected) in [(0, 1), (7, 7), (300, 300), (u64::MAX, 300)] {
            let (mut queue, now) = (queue(1, 2), Instant::now());
            queue.push(now, "a".into(), 1).unwrap();
            let item = queue.next(now).unwrap();
            let ended = queue.failed(now, item, Some(Duration::from_secs(asked)));
            assert!(matches!(ended, Ended::Later(pause) if pause.as_secs() == expected), "{asked}");
        }
    }

    proptest! {
        #[test]
        fn each_receiver_gets_its_own_in_order(
            jobs in proptest::collection::vec(0_u8..3, 1..40),
            fails in proptest::collection::vec(any::<bool>(), 1..60),
        ) {
            let (mut queue, mut now) = (Queue::new(Patience { room: 40, attempts: 99 }), Instant::now());
            for (number, receiver) in jobs.iter().enumerate() {
                queue.push(now, receiver.to_string(), (*receiver, number)).unwrap();
            }
            let (mut got, mut fails) = (Vec::new(), fails.into_iter());
            while let Some(due) = queue.due() {
                now = now.max(due);
                let item = queue.next(now).unwrap();
                if fails.next().unwrap_or(false) {
                    let _ = queue.failed(now, item, None);
                } else {
                    got.push(item.job);
                }
            }
            prop_assert_eq!(got.len(), jobs.len());
            for receiver in 0..3 {
                let numbers: Vec<usize> = got.iter().filter(|job| job.0 == receiver).map(|job| job.1).collect();
                prop_assert!(numbers.is_sorted());
            }
        }
    }
}
