//! Events that never came: supervisord numbers those of a listener, and drops the oldest when its buffer is
//! full.

use std::fmt;

/// Follows `poolserial`.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    expected: u64,
    is_shared: bool,
}

/// Events that were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    lost: u64,
}

impl Sequence {
    /// Takes note of an event's number; says so if others before it are missing. A repeated or older one is
    /// none of those.
    pub(super) fn observe(&mut self, pool_serial: Option<u64>) -> Option<Gap> {
        let serial = pool_serial?;
        let lost = serial.saturating_sub(self.expected);
        self.expected = self.expected.max(serial.saturating_add(1));
        (lost > 0 && !self.is_shared).then_some(Gap { lost })
    }

    /// With more than one process in the listener's pool, each sees some of the numbers only.
    pub(super) fn share_among(&mut self, processes: usize) {
        self.is_shared = processes > 1;
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lost } = self;
        write!(
            f,
            "supervisord dropped {lost} events: its buffer was full; raise `buffer_size` of this listener"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_told_and_repetitions_are_none() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.observe(Some(31)), Some(Gap { lost: 31 }), "dropped before the first");
        assert_eq!(sequence.observe(Some(32)), None);
        assert_eq!(sequence.observe(Some(32)), None);
        assert_eq!(sequence.observe(Some(35)), Some(Gap { lost: 2 }));
        assert_eq!(sequence.observe(Some(33)), None);
        assert_eq!(sequence.observe(Some(36)), None);
        assert_eq!(sequence.observe(None), None);
        assert_eq!(sequence.observe(Some(u64::MAX)).map(|gap| gap.lost), Some(u64::MAX - 37));
    }

    #[test]
    fn a_shared_pool_has_gaps_by_nature() {
        let mut sequence = Sequence::default();
        sequence.share_among(2);
        assert_eq!(sequence.observe(Some(5)), None);
    }
}
