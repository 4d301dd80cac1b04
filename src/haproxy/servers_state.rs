//! `show servers state`: the one place that shows what was asked of a server beneath what it is, and whether
//! it has health checks. (`show stat` hides a drain beneath DOWN and the checks beneath MAINT.)

use super::{AdminState, DumpError, ReplyError, ServerRef, dump};

/// The administrative part of a server's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerState {
    /// Which server.
    pub server: ServerRef,
    /// `srv_admin_state`, a mask.
    pub admin: u32,
    /// `srv_check_state`, a mask.
    pub check: u32,
    /// `IP:PORT` where requests go; `None` for a unix socket, or where HAProxy does not tell.
    pub address: Option<Box<str>>,
}

/// What was asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Neither drain nor maint.
    Ready,
    /// Drain.
    Drain,
    /// Maint, whatever else.
    Maint,
}

/// Set by `set server … state maint`; HAProxy's `SRV_ADMF_FMAINT`.
const FORCED_MAINT: u32 = 0x01;
/// Set by `set server … state drain`; HAProxy's `SRV_ADMF_FDRAIN`.
const FORCED_DRAIN: u32 = 0x08;
/// HAProxy's `CHK_ST_CONFIGURED` and `CHK_ST_ENABLED`; a pause in maint leaves both.
const CHECKED: u32 = 0x02 | 0x04;

impl Held {
    /// The state that asks for it.
    #[must_use]
    pub fn state(self) -> AdminState {
        match self {
            Self::Ready => AdminState::Ready,
            Self::Drain => AdminState::Drain,
            Self::Maint => AdminState::Maint,
        }
    }
}

impl ServerState {
    /// What was asked of it. Maintenance inherited from a tracked server or from a name that does not resolve
    /// is not ours to lift and does not count.
    #[must_use]
    pub fn held(&self) -> Held {
        if self.admin & FORCED_MAINT != 0 {
            Held::Maint
        } else if self.admin & FORCED_DRAIN != 0 {
            Held::Drain
        } else {
            Held::Ready
        }
    }

    /// Whether health checks of its own will lift a `health down`. Agent checks do not, nor does a tracked
    /// server, nor checks that `disable health` has stopped.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.check & CHECKED == CHECKED
    }
}

impl ServerState {
    /// Reads the reply to [`super::Command::ServersState`]. Columns are found by name.
    pub fn parse(reply: &[u8]) -> Result<Vec<Self>, ReplyError> {
        Ok(Self::read(&dump(reply)?)?)
    }

    /// Reads a dump that came whole.
    pub(super) fn read(text: &str) -> Result<Vec<Self>, DumpError> {
        let mut lines = text.lines();
        match lines.next() {
            Some("1") => {}
            version => return Err(DumpError::Version(version.unwrap_or_default().to_owned())),
        }
        let columns = Columns::find(lines.next().unwrap_or_default())?;
        let rows = lines.filter(|line| !line.is_empty()).enumerate();
        rows.map(|(index, line)| columns.row(index + 1, line)).collect()
    }
}

struct Columns {
    backend: usize,
    server: usize,
    admin: usize,
    check: usize,
    address: Option<(usize, usize)>,
}

impl Columns {
    fn find(header: &str) -> Result<Self, DumpError> {
        let names = header.strip_prefix("# ").ok_or(DumpError::Header("# be_id"))?;
        let names: Vec<&str> = names.split(' ').collect();
        let find = |name: &'static str| {
            names.iter().position(|column| *column == name).ok_or(DumpError::Column(name))
        };
        Ok(Self {
            backend: find("be_name")?,
            server: find("srv_name")?,
            admin: find("srv_admin_state")?,
            check: find("srv_check_state")?,
            address: find("srv_addr").and_then(|address| Ok((address, find("srv_port")?))).ok(),
        })
    }

    fn row(&self, row: usize, line: &str) -> Result<ServerState, DumpError> {
        let fields: Vec<&str> = line.split(' ').collect();
        let bad = |what: String| DumpError::Row { row, what };
        let field = |at: usize| fields.get(at).copied().ok_or_else(|| bad(format!("field {at} is missing")));
        let mask = |at: usize| field(at)?.parse::<u32>().map_err(|error| bad(format!("field {at}: {error}")));
        let server = ServerRef::new(field(self.backend)?, field(self.server)?)
            .map_err(|error| bad(error.to_string()))?;
        Ok(ServerState {
            server,
            admin: mask(self.admin)?,
            check: mask(self.check)?,
            address: self.address.and_then(|(ip, port)| address(fields.get(ip)?, fields.get(port)?)),
        })
    }
}

/// A unix socket is written as `-`.
fn address(ip: &str, port: &str) -> Option<Box<str>> {
    let address = core::net::SocketAddr::new(ip.parse().ok()?, port.parse().ok()?);
    Some(address.to_string().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state \
                          srv_uweight srv_iweight srv_time_since_last_change srv_check_status \
                          srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id\n";

    fn row(name: &str, admin: u32, check: u32) -> String {
        format!("2 be 1 {name} 127.0.0.1 2 {admin} 1 1 5 6 0 2 {check} 0 0\n")
    }

    #[test]
    fn masks_are_understood() {
        // As HAProxy 2.2 to 3.2 write them: checked and ready, in maint, drained, disabled in the
        // configuration, tracking a server in maint, without checks, with `disable health`.
        let table = [
            (0, 6, Held::Ready, true),
            (1, 14, Held::Maint, true),
            (8, 6, Held::Drain, true),
            (5, 14, Held::Maint, true),
            (4, 6, Held::Ready, true),
            (2, 0, Held::Ready, false),
            (3, 0, Held::Maint, false),
            (1, 10, Held::Maint, false),
        ];
        for (admin, check, held, checked) in table {
            let reply = format!("{HEADER}{}\n", row("s", admin, check));
            let states = ServerState::parse(reply.as_bytes()).unwrap();
            assert_eq!((states[0].held(), states[0].is_checked()), (held, checked), "{admin} {check}");
            assert_eq!(states[0].server.to_string(), "be/s");
        }
    }

    #[test]
    fn an_address_is_told_where_it_is_one() {
        let parse = |ip: &str, port: &str| {
            let header = "1\n# be_name srv_name srv_addr srv_admin_state srv_check_state srv_port\n";
            let reply = format!("{header}be s {ip} 0 0 {port}\n\n");
            ServerState::parse(reply.as_bytes()).unwrap().remove(0).address
        };
        assert_eq!(parse("127.0.0.1", "8001").as_deref(), Some("127.0.0.1:8001"));
        assert_eq!(parse("::1", "8001").as_deref(), Some("[::1]:8001"));
        assert_eq!(parse("-", "0"), None);
    }

    #[test]
    fn damage_is_named() {
        let parse = |reply: String| ServerState::parse(reply.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            parse("2\n# be_id\n\n".into()),
            "unexpected reply: format version `2` is unknown, expected `1`"
        );
        assert_eq!(
            parse("1\nbe_id\n\n".into()),
            "unexpected reply: no header row that begins with `# be_id`"
        );
        assert_eq!(
            parse("1\n# be_id be_name\n\n".into()),
            "unexpected reply: column `srv_name` is missing in the header row"
        );
        assert_eq!(parse(format!("{HEADER}2 be 1 s\n\n")), "unexpected reply: row 1: field 6 is missing");
        assert_eq!(
            parse(format!("{HEADER}{}", row("s", 0, 0))),
            format!("the reply is cut off after {} bytes", HEADER.len() + row("s", 0, 0).len())
        );
    }

    proptest! {
        #[test]
        fn no_reply_makes_the_parser_panic(tail in "[ -~\n]{0,300}") {
            let _ = ServerState::parse(format!("{HEADER}{tail}\n\n").as_bytes());
            let _ = ServerState::parse(tail.as_bytes());
        }
    }
}
