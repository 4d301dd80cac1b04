//! A look at HAProxy with 10,000 servers: what it costs to read the reply and to compare it with the last one.
//! The rows are those of a real HAProxy with two servers, repeated under other names.

#![allow(clippy::print_stdout, reason = "a table is what a bench is for")]

mod rig;

use std::hint::black_box;
use std::time::{Duration, Instant};

use rig::Outcome;
use rig::figures::{Table, Times, aim, millis};
use rig::haproxy::{self, Haproxy};
use supervisor_haproxy::haproxy::Survey;
use supervisor_haproxy::watch::Transitions;

const SERVERS: usize = 10_000;
const BACKENDS: usize = 100;
const ROUNDS: usize = 20;
/// Every so many servers go down and up again between two looks.
const CHANGING: usize = 100;
const AIM: Duration = Duration::from_millis(10);

/// The check of the second server is refused at once: a row with as much text as rows have.
const SECTIONS: &str =
    "backend app\n server plain 127.0.0.1:1\n server checked 127.0.0.1:1 check inter 100ms fall 1\n";

fn main() -> Outcome<()> {
    if !rig::is_asked_for() {
        return Ok(());
    }
    let sample = Sample::take()?;
    let replies = [sample.reply(false), sample.reply(true)];
    let (parse, compare) = measure(&replies)?;
    tell(&sample, replies.each_ref().map(String::len), &parse, &compare);
    Ok(())
}

/// What a real HAProxy replies.
struct Sample {
    info: String,
    header: String,
    plain: String,
    checked: String,
}

impl Sample {
    fn take() -> Outcome<Self> {
        let haproxy = Haproxy::start(SECTIONS)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let reply = haproxy::ask(&haproxy.socket(), "show info;show stat -1 4 -1")?;
            if reply.contains("L4CON") {
                return Self::cut(&reply).ok_or_else(|| "HAProxy's reply is of another form".into());
            }
            if Instant::now() >= deadline {
                return Err("HAProxy has not checked its server".into());
            }
        }
    }

    fn cut(reply: &str) -> Option<Self> {
        let (info, stat) = reply.split_at(reply.find("# pxname,")?);
        let mut lines = stat.lines();
        let header = lines.next()?.to_owned();
        let mut row = |name| lines.next()?.strip_prefix(name).map(str::to_owned);
        let (plain, checked) = (row("app,plain,")?, row("app,checked,")?);
        Some(Self { info: info.to_owned(), header, plain, checked })
    }

    /// The reply for many servers, every other of them checked; `later`, some have changed.
    fn reply(&self, later: bool) -> String {
        let mut text = format!("{}{}\n", self.info, self.header);
        let up = self.checked.replace(",DOWN,", ",UP,");
        for number in 0..SERVERS {
            let row = match number % 2 {
                0 => &self.plain,
                _ if later && number % CHANGING == 1 => &self.checked,
                _ => &up,
            };
            let backend = number * BACKENDS / SERVERS;
            text.extend([format!("backend-{backend:02},server-{number:05},"), row.clone(), "\n".into()]);
        }
        text + "\n"
    }
}

fn measure(replies: &[String; 2]) -> Outcome<(Times, Times)> {
    let (mut parse, mut compare) = (Times::default(), Times::default());
    let mut transitions = Transitions::default();
    for round in 0..=ROUNDS {
        let [first, second] = replies;
        let reply = black_box(if round % 2 == 0 { first } else { second });
        let begun = Instant::now();
        let survey = Survey::parse(reply.as_bytes())?;
        let parsed = Instant::now();
        let changed = transitions.observe(parsed, &survey.rows).len();
        let compared = parsed.elapsed();
        expect(round, survey.rows.len(), changed)?;
        // The first round has nothing to compare with.
        if round > 0 {
            parse.push(parsed - begun);
            compare.push(compared);
        }
    }
    Ok((parse, compare))
}

fn expect(round: usize, rows: usize, changed: usize) -> Outcome<()> {
    let expected = if round == 0 { 0 } else { SERVERS / CHANGING };
    let is_right = (rows, changed) == (SERVERS, expected);
    if is_right { Ok(()) } else { Err(format!("{rows} rows, {changed} transitions").into()) }
}

fn tell(sample: &Sample, bytes: [usize; 2], parse: &Times, compare: &Times) {
    let columns = sample.header.trim_end_matches(',').split(',').count();
    let mut table = Table::new(
        format!(
            "`show info;show stat` of {SERVERS} servers: {columns} columns, {} bytes; {} servers change",
            bytes.iter().max().copied().unwrap_or_default(),
            SERVERS / CHANGING
        ),
        &["", "median", "min", "max", "aim"],
    );
    let mut row = |what: &str, times: &Times, aim: String| {
        table.row([what.into(), millis(times.median()), millis(times.min()), millis(times.max()), aim]);
    };
    row("parse", parse, String::new());
    row("compare", compare, String::new());
    let both = parse.median() + compare.median();
    table.row(["both".into(), millis(both), String::new(), String::new(), aim("≤ 10 ms", both <= AIM)]);
    table.print();
}
