use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use tempfile::TempDir;

use super::*;
use crate::sinks::Fault;

const LONG: Duration = Duration::from_secs(20);
const QUICK: Retry = Retry {
    retries: Some(1),
    interval: Duration::from_millis(1),
    backoff: 1.0,
    delay: Duration::from_millis(2),
};

/// Takes times while it is open.
struct Till {
    name: &'static str,
    is_open: Arc<AtomicBool>,
    got: Sender<(&'static str, u64)>,
}

impl Outlet<u64> for Till {
    fn deliver(&mut self, time: &u64) -> Result<(), SinkError> {
        if self.is_open.load(Ordering::SeqCst) {
            self.got.send((self.name, *time)).unwrap();
            return Ok(());
        }
        let fault = Fault::Broken { sent: 0, source: io::Error::other("closed") };
        Err(SinkError { sink: self.name, place: "here".into(), fault })
    }
}

/// A spool, with tills at its end.
struct Shop {
    directory: TempDir,
    spool: Spool,
    got: Receiver<(&'static str, u64)>,
    sender: Sender<(&'static str, u64)>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Shop {
    fn with(times: &[u64]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ready = directory.path().join("ready");
        let spool = Spool::open(&ready, &ready.join(".done")).unwrap();
        let (sender, got) = channel();
        let shop = Self { directory, spool, got, sender, said: Arc::default() };
        for time in times {
            shop.add(*time);
        }
        shop
    }

    fn add(&self, time: u64) {
        let draft = self.spool.draft(time).unwrap();
        fs::write(draft.path().join("a_info"), "Pid: 1\n\n").unwrap();
        self.spool.add(draft).unwrap();
    }

    fn till(&self, name: &'static str, is_open: bool) -> (Lane<u64>, Arc<AtomicBool>) {
        let is_open = Arc::new(AtomicBool::new(is_open));
        let outlet = Till { name, is_open: Arc::clone(&is_open), got: self.sender.clone() };
        (Lane { name, outlet: Box::new(outlet), retry: QUICK }, is_open)
    }

    fn start(&self, lanes: Vec<Lane<u64>>, endures: bool) -> Delivery<u64> {
        let read = |snapshot: &Snapshot| match fs::read_to_string(snapshot.path.join("a_info")) {
            Ok(text) if text == "Pid: 1\n\n" => Ok(snapshot.time),
            Ok(_) => Err(ReadError::Bad("a_info: no".into())),
            Err(_) => Err(ReadError::Gone),
        };
        let said = Arc::clone(&self.said);
        let tell = move |event: &Event<'_>| said.lock().unwrap().push(format!("{} {event}", event.level()));
        let delivery = Delivery::start(self.spool.clone(), lanes, (2, endures), read, tell).unwrap();
        delivery.refresh();
        delivery
    }

    fn left(&self) -> Vec<u64> {
        self.spool.snapshots().unwrap().into_iter().map(|snapshot| snapshot.time).collect()
    }

    fn got(&self) -> Vec<(&'static str, u64)> {
        self.got.try_iter().collect()
    }

    #[track_caller]
    fn wait_for(&self, text: &str, delivery: &Delivery<u64>) {
        let end = Instant::now() + LONG;
        while !self.has_said(text) {
            assert!(Instant::now() < end, "{:?}", self.said);
            let _ = delivery.is_idle(Duration::from_millis(1));
        }
    }

    fn has_said(&self, text: &str) -> bool {
        self.said.lock().unwrap().iter().any(|line| line.contains(text))
    }
}

#[test]
fn all_is_taken_in_order_and_leaves_the_spool() {
    let shop = Shop::with(&[30, 10, 20]);
    let delivery = shop.start(vec![shop.till("a", true).0], true);
    assert!(delivery.is_idle(LONG));
    shop.add(40);
    delivery.refresh();
    assert!(delivery.is_idle(LONG));
    assert_eq!(shop.got(), [("a", 10), ("a", 20), ("a", 30), ("a", 40)]);
    assert_eq!(shop.left(), [0; 0]);
    assert!(delivery.leave(LONG));
}

#[test]
fn who_is_down_is_in_nobodys_way_and_loses_nothing() {
    let shop = Shop::with(&[10, 20, 30]);
    let ((up, _), (down, is_open)) = (shop.till("up", true), shop.till("down", false));
    let delivery = shop.start(vec![up, down], true);
    let first: Vec<_> = (0..3).map(|_| shop.got.recv_timeout(LONG).unwrap()).collect();
    assert_eq!(first, [("up", 10), ("up", 20), ("up", 30)]);
    assert_eq!(shop.left(), [10, 20, 30]);
    let failed =
        "WARN down here: the connection broke after 0 bytes: closed; 3 snapshots wait in the spool, next";
    shop.wait_for(failed, &delivery);
    is_open.store(true, Ordering::SeqCst);
    assert!(delivery.is_idle(LONG));
    assert_eq!(shop.got(), [("down", 10), ("down", 20), ("down", 30)]);
    assert_eq!(shop.left(), [0; 0]);
    let failed =
        "WARN down here: the connection broke after 0 bytes: closed; 3 snapshots wait in the spool, next";
    assert!(shop.has_said(failed), "{:?}", shop.said);
    assert!(shop.has_said("INFO down: takes again after "), "{:?}", shop.said);
}

#[test]
fn what_one_has_is_not_its_again_after_a_restart() {
    let shop = Shop::with(&[10, 20]);
    let delivery = shop.start(vec![shop.till("up", true).0, shop.till("down", false).0], false);
    assert!(delivery.is_idle(LONG), "nobody waits for who has given up");
    assert_eq!(shop.got(), [("up", 10), ("up", 20)]);
    assert_eq!(shop.left(), [10, 20]);
    assert!(delivery.leave(LONG));
    let delivery = shop.start(vec![shop.till("up", true).0, shop.till("down", true).0], true);
    assert!(delivery.is_idle(LONG));
    assert_eq!(shop.got(), [("down", 10), ("down", 20)]);
    assert_eq!(shop.left(), [0; 0]);
}

#[test]
fn what_only_those_have_not_who_are_no_longer_there_leaves_the_spool() {
    let shop = Shop::with(&[10]);
    shop.spool.mark(&shop.spool.snapshots().unwrap()[0], "up").unwrap();
    let delivery = shop.start(vec![shop.till("up", true).0], true);
    assert!(delivery.is_idle(LONG));
    assert_eq!((shop.got(), shop.left()), (vec![], vec![]));
}

#[test]
fn what_cannot_be_understood_is_set_aside_and_the_rest_goes_on() {
    let shop = Shop::with(&[10, 20]);
    fs::write(shop.directory.path().join("ready/10/a_info"), "x").unwrap();
    let delivery = shop.start(vec![shop.till("a", true).0], true);
    assert!(delivery.is_idle(LONG));
    assert_eq!(shop.got(), [("a", 20)]);
    assert!(shop.directory.path().join("quarantine/10/reason").exists());
    assert!(shop.has_said("is of no use and now at"), "{:?}", shop.said);
}

#[test]
fn who_does_not_endure_gives_up_and_leaves_all_in_the_spool() {
    let shop = Shop::with(&[10]);
    let delivery = shop.start(vec![shop.till("a", false).0], false);
    assert!(delivery.is_idle(LONG), "no lane is left");
    assert_eq!(shop.left(), [10]);
    assert!(shop.has_said("1 snapshot waits in the spool, given up"), "{:?}", shop.said);
}

#[test]
fn a_failure_that_goes_on_is_said_once() {
    let shop = Shop::with(&[10]);
    let (lane, is_open) = shop.till("a", false);
    let delivery = shop.start(vec![lane], true);
    while shop.said.lock().unwrap().len() < 5 {
        assert!(!delivery.is_idle(Duration::from_millis(1)));
    }
    is_open.store(true, Ordering::SeqCst);
    assert!(delivery.is_idle(LONG));
    let said = shop.said.lock().unwrap();
    assert_eq!(said.iter().filter(|line| line.starts_with("WARN")).count(), 1, "{said:?}");
}

#[test]
fn a_snapshot_whose_marks_cannot_be_read_holds_up_nobody() {
    let shop = Shop::with(&[10, 20]);
    let marks = shop.directory.path().join("ready/10/.taken");
    fs::create_dir(&marks).unwrap();
    let delivery = shop.start(vec![shop.till("a", true).0], true);
    delivery.refresh();
    assert!(delivery.is_idle(LONG));
    assert_eq!(shop.got(), [("a", 20)]);
    let said = shop.said.lock().unwrap().clone();
    assert_eq!(said.iter().filter(|line| line.contains("10/.taken`: cannot be read")).count(), 1, "{said:?}");
    fs::remove_dir(&marks).unwrap();
    delivery.refresh();
    assert!(delivery.is_idle(LONG));
    assert_eq!(shop.got(), [("a", 10)]);
    assert!(shop.has_said("INFO spool: it can be read again"), "{:?}", shop.said);
}

#[test]
fn what_cannot_leave_the_spool_is_said_once_and_not_handed_over_again() {
    let shop = Shop::with(&[10, 20]);
    let done = shop.directory.path().join("ready/.done");
    fs::remove_dir(&done).unwrap();
    fs::write(&done, "in the way").unwrap();
    let delivery = shop.start(vec![shop.till("a", true).0], true);
    for _ in 0..3 {
        assert!(delivery.is_idle(LONG));
        delivery.refresh();
    }
    assert_eq!((shop.got(), shop.left()), (vec![("a", 10), ("a", 20)], vec![10, 20]));
    let said = shop.said.lock().unwrap().clone();
    assert_eq!(said.iter().filter(|line| line.starts_with("ERROR spool: ")).count(), 2, "{said:?}");
    fs::remove_file(&done).unwrap();
    delivery.refresh();
    assert_eq!((shop.got(), shop.left()), (vec![], vec![]));
}
