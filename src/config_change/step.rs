//! What a change does next. It decides from what is aimed at, what the files hold and what HAProxy made of them, and
//! from nothing else: so it goes on in the same way after it was killed, whenever that was.

/// Which configuration is to be in force at the end. The name of the journal tells, so that turning back needs no
/// room on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    New,
    Old,
}

/// What the files of a change hold, all in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Files {
    Old,
    New,
    /// Some are old and some are new.
    Mixed,
    /// One is neither: somebody else has changed it.
    Foreign,
}

/// What HAProxy made of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    Untried,
    Worked,
    Failed,
    /// There is no HAProxy: the files are all that counts.
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Put one more file into its place.
    Put,
    /// Have HAProxy take the files.
    Activate,
    /// Give up the new configuration, and aim at the old one.
    TurnBack,
    /// All is as aimed at.
    Close,
    /// Nothing had been put anywhere: there is nothing to undo.
    Forget,
    /// The old files are back, but HAProxy did not take them: the journal stays for the next try.
    GiveUp,
    /// Leave the files to whoever has changed them.
    Abandon,
}

/// What is next. `is_resumed` says that another process has begun it.
pub(super) fn next(aim: Aim, files: Files, activation: Activation, is_resumed: bool) -> Act {
    use Activation::{Failed, Nobody, Untried, Worked};
    match (aim, files, activation) {
        (_, Files::Foreign, _) => Act::Abandon,
        // It had changed nothing yet, and nobody waits for it any more.
        (Aim::New, Files::Old, Untried) if is_resumed => Act::Forget,
        // What no worker has ever taken is not left to a HAProxy that is yet to be started.
        (Aim::New, _, Failed | Nobody) => Act::TurnBack,
        (Aim::New, Files::Old | Files::Mixed, _) | (Aim::Old, Files::New | Files::Mixed, _) => Act::Put,
        (Aim::New, Files::New, Untried) | (Aim::Old, Files::Old, Untried) => Act::Activate,
        (Aim::New, Files::New, Worked) | (Aim::Old, Files::Old, Worked | Nobody) => Act::Close,
        (Aim::Old, Files::Old, Failed) => Act::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AIMS: [Aim; 2] = [Aim::New, Aim::Old];
    const FILES: [Files; 3] = [Files::Old, Files::New, Files::Mixed];

    /// Goes on to the end, with two files and a HAProxy that takes or refuses each of the two configurations.
    fn run(mut aim: Aim, mut new: [bool; 2], takes: [Activation; 2], is_resumed: bool) -> (Act, [bool; 2]) {
        let mut activation = Activation::Untried;
        for _ in 0..20 {
            let files = match new {
                [false, false] => Files::Old,
                [true, true] => Files::New,
                _ => Files::Mixed,
            };
            match next(aim, files, activation, is_resumed) {
                Act::Put => {
                    let wanted = aim == Aim::New;
                    let at = new.iter().position(|is_new| *is_new != wanted).expect("a file to put");
                    new[at] = wanted;
                }
                Act::Activate => activation = takes[usize::from(aim == Aim::New)],
                Act::TurnBack => (aim, activation) = (Aim::Old, Activation::Untried),
                end => return (end, new),
            }
        }
        panic!("it does not end: {aim:?} {new:?}");
    }

    #[test]
    fn wherever_it_goes_on_it_ends_with_one_configuration_whole() {
        use Activation::{Failed, Nobody, Worked};
        for aim in AIMS {
            for new in [[false, false], [true, false], [false, true], [true, true]] {
                for is_resumed in [false, true] {
                    let run = |old_is, new_is| run(aim, new, [old_is, new_is], is_resumed);
                    let has_begun = !is_resumed || aim == Aim::Old || new != [false; 2];
                    for outcome in [Worked, Failed, Nobody] {
                        let (act, files) = run(Worked, outcome);
                        assert_eq!(act, if has_begun { Act::Close } else { Act::Forget });
                        assert_eq!(files[0], files[1], "{aim:?} {new:?} {outcome:?}");
                        let finishes = aim == Aim::New && outcome == Worked && has_begun;
                        assert_eq!(files[0], finishes, "{aim:?} {new:?} {outcome:?} {is_resumed}");
                    }
                    let [failed, alone] =
                        if has_begun { [Act::GiveUp, Act::Close] } else { [Act::Forget; 2] };
                    assert_eq!(run(Failed, Failed), (failed, [false, false]));
                    assert_eq!(run(Nobody, Nobody), (alone, [false, false]));
                }
            }
        }
    }

    #[test]
    fn a_file_of_somebody_elses_is_left_alone() {
        for aim in AIMS {
            assert_eq!(next(aim, Files::Foreign, Activation::Untried, true), Act::Abandon);
        }
    }

    #[test]
    fn nothing_is_closed_before_haproxy_was_asked() {
        for aim in AIMS {
            for files in FILES {
                assert_ne!(next(aim, files, Activation::Untried, false), Act::Close);
                assert_ne!(next(aim, files, Activation::Untried, true), Act::Close);
            }
        }
    }
}
