//! What becomes of supervisord's programs between two looks.

use std::collections::BTreeMap;
use std::fmt;

use crate::supervisor::{ProcessDetails, ProcessName, ProcessState};

/// A program is in another state than at the look before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramChange {
    /// Which.
    pub program: ProcessName,
    /// What it was.
    pub from: ProcessState,
    /// What it is.
    pub to: ProcessState,
}

impl ProgramChange {
    /// Whether nobody wants a program to be so.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(
            self.to,
            ProcessState::Backoff | ProcessState::Exited | ProcessState::Fatal | ProcessState::Unknown
        )
    }
}

impl fmt::Display for ProgramChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "program `{}` went from {} to {}", self.program, self.from, self.to)
    }
}

/// The states at the last look that supervisord answered.
#[derive(Debug, Default)]
pub(super) struct Past(BTreeMap<ProcessName, ProcessState>);

impl Past {
    /// The first look at a program is no change, and what became of one that is gone is not known.
    pub(super) fn observe(&mut self, now: &BTreeMap<ProcessName, ProcessDetails>) -> Vec<ProgramChange> {
        let states: BTreeMap<ProcessName, ProcessState> =
            now.iter().map(|(name, details)| (name.clone(), details.info.state)).collect();
        let changes = states.iter().filter_map(|(program, to)| {
            let from = *self.0.get(program).filter(|from| *from != to)?;
            Some(ProgramChange { program: program.clone(), from, to: *to })
        });
        let changes = changes.collect();
        self.0 = states;
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::ProcessInfo;

    fn processes(states: &[(&str, ProcessState)]) -> BTreeMap<ProcessName, ProcessDetails> {
        let details = |(name, state): &(&str, ProcessState)| {
            let name = ProcessName { group: (*name).into(), process: (*name).into() };
            let info = ProcessInfo { name: name.clone(), state: *state, pid: None };
            let (started, ended, spawn_error) = (None, None, String::new());
            (name, ProcessDetails { info, started, ended, now: 0, spawn_error, exit_status: 0 })
        };
        states.iter().map(details).collect()
    }

    #[test]
    fn a_change_is_told_once_and_the_first_look_is_none() {
        use ProcessState::{Exited, Running, Starting};
        let mut past = Past::default();
        let shown = |changes: Vec<ProgramChange>| changes.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(past.observe(&processes(&[("a", Running), ("b", Running)])), []);
        assert_eq!(
            shown(past.observe(&processes(&[("a", Exited), ("b", Running), ("c", Starting)]))),
            ["program `a` went from RUNNING to EXITED"]
        );
        assert_eq!(
            shown(past.observe(&processes(&[("a", Exited), ("c", Running)]))),
            ["program `c` went from STARTING to RUNNING"]
        );
        assert_eq!(past.observe(&processes(&[("b", Exited)])), [], "it was gone, and is another");
    }
}
