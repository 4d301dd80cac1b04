//! What a large HAProxy says of itself: `show info` and `show stat` of 2.6, made up, the same in each run.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::Outcome;

/// How large an HAProxy is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) frontends: usize,
    pub(crate) backends: usize,
    /// In each backend.
    pub(crate) servers: usize,
}

/// 11,100 rows.
pub(crate) const LARGE: Size = Size { frontends: 100, backends: 1_000, servers: 10 };

impl Size {
    /// Of `show stat`.
    pub(crate) fn rows(self) -> usize {
        self.frontends + self.backends * (self.servers + 1)
    }

    /// The same with so many times its frontends and backends, in hundredths.
    pub(crate) fn percent(self, percent: usize) -> Self {
        let of = |count| count * percent / 100;
        Self { frontends: of(self.frontends), backends: of(self.backends), ..self }
    }

    /// The sections of a configuration for the same. Nobody asks for anything there.
    pub(crate) fn sections(self) -> Outcome<String> {
        let mut text = String::new();
        for frontend in 0..self.frontends {
            writeln!(text, "frontend {}\n bind unix@DIR/{frontend}.front", frontend_name(frontend))?;
        }
        for backend in 0..self.backends {
            writeln!(text, "backend {}", backend_name(backend))?;
            for server in 0..self.servers {
                writeln!(text, " server {} 127.0.0.1:1", server_name(backend, server))?;
            }
        }
        Ok(text)
    }
}

/// Writes the files of one snapshot of so many processes; gives how many bytes that is.
pub(crate) fn write(directory: &Path, processes: usize, size: Size) -> Outcome<usize> {
    let mut bytes = 0;
    for process in 1..=processes {
        for (what, text) in [("info", info(process)), ("stat", stat(process, size)?)] {
            bytes += text.len();
            fs::write(directory.join(format!("haproxy{process}.sock_{what}")), text)?;
        }
    }
    Ok(bytes)
}

const KEYS: &str = include_str!("../../tests/data/haproxystats/1457298067/admin1.sock_info");

/// `show info` of a process.
pub(crate) fn info(process: usize) -> String {
    KEYS.replace("Process_num: 1", &format!("Process_num: {process}"))
}

/// `show stat` of a process.
pub(crate) fn stat(process: usize, size: Size) -> Outcome<String> {
    let mut text = format!("{COLUMNS}\n");
    let mut counts = Counts(process.try_into()?);
    for frontend in 0..size.frontends {
        counts.row(&mut text, &frontend_name(frontend), "FRONTEND", FRONTEND)?;
    }
    for backend in 0..size.backends {
        let name = backend_name(backend);
        for server in 0..size.servers {
            counts.row(&mut text, &name, &server_name(backend, server), SERVER)?;
        }
        counts.row(&mut text, &name, "BACKEND", BACKEND)?;
    }
    text.push('\n');
    Ok(text)
}

fn frontend_name(frontend: usize) -> String {
    format!("frontend-{frontend:03}.example.com")
}

fn backend_name(backend: usize) -> String {
    format!("backend-{backend:04}")
}

fn server_name(backend: usize, server: usize) -> String {
    format!("server-{backend:04}-{server:02}")
}

/// As HAProxy 2.6 writes it.
const COLUMNS: &str = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,\
wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,\
rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,\
hanafail,req_rate,req_rate_max,req_tot,cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,\
last_agt,qtime,ctime,rtime,ttime,agent_status,agent_code,agent_duration,check_desc,agent_desc,check_rise,check_fall,\
check_health,agent_rise,agent_fall,agent_health,addr,cookie,mode,algo,conn_rate,conn_rate_max,conn_tot,intercepted,\
dcon,dses,wrew,connect,reuse,cache_lookups,cache_hits,srv_icur,src_ilim,qtime_max,ctime_max,rtime_max,ttime_max,eint,\
idle_conn_cur,safe_conn_cur,used_conn_cur,need_conn_est,uweight,agg_server_status,agg_server_check_status,\
agg_check_status,-,ssl_sess,ssl_reused_sess,ssl_failed_handshake,h2_headers_rcvd,h2_data_rcvd,h2_settings_rcvd,\
h2_rst_stream_rcvd,h2_goaway_rcvd,h2_detected_conn_protocol_errors,h2_detected_strm_protocol_errors,\
h2_rst_stream_resp,h2_goaway_resp,h2_open_connections,h2_backend_open_streams,h2_total_connections,\
h2_backend_total_streams,h1_open_connections,h1_open_streams,h1_total_connections,h1_total_streams,h1_bytes_in,\
h1_bytes_out,h1_spliced_bytes_in,h1_spliced_bytes_out,";

/// A frontend's fields after its name and type; `{}` stands for a count.
const FRONTEND: &str = ",,{},{},9985,{},{},{},{},0,{},,,,,OPEN,,,,,,,,,1,2,0,,,,0,{},0,{},,,,0,{},{},{},{},0,,{},{},{},,,0,\
0,0,0,,,,,,,,,,,,,,,,,,,,,http,,{},{},{},0,0,0,0,,,0,0,,,,,,,0,,,,,,,,,-,0,0,0,{},{},0,0,0,0,0,0,0,0,0,0,0,{},{},{},{},{},\
{},0,0,";
const SERVER: &str = "0,{},{},{},,{},{},{},,0,,{},0,{},0,UP,100,1,0,{},{},{},{},,1,3,1,,{},,2,{},,{},L7OK,200,1,0,{},{},{},{},0,\
,,,{},0,0,,,,,{},,,0,{},{},{},,,,Layer7 check passed,,2,3,4,,,,127.0.0.1:8080,,http,,,,,,,,0,{},{},,,0,,0,{},{},{},0,0,0,\
0,1,100,,,,-,0,0,0,,,,,,,,,,,,,,,,,,,,,,";
const BACKEND: &str = "0,{},{},{},999,{},{},{},0,0,,{},0,{},0,UP,1000,10,0,,{},{},0,,1,3,0,,{},,1,{},,{},,,,0,{},{},{},{},0,,,,{},\
0,0,0,0,0,0,{},,,0,{},{},{},,,,,,,,,,,,,,http,roundrobin,,,,,,,0,{},{},0,0,,,0,{},{},{},0,,,,,1000,10,0,0,-,0,0,0,0,0,0,0,\
0,0,0,0,0,0,0,0,0,{},{},{},{},{},{},0,0,";

/// Counts of all lengths, the same in each run.
struct Counts(u64);

impl Counts {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = self.0 >> 33;
        random % 10_u64.pow(u32::try_from((random >> 20) % 5).unwrap_or_default() * 2)
    }

    fn row(&mut self, text: &mut String, proxy: &str, server: &str, fields: &str) -> Outcome<()> {
        write!(text, "{proxy},{server},")?;
        for (number, part) in fields.split("{}").enumerate() {
            if number > 0 {
                write!(text, "{}", self.next() + 1)?;
            }
            text.push_str(part);
        }
        text.push('\n');
        Ok(())
    }
}
