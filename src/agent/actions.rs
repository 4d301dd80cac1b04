//! The table from a program's state to its server's state.

use std::str::FromStr;

use crate::haproxy::AdminState;
use crate::supervisor::ProcessState;

/// What each of supervisord's states asks of HAProxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actions {
    overrides: Vec<Override>,
}

/// One `STATE=ACTION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    state: ProcessState,
    action: AdminState,
}

impl Actions {
    /// The table with its overrides; of several for one state the last counts.
    #[must_use]
    pub fn new(overrides: Vec<Override>) -> Self {
        Self { overrides }
    }

    /// The action for a state.
    #[must_use]
    pub fn action(&self, state: ProcessState) -> AdminState {
        let overridden = self.overrides.iter().rev().find(|entry| entry.state == state);
        overridden.map_or_else(|| default(state), |entry| entry.action)
    }
}

fn default(state: ProcessState) -> AdminState {
    use ProcessState::{Backoff, Exited, Fatal, Running, Starting, Stopped, Stopping, Unknown};
    match state {
        Running => AdminState::Ready,
        Stopping => AdminState::Drain,
        Starting | Backoff | Exited | Stopped | Fatal | Unknown => AdminState::Maint,
    }
}

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (state, action) = text
            .split_once('=')
            .ok_or_else(|| "expected `STATE=ACTION`, as in `STOPPING=maint`".to_owned())?;
        Ok(Self { state: state.parse()?, action: action.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_readme() {
        use ProcessState::{Backoff, Exited, Fatal, Running, Starting, Stopped, Stopping, Unknown};
        let actions = Actions::new(Vec::new());
        for state in [Starting, Backoff, Exited, Stopped, Fatal, Unknown] {
            assert_eq!(actions.action(state), AdminState::Maint, "{state}");
        }
        assert_eq!(actions.action(Stopping), AdminState::Drain);
        assert_eq!(actions.action(Running), AdminState::Ready);
    }

    #[test]
    fn the_last_override_counts() {
        let entry = |text: &str| text.parse::<Override>().unwrap();
        let actions = Actions::new(vec![entry("STOPPING=ready"), entry("stopping=maint")]);
        assert_eq!(actions.action(ProcessState::Stopping), AdminState::Maint);
        assert_eq!(actions.action(ProcessState::Running), AdminState::Ready);
    }

    #[test]
    fn bad_overrides_say_what_is_expected() {
        let error = |text: &str| text.parse::<Override>().unwrap_err();
        assert_eq!(error("STOPPING"), "expected `STATE=ACTION`, as in `STOPPING=maint`");
        assert!(error("HALTED=maint").starts_with("`HALTED` is none of supervisord's states `STOPPED`"));
        assert_eq!(error("STOPPING=up"), "`up` is none of `ready`, `drain`, `maint`");
    }
}
