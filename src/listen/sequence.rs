//! Events that never came: supervisord numbers those of a listener, and drops the oldest when its buffer is
//! full.

use std::fmt;

use log::Level;

/// Follows `poolserial`.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    expected: Option<u64>,
    is_shared: bool,
}

/// Events that did not reach this listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// So many before its first one: dropped, or sent to a listener that was here before it.
    Before(u64),
    /// So many were dropped.
    Lost(u64),
}

impl Sequence {
    /// Takes note of an event's number; says so if others before it are missing. A repeated or older one is
    /// none of those.
    pub(super) fn observe(&mut self, pool_serial: Option<u64>) -> Option<Gap> {
        let serial = pool_serial?;
        let missing = serial.saturating_sub(self.expected.unwrap_or(0));
        let gap = if self.expected.is_none() { Gap::Before(missing) } else { Gap::Lost(missing) };
        self.expected = self.expected.max(Some(serial.saturating_add(1)));
        (missing > 0 && !self.is_shared).then_some(gap)
    }

    /// With more than one process in the listener's pool, each sees some of the numbers only.
    pub(super) fn share_among(&mut self, processes: usize) {
        self.is_shared = processes > 1;
    }
}

impl Gap {
    /// How much it matters.
    pub(super) fn level(self) -> Level {
        match self {
            Self::Before(_) => Level::Info,
            Self::Lost(_) => Level::Warn,
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(count) => write!(
                f,
                "{count} events came before the first that reached this listener: to one before it, or supervisord \
                 dropped them (see `buffer_size`)"
            ),
            Self::Lost(count) => write!(
                f,
                "supervisord dropped {count} events: its buffer was full; raise `buffer_size` of this listener"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_told_and_repetitions_are_none() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.observe(Some(31)), Some(Gap::Before(31)));
        assert_eq!(sequence.observe(Some(32)), None);
        assert_eq!(sequence.observe(Some(32)), None);
        assert_eq!(sequence.observe(Some(35)), Some(Gap::Lost(2)));
        assert_eq!(sequence.observe(Some(33)), None);
        assert_eq!(sequence.observe(Some(36)), None);
        assert_eq!(sequence.observe(None), None);
        assert_eq!(sequence.observe(Some(u64::MAX)), Some(Gap::Lost(u64::MAX - 37)));
    }

    #[test]
    fn a_shared_pool_has_gaps_by_nature() {
        let mut sequence = Sequence::default();
        sequence.share_among(2);
        assert_eq!(sequence.observe(Some(5)), None);
    }
}
