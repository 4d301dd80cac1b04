//! From parts to whole snapshots. Parts may come in any order and more than once, and those of several snapshots
//! between each other. What does not become whole, because nothing more of it comes or because too much waits, is given
//! up with a word on why.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::ledger::Ticket;
use super::part::{Damage, Id, Part};

/// What an assembler may cost.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Bytes that wait for the rest of their snapshots.
    pub bytes: usize,
    /// How long the next part of a snapshot may take.
    pub patience: Duration,
}

/// Snapshots that are not whole yet.
#[derive(Debug)]
pub struct Assembler {
    caps: Caps,
    open: BTreeMap<Id, Open>,
    bytes: usize,
    last: u64,
}

/// A snapshot, with all that has come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    /// What its messages wait for.
    pub ticket: Ticket,
    /// Which.
    pub id: Id,
    /// Its cluster.
    pub cluster: Option<String>,
    /// Names and bytes.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// What a part has led to.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// What its message waits for.
    pub ticket: Ticket,
    /// Its snapshot, if this was the last of it.
    pub whole: Option<Collected>,
    /// Snapshots that had to make room, each with what there was of it.
    pub given_up: Vec<Collected>,
}

#[derive(Debug)]
struct Open {
    ticket: Ticket,
    cluster: Option<String>,
    expected: u32,
    files: BTreeMap<String, Pieces>,
    bytes: usize,
    partitions: BTreeSet<i32>,
    last: Instant,
}

#[derive(Debug)]
struct Pieces {
    parts: u32,
    found: BTreeMap<u32, Vec<u8>>,
}

impl Assembler {
    /// Of nothing, yet.
    #[must_use]
    pub fn new(caps: Caps) -> Self {
        Self { caps, open: BTreeMap::new(), bytes: 0, last: 0 }
    }

    /// Takes a part that was read from a partition.
    pub fn take(
        &mut self,
        now: Instant,
        partition: i32,
        part: &Part,
        payload: &[u8],
    ) -> Result<Taken, Damage> {
        let last = &mut self.last;
        let open = self.open.entry(part.id.clone()).or_insert_with(|| {
            *last += 1;
            Open::new(Ticket(*last), part, now)
        });
        open.agrees(part)?;
        self.bytes += open.add(partition, part, payload);
        open.last = now;
        let ticket = open.ticket;
        let whole = if open.is_whole() { self.remove(&part.id) } else { None };
        Ok(Taken { ticket, whole, given_up: self.make_room() })
    }

    /// Gives up what nothing more has come of for too long.
    pub fn expire(&mut self, now: Instant) -> Vec<Collected> {
        let patience = self.caps.patience;
        let late = self.open.iter().filter(|(_, open)| now.saturating_duration_since(open.last) > patience);
        let late: Vec<Id> = late.map(|(id, _)| id.clone()).collect();
        late.iter().filter_map(|id| self.remove(id)).collect()
    }

    /// No parts were looked for until now.
    pub fn excuse(&mut self, now: Instant) {
        for open in self.open.values_mut() {
            open.last = now;
        }
    }

    /// The partition is another's now, who reads from the first part of what is not whole.
    pub fn forget(&mut self, partition: i32) {
        let gone = self.open.iter().filter(|(_, open)| open.partitions.contains(&partition));
        for id in gone.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.remove(&id);
        }
    }

    /// Those go first of which nothing has come for the longest time.
    fn make_room(&mut self) -> Vec<Collected> {
        let mut gone = Vec::new();
        while self.bytes > self.caps.bytes {
            let oldest = self.open.iter().min_by_key(|(_, open)| open.last).map(|(id, _)| id.clone());
            let Some(oldest) = oldest else { break };
            gone.extend(self.remove(&oldest));
        }
        gone
    }

    fn remove(&mut self, id: &Id) -> Option<Collected> {
        let open = self.open.remove(id)?;
        self.bytes -= open.bytes;
        let files = open.files.into_iter().map(|(name, pieces)| (name, pieces.joined())).collect();
        Some(Collected { ticket: open.ticket, id: id.clone(), cluster: open.cluster, files })
    }
}

impl Open {
    fn new(ticket: Ticket, part: &Part, now: Instant) -> Self {
        Self {
            ticket,
            cluster: part.cluster.clone(),
            expected: part.files,
            files: BTreeMap::new(),
            bytes: 0,
            partitions: BTreeSet::new(),
            last: now,
        }
    }

    fn agrees(&self, part: &Part) -> Result<(), Damage> {
        let known = self.files.get(&part.file);
        let is_full = u32::try_from(self.files.len()).is_ok_and(|count| count >= self.expected);
        if self.cluster != part.cluster {
            Err(Damage::Contradiction("cluster"))
        } else if self.expected != part.files || (known.is_none() && is_full) {
            Err(Damage::Contradiction("files"))
        } else if known.is_some_and(|pieces| pieces.parts != part.parts) {
            Err(Damage::Contradiction("parts"))
        } else {
            Ok(())
        }
    }

    /// Gives the bytes that are new. What was there stays: it was sent twice.
    fn add(&mut self, partition: i32, part: &Part, payload: &[u8]) -> usize {
        self.partitions.insert(partition);
        let pieces = self
            .files
            .entry(part.file.clone())
            .or_insert_with(|| Pieces { parts: part.parts, found: BTreeMap::new() });
        if pieces.found.contains_key(&part.part) {
            return 0;
        }
        pieces.found.insert(part.part, payload.to_vec());
        self.bytes += payload.len();
        payload.len()
    }

    fn is_whole(&self) -> bool {
        let all = |pieces: &Pieces| u32::try_from(pieces.found.len()) == Ok(pieces.parts);
        u32::try_from(self.files.len()) == Ok(self.expected) && self.files.values().all(all)
    }
}

impl Pieces {
    fn joined(self) -> Vec<u8> {
        let mut parts = self.found.into_values();
        let mut bytes = parts.next().unwrap_or_default();
        parts.for_each(|part| bytes.extend(part));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAPS: Caps = Caps { bytes: 1000, patience: Duration::from_secs(60) };

    fn id(host: &str) -> Id {
        Id { host: host.into(), time: 1000, number: 0 }
    }

    fn part(host: &str, file: &str, part: u32, parts: u32) -> Part {
        Part { id: id(host), cluster: None, files: 2, file: file.into(), part, parts }
    }

    fn take(assembler: &mut Assembler, part: &Part, payload: &str) -> Taken {
        assembler.take(Instant::now(), 0, part, payload.as_bytes()).unwrap()
    }

    fn text(whole: &Collected) -> String {
        let file = |(name, bytes): (&String, &Vec<u8>)| format!("{name}={}", String::from_utf8_lossy(bytes));
        whole.files.iter().map(file).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn parts_of_two_hosts_in_any_order_and_twice_make_two_snapshots() {
        let mut assembler = Assembler::new(CAPS);
        let b = take(&mut assembler, &part("b", "x_stat", 1, 1), "B").ticket;
        for _ in 0..2 {
            assert_eq!(take(&mut assembler, &part("a", "x_stat", 2, 2), "2").whole, None);
        }
        take(&mut assembler, &part("a", "x_info", 1, 1), "");
        let taken = take(&mut assembler, &part("a", "x_stat", 1, 2), "1");
        let whole = taken.whole.unwrap();
        assert_eq!((text(&whole).as_str(), whole.ticket), ("x_info= x_stat=12", taken.ticket));
        assert_ne!(b, taken.ticket);
        let whole = take(&mut assembler, &part("b", "x_info", 1, 1), "I").whole.unwrap();
        assert_eq!((text(&whole).as_str(), whole.ticket), ("x_info=I x_stat=B", b));
        assert_eq!((assembler.bytes, assembler.open.len()), (0, 0));
    }

    #[test]
    fn what_contradicts_itself_is_refused_and_harms_nothing() {
        let mut assembler = Assembler::new(CAPS);
        take(&mut assembler, &part("a", "x_info", 1, 2), "1");
        take(&mut assembler, &part("a", "x_stat", 1, 1), "s");
        let now = Instant::now();
        for (part, on) in [
            (part("a", "x_info", 2, 3), "parts"),
            (part("a", "y_info", 1, 1), "files"),
            (Part { files: 3, ..part("a", "x_info", 2, 2) }, "files"),
            (Part { cluster: Some("c".into()), ..part("a", "x_info", 2, 2) }, "cluster"),
        ] {
            assert_eq!(assembler.take(now, 0, &part, &[0]), Err(Damage::Contradiction(on)));
        }
        let whole = take(&mut assembler, &part("a", "x_info", 2, 2), "2").whole.unwrap();
        assert_eq!(text(&whole), "x_info=12 x_stat=s");
    }

    #[test]
    fn what_does_not_become_whole_is_given_up() {
        let mut assembler = Assembler::new(CAPS);
        let now = Instant::now();
        let ticket = assembler.take(now, 0, &part("a", "x_info", 1, 2), &[1]).unwrap().ticket;
        assert_eq!(assembler.expire(now + CAPS.patience), []);
        let late = now + CAPS.patience + Duration::from_secs(1);
        assembler.excuse(late);
        assert_eq!(assembler.expire(late), []);
        let gone = assembler.expire(late + CAPS.patience * 2);
        assert_eq!(gone.iter().map(|gone| gone.ticket).collect::<Vec<_>>(), [ticket]);
        assert_eq!(assembler.bytes, 0);
    }

    #[test]
    fn memory_has_a_limit_and_the_oldest_makes_room() {
        let mut assembler = Assembler::new(CAPS);
        let now = Instant::now();
        for (at, host) in ["a", "b", "c"].into_iter().enumerate() {
            let now = now + Duration::from_secs(at as u64);
            let taken = assembler.take(now, 0, &part(host, "x_info", 1, 2), &[0; 400]).unwrap();
            let gone: Vec<String> = taken.given_up.into_iter().map(|gone| gone.id.host).collect();
            assert_eq!(gone, if host == "c" { vec!["a"] } else { vec![] });
        }
        let taken = assembler.take(now, 0, &part("z", "x_info", 1, 2), &[0; 5000]).unwrap();
        assert_eq!(taken.given_up.len(), 1, "itself alone: {taken:?}");
    }

    #[test]
    fn what_was_read_from_a_partition_goes_with_it() {
        let mut assembler = Assembler::new(CAPS);
        let now = Instant::now();
        assembler.take(now, 1, &part("a", "x_info", 1, 1), &[1]).unwrap();
        assembler.take(now, 2, &part("b", "x_info", 1, 1), &[1]).unwrap();
        assembler.forget(1);
        assert_eq!(assembler.open.keys().map(|id| id.host.as_str()).collect::<Vec<_>>(), ["b"]);
    }

    proptest! {
        #[test]
        fn each_snapshot_becomes_whole_once_and_is_what_was_sent(
            lengths in prop::collection::vec(prop::collection::vec(0..40_usize, 1..4), 1..5),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        ) {
            let mut sent = Vec::new();
            for (host, files) in lengths.iter().enumerate() {
                for (file, length) in files.iter().enumerate() {
                    let bytes: Vec<u8> = (0..*length).map(|at| u8::try_from(at * 7 + file).unwrap_or(1)).collect();
                    let chunks: Vec<&[u8]> = if bytes.is_empty() { vec![&[]] } else { bytes.chunks(10).collect() };
                    for (at, chunk) in chunks.iter().enumerate() {
                        let part = Part {
                            files: u32::try_from(files.len()).unwrap(),
                            ..part(&host.to_string(), &format!("{file}_stat"), u32::try_from(at + 1).unwrap(), u32::try_from(chunks.len()).unwrap())
                        };
                        sent.push((part, chunk.to_vec(), bytes.clone()));
                    }
                }
            }
            for index in order {
                let at = index.index(sent.len());
                sent.swap(0, at);
            }
            let mut assembler = Assembler::new(Caps { bytes: 1 << 20, ..CAPS });
            let mut wholes = BTreeMap::new();
            for (part, payload, _) in &sent {
                let taken = assembler.take(Instant::now(), 0, part, payload).unwrap();
                if let Some(whole) = taken.whole {
                    prop_assert!(wholes.insert(whole.id.host.clone(), whole).is_none());
                }
            }
            prop_assert_eq!(wholes.len(), lengths.len());
            for (part, _, bytes) in &sent {
                prop_assert_eq!(&wholes[&part.id.host].files[&part.file], bytes);
            }
            prop_assert_eq!(assembler.bytes, 0);
        }
    }
}
