//! One look at all servers: what was asked of each, what each does, and how much it is working on.

use std::collections::BTreeMap;

use super::{DumpError, Held, Info, ReplyError, ServerRef, ServerState, StatRow, dump, stat};

/// What HAProxy holds and shows of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What was asked of it.
    pub held: Held,
    /// Whether health checks of its own decide when it is up.
    pub checked: bool,
    /// `IP:PORT` where its requests go.
    pub address: Option<Box<str>>,
    /// What it does, and how much it is working on.
    pub row: StatRow,
}

impl Seen {
    /// Whether HAProxy sends new requests there.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.row.status.kind.is_serving()
    }

    /// Whether nothing is under way there, and nothing waits for it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.row.sessions == 0 && self.row.queue == 0
    }

    /// Whether it is to be DOWN until its checks pass when it is set ready: it comes from maint, where it was not
    /// checked, and has checks that will end that.
    #[must_use]
    pub fn waits_for_checks(&self) -> bool {
        self.held == Held::Maint && self.checked
    }

    /// What the last check gave, in HAProxy's words; empty without.
    #[must_use]
    pub fn check(&self) -> String {
        [&*self.row.check_status, &*self.row.last_check].join(" ").trim().to_owned()
    }

    fn new(state: ServerState, row: StatRow) -> Self {
        Self { held: state.held(), checked: state.is_checked(), address: state.address, row }
    }
}

/// All servers of one HAProxy at one moment, and which process told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The answering process.
    pub info: Info,
    /// Its servers. Those of a `disabled` proxy are missing: it shows them nowhere but in its state.
    pub servers: BTreeMap<ServerRef, Seen>,
}

impl Look {
    /// Takes the reply to [`super::Command::Look`] apart: `show info`, `show servers state`, `show stat`.
    pub fn parse(reply: &[u8]) -> Result<Self, ReplyError> {
        let text = dump(reply)?;
        let state = text.find("\n1\n# be_id").ok_or(DumpError::Header("# be_id"))? + 1;
        let stat = text.find("\n# pxname,").ok_or(DumpError::Header("# pxname,"))? + 1;
        if state > stat {
            return Err(DumpError::Header("# be_id").into());
        }
        let (rest, stat) = text.split_at(stat);
        let (info, state) = rest.split_at(state);
        let mut states: BTreeMap<ServerRef, ServerState> =
            ServerState::read(state)?.into_iter().map(|state| (state.server.clone(), state)).collect();
        let rows = stat::parse(stat)?.into_iter();
        let servers = rows.filter_map(|row| {
            // A server that was added between the two dumps is seen the next time.
            let state = states.remove(&row.server)?;
            Some((row.server.clone(), Seen::new(state, row)))
        });
        Ok(Self { info: Info::parse(info), servers: servers.collect() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REPLY: &str = "Name: HAProxy\nPid: 7\n\n\
        1\n# be_id be_name srv_id srv_name srv_addr srv_admin_state srv_check_state srv_port\n\
        2 be 1 a 127.0.0.1 8 6 8001\n2 be 2 b 127.0.0.1 0 0 8002\n3 off 1 c 127.0.0.1 0 0 8003\n\n\
        # pxname,svname,qcur,scur,status,lastchg,type,check_status,last_chk,\n\
        be,a,0,2,DRAIN,5,2,L4OK,,\nbe,b,1,0,no check,6,2,,,\n\n";

    #[test]
    fn the_three_dumps_become_one_row_for_each_server() {
        let look = Look::parse(REPLY.as_bytes()).unwrap();
        assert_eq!(look.info.pid, Some(7));
        let names: Vec<String> = look.servers.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["be/a", "be/b"], "a disabled proxy has no row");
        let [a, b] = ["be/a", "be/b"].map(|name| &look.servers[&name.parse().unwrap()]);
        assert_eq!((a.held, a.checked, a.row.sessions), (Held::Drain, true, 2));
        assert_eq!(a.address.as_deref(), Some("127.0.0.1:8001"));
        assert!(b.is_serving() && !b.is_idle() && !b.checked);
    }

    #[test]
    fn a_dump_that_is_missing_or_cut_off_is_an_error() {
        for (damaged, expected) in [
            (REPLY.replace("# be_id", "# x"), "unexpected reply: no header row that begins with `# be_id`"),
            (
                REPLY.replace("# pxname", "# x"),
                "unexpected reply: no header row that begins with `# pxname,`",
            ),
            (REPLY.trim_end().to_owned(), "the reply is cut off after"),
            ("Permission denied\n\n".to_owned(), "permission denied"),
        ] {
            let error = Look::parse(damaged.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_reply_makes_the_reader_panic(cut in 0..REPLY.len(), text in "[ -~\n]{0,60}") {
            let mut reply = REPLY.to_owned();
            reply.insert_str(cut, &text);
            let _ = Look::parse(reply.as_bytes());
            let _ = Look::parse(text.as_bytes());
        }
    }
}
