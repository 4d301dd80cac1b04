//! One change of the configuration on its way. Each call of [`Transaction::advance`] does one thing, and between any
//! two of them the process may be killed: [`super::step`] decides how it goes on from what it finds.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use super::archive::{ArchiveError, How, Journal, Turn};
use super::desk::{Activated, ChangeError, Desk, Done, Peer};
use super::digest::Digest;
use super::files;
use super::history::Version;
use super::step::{self, Act, Activation, Aim, Files};

/// A change under way.
#[derive(Debug)]
pub(super) struct Transaction {
    journal: Journal,
    /// The files as HAProxy is told of them, in the order of the journal's.
    names: Vec<PathBuf>,
    contents: BTreeMap<PathBuf, Vec<u8>>,
    /// What is to be done before the first file is put into its place.
    preparations: VecDeque<Preparation>,
    aim: Aim,
    activation: Activation,
    is_resumed: bool,
    /// Why it turned back.
    why: String,
    /// Why HAProxy did not take the old files then.
    then: String,
}

#[derive(Clone, Copy, Debug)]
enum Preparation {
    /// New contents beside their places, old ones under a second name.
    Draft,
    /// `haproxy -c` over the files as they would be.
    Validate,
    /// New contents into the archive.
    Keep,
    /// The journal: from here on, the next one goes on with it.
    Announce,
}

/// How far it is.
#[derive(Debug)]
pub(super) enum Progress {
    Going,
    Ended(Done),
}

impl Transaction {
    pub(super) fn begin(
        how: How,
        turns: Vec<(PathBuf, Turn)>,
        contents: BTreeMap<PathBuf, Vec<u8>>,
        version: Version,
    ) -> Self {
        use Preparation::{Announce, Draft, Keep, Validate};
        let (names, files) = turns.into_iter().unzip();
        Self {
            journal: Journal { how, files, version },
            names,
            contents,
            preparations: [Draft, Validate, Keep, Announce].into(),
            aim: Aim::New,
            activation: Activation::Untried,
            is_resumed: false,
            why: String::new(),
            then: String::new(),
        }
    }

    /// Goes on with one that was cut off.
    pub(super) fn resume(aim: Aim, journal: Journal) -> Self {
        Self {
            journal,
            names: Vec::new(),
            contents: BTreeMap::new(),
            preparations: VecDeque::new(),
            aim,
            activation: Activation::Untried,
            is_resumed: true,
            why: "it was cut off".into(),
            then: String::new(),
        }
    }

    /// Does one thing more.
    pub(super) fn advance<P: Peer>(&mut self, desk: &mut Desk<P>) -> Result<Progress, ChangeError> {
        match self.preparations.pop_front() {
            Some(preparation) => self.prepare(preparation, desk).inspect_err(|_| {
                self.sweep();
                // The first error is the one to tell, and what stays is removed by the next change.
                let _ = desk.archive.end();
            }),
            None => self.step(desk),
        }
    }

    // --- before the first file is put into its place

    fn prepare<P: Peer>(
        &mut self,
        preparation: Preparation,
        desk: &mut Desk<P>,
    ) -> Result<Progress, ChangeError> {
        match preparation {
            Preparation::Draft => self.draft()?,
            Preparation::Validate => self.validate(desk)?,
            Preparation::Keep => {
                for turn in &self.journal.files {
                    if let Some(bytes) = self.contents.get(&turn.path) {
                        desk.archive.keep(&turn.path, turn.mode, bytes)?;
                    }
                }
            }
            Preparation::Announce => desk.archive.announce(&self.journal)?,
        }
        Ok(Progress::Going)
    }

    fn draft(&self) -> Result<(), ChangeError> {
        for turn in &self.journal.files {
            if let Some(bytes) = self.contents.get(&turn.path) {
                files::write(&files::draft_of(&turn.path), bytes, turn.mode, &turn.path)?;
            }
            if turn.old.is_some() {
                files::keep(&turn.path, &files::spare_of(&turn.path))?;
            }
        }
        Ok(())
    }

    /// The map is not among the files: HAProxy reads it by the path that the operator's file names, so its draft is not
    /// seen here. It is made of nothing but checked words.
    fn validate<P: Peer>(&self, desk: &mut Desk<P>) -> Result<(), ChangeError> {
        if self.journal.how != How::Reload {
            return Ok(());
        }
        let turns = self.names.iter().zip(&self.journal.files);
        let drafts: Vec<(PathBuf, Option<PathBuf>)> = turns
            .map(|(name, turn)| (name.clone(), turn.new.as_ref().map(|_| files::draft_of(&turn.path))))
            .collect();
        let files = desk.set.with(&drafts);
        let named = |text: &str| with_final_names(text, &drafts);
        let checked = desk.peer.check(&files).map_err(|why| ChangeError::Unchecked(named(&why)))?;
        if checked.is_valid { Ok(()) } else { Err(ChangeError::Invalid(named(&checked.said))) }
    }

    /// What lay beside the places. The next change removes what cannot be removed now.
    fn sweep(&self) {
        for turn in &self.journal.files {
            let _ = files::remove(&files::draft_of(&turn.path));
            let _ = files::remove(&files::spare_of(&turn.path));
        }
    }

    // --- from the first file on

    fn step<P: Peer>(&mut self, desk: &mut Desk<P>) -> Result<Progress, ChangeError> {
        let (files, foreign) = self.look().map_err(|error| ChangeError::Halfway(error.to_string()))?;
        match step::next(self.aim, files, self.activation, self.is_resumed) {
            Act::Put => self.put(desk)?,
            Act::Activate => self.activate(desk),
            Act::TurnBack => {
                desk.archive.turn_back().map_err(|error| self.halfway(&error))?;
                (self.aim, self.activation) = (Aim::Old, Activation::Untried);
            }
            Act::Close => return self.close(desk),
            Act::Forget => {
                self.aim = Aim::Old;
                return self.close(desk);
            }
            Act::GiveUp => {
                return Err(ChangeError::Stuck { why: self.why.clone(), then: self.then.clone() });
            }
            Act::Abandon => {
                self.sweep();
                desk.archive.end().map_err(|error| self.halfway(&error))?;
                return Err(ChangeError::Foreign(foreign));
            }
        }
        Ok(Progress::Going)
    }

    /// What the files hold; and the one that somebody else has changed.
    fn look(&self) -> Result<(Files, String), files::FileFault> {
        let (mut old, mut new) = (0, 0);
        for turn in &self.journal.files {
            let digest = files::read(&turn.path)?.map(|bytes| Digest::of(&bytes));
            match () {
                () if digest == turn.new => new += 1,
                () if digest == turn.old => old += 1,
                () => return Ok((Files::Foreign, format!("`{}`", turn.path.display()))),
            }
        }
        let files = match (old, new) {
            (_, 0) => Files::Old,
            (0, _) => Files::New,
            _ => Files::Mixed,
        };
        Ok((files, String::new()))
    }

    /// Puts the next file into its place: back again in the opposite order.
    fn put<P: Peer>(&mut self, desk: &mut Desk<P>) -> Result<(), ChangeError> {
        let aim = self.aim;
        let mut turns: Vec<&Turn> = self.journal.files.iter().collect();
        if aim == Aim::Old {
            turns.reverse();
        }
        let put = turns.into_iter().find_map(|turn| place(turn, aim, desk).transpose());
        match (put, aim) {
            (Some(Err(error)), Aim::New) => {
                self.why = error.to_string();
                self.activation = Activation::Failed;
                Ok(())
            }
            (Some(Err(error)), Aim::Old) => Err(self.halfway(&error)),
            _ => Ok(()),
        }
    }

    fn activate<P: Peer>(&mut self, desk: &mut Desk<P>) {
        let (activation, why) = match desk.peer.activate(&self.journal.how) {
            Activated::Worked => (Activation::Worked, String::new()),
            Activated::Nobody(why) if self.is_resumed => (Activation::Nobody, why),
            // Whoever has gone was there when the change began.
            Activated::Failed(why) | Activated::Nobody(why) => (Activation::Failed, why),
        };
        self.activation = activation;
        match self.aim {
            Aim::New => self.why = why,
            Aim::Old => self.then = why,
        }
    }

    /// Only what is left beside the places is removed before the journal ends: all else could be needed again.
    fn close<P: Peer>(&mut self, desk: &mut Desk<P>) -> Result<Progress, ChangeError> {
        let version = self.journal.version.number;
        if self.aim == Aim::New {
            desk.archive.accept(version).map_err(|error| self.halfway(&error))?;
        }
        self.sweep();
        desk.archive.end().map_err(|error| self.halfway(&error))?;
        match self.aim {
            Aim::New => Ok(Progress::Ended(Done {
                version: Some(version),
                is_reloaded: self.journal.how == How::Reload,
            })),
            Aim::Old => Err(ChangeError::Undone(self.why.clone())),
        }
    }

    fn halfway(&self, error: &ArchiveError) -> ChangeError {
        let why = if self.why.is_empty() { String::new() } else { format!("{}\n", self.why) };
        ChangeError::Halfway(format!("{why}the change is neither finished nor undone: {error}"))
    }
}

/// Puts one file into its place if it is not there; `None` where it is.
fn place<P>(turn: &Turn, aim: Aim, desk: &Desk<P>) -> Result<Option<()>, ArchiveError> {
    let wanted = if aim == Aim::New { &turn.new } else { &turn.old };
    let has = |path: &Path| Ok::<_, ArchiveError>(files::read(path)?.map(|bytes| Digest::of(&bytes)));
    if has(&turn.path)? == *wanted {
        return Ok(None);
    }
    let Some(digest) = wanted else {
        files::remove(&turn.path)?;
        files::sync_directory(&turn.path)?;
        return Ok(Some(()));
    };
    let beside = [files::draft_of(&turn.path), files::spare_of(&turn.path)];
    for candidate in &beside {
        if has(candidate)?.as_ref() == Some(digest) {
            files::rename(candidate, &turn.path)?;
            return Ok(Some(()));
        }
    }
    // Somebody has removed it.
    let [draft, _] = &beside;
    files::write(draft, &desk.archive.content(&turn.path, digest)?, turn.mode, &turn.path)?;
    files::rename(draft, &turn.path)?;
    Ok(Some(()))
}

/// HAProxy names the file that it was given; the operator knows the one that it is to become.
fn with_final_names(said: &str, drafts: &[(PathBuf, Option<PathBuf>)]) -> String {
    drafts.iter().fold(said.to_owned(), |said, (target, draft)| match draft {
        Some(draft) => said.replace(&draft.display().to_string(), &target.display().to_string()),
        None => said,
    })
}
