//! Kafka's other end: brokers in kcat's process, and what a group has committed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddrV4;
use std::os::fd::RawFd;
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{Shutdown, SockaddrIn, getpeername, getsockname, shutdown};
use nix::unistd::Pid;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{DEADLINE, eventually};

/// Brokers in the process of another program.
pub(crate) struct Broker {
    kcat: Child,
    pub(crate) address: String,
}

/// Takes away the brokers that are simulated in this process. librdkafka does not mark the connections that it accepts
/// (`FD_CLOEXEC`): children of other tests have them, and would keep them open.
pub(crate) fn take_away<C: ClientContext>(brokers: &MockCluster<'_, C>) {
    let addresses = brokers.bootstrap_servers();
    let addresses: Vec<SockaddrIn> =
        addresses.split(',').map(|address| address.parse::<SocketAddrV4>().unwrap().into()).collect();
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let number: RawFd = entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
        let is_ours = getsockname::<SockaddrIn>(number).is_ok_and(|here| addresses.contains(&here));
        if is_ours && getpeername::<SockaddrIn>(number).is_ok() {
            // It may have ended by itself.
            let _ = shutdown(number, Shutdown::Both);
        }
    }
    wait_for_children();
    brokers.broker_down(-1).unwrap();
}

/// Until its exec, a child that another test starts has our listeners, too, and librdkafka ends the process where it
/// cannot bind a port of theirs anew.
fn wait_for_children() {
    let own = fs::read_link("/proc/self/exe").unwrap();
    eventually("children that are programs of their own", || {
        let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
        let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let children = lists.collect::<Vec<_>>().join(" ");
        let mut exes = children.split_whitespace().map(|pid| fs::read_link(format!("/proc/{pid}/exe")));
        (!exes.any(|exe| exe.is_ok_and(|exe| exe == own))).then_some(())
    });
}

/// With the library of its own: cargo points to the one that was built for us.
fn kcat() -> Command {
    let mut command = Command::new("kcat");
    command.env_remove("LD_LIBRARY_PATH");
    command
}

impl Broker {
    pub(crate) fn start() -> Self {
        let arguments = [
            "-C",
            "-E",
            "-u",
            "-t",
            "none",
            "-b",
            "x:1",
            "-X",
            "test.mock.num.brokers=1",
            "-X",
            "debug=mock",
        ];
        let mut kcat = kcat()
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("kcat: {error}; install it: apt-get install kcat"));
        let mut lines = BufReader::new(kcat.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address =
            lines.find_map(|line| line.split_once(" bootstrap.servers=").map(|(_, rest)| rest.to_owned()));
        // Somebody has to read on, or it stands still one day.
        thread::spawn(move || lines.for_each(drop));
        Self { kcat, address: address.expect("kcat tells where its brokers are") }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.kcat.id()).unwrap()), signal).unwrap();
    }
}

/// What a topic holds, as kcat shows it.
pub(crate) fn read_topic(brokers: &str, topic: &str, format: &str) -> String {
    let arguments = ["-C", "-e", "-q", "-o", "beginning", "-b", brokers, "-t", topic, "-f", format];
    let output = kcat().args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.kcat.kill();
        let _ = self.kcat.wait();
    }
}

/// What the group has committed, over all partitions, and what there is.
pub(crate) fn committed(brokers: &str, group: &str, topic: &str) -> (i64, i64) {
    let config = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let config: ClientConfig =
        [config("bootstrap.servers", brokers), config("group.id", group)].into_iter().collect();
    let consumer: BaseConsumer = config.create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), DEADLINE).unwrap();
    let partitions = i32::try_from(metadata.topics()[0].partitions().len()).unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, partitions - 1);
    let offsets = consumer.committed_offsets(list, DEADLINE).unwrap();
    let committed = offsets.elements().into_iter().map(|element| match element.offset() {
        Offset::Offset(offset) => offset,
        _ => 0,
    });
    let there =
        (0..partitions).map(|partition| consumer.fetch_watermarks(topic, partition, DEADLINE).unwrap().1);
    (committed.sum(), there.sum())
}
