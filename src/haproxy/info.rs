//! `show info`: which process answered.

/// What tells one HAProxy process from another (management guide, 9.3 "show info").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Process id, in HAProxy's own pid namespace.
    pub pid: Option<u32>,
    /// Epoch seconds of its start; HAProxy 2.4 and later.
    pub start_time: Option<u64>,
    /// Seconds since its start.
    pub uptime: Option<u64>,
    /// Whether it only waits for its last connections to end.
    pub stopping: bool,
    /// Number of processes that share the socket; more than 1 only before 2.5.
    pub processes: u32,
    /// As in `2.6.12-1+deb12u4`.
    pub version: Option<String>,
}

impl Info {
    /// Reads `Key: value` lines; unknown keys are passed over, missing ones are `None`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut info = Self { processes: 1, ..Self::default() };
        for (key, value) in text.lines().filter_map(|line| line.split_once(": ")) {
            info.set(key, value.trim());
        }
        info
    }

    fn set(&mut self, key: &str, value: &str) {
        match key {
            "Pid" => self.pid = value.parse().ok(),
            "Start_time_sec" => self.start_time = value.parse().ok(),
            "Uptime_sec" => self.uptime = value.parse().ok(),
            "Stopping" => self.stopping = value != "0",
            "Nbproc" => self.processes = value.parse().unwrap_or(1),
            "Version" => self.version = Some(value.to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_keys_are_read_and_others_passed_over() {
        let text = "Name: HAProxy\nVersion: 2.6.12\nNbproc: 1\nPid: 7\nUptime: 0d 0h00m05s\nUptime_sec: 5\n\
                    Start_time_sec: 1763690000\nStopping: 0\nUnstoppable Jobs: 0\ndescription: \"a: b\"\n\n";
        let expected = Info {
            pid: Some(7),
            start_time: Some(1_763_690_000),
            uptime: Some(5),
            stopping: false,
            processes: 1,
            version: Some("2.6.12".into()),
        };
        assert_eq!(Info::parse(text), expected);
    }

    #[test]
    fn what_is_missing_or_absurd_is_none() {
        assert_eq!(Info::parse("Pid: -1\nNbproc: x\n"), Info { processes: 1, ..Info::default() });
    }
}
