//! What each HAProxy counts, as its socket gives it.

use std::io;
use std::time::Duration;

use super::peers::{MAX_REPLY, in_words};
use crate::haproxy::{Command, ReplyError, dump, info_and_stat};
use crate::net::{Endpoint, Limits, Question, Switchboard};

/// What one HAProxy process tells of itself; both texts are whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// `show info`.
    pub info: String,
    /// `show stat`.
    pub stat: String,
}

/// Asks all of them at the same time, each under this deadline, and gives the results in the same order; an error
/// says in words what kept one from answering.
pub fn statistics(endpoints: &[Endpoint], timeout: Duration) -> io::Result<Vec<Result<Statistics, String>>> {
    let mut board = Switchboard::new()?;
    let question = || Question {
        request: Command::Statistics.line().into_bytes(),
        limits: Limits { time: timeout, bytes: MAX_REPLY },
        ..Question::default()
    };
    let questions: Vec<_> =
        endpoints.iter().map(|endpoint| (board.connect(endpoint.clone()), question())).collect();
    let outcomes = board.ask_all(questions)?.into_iter();
    let results = outcomes.map(|outcome| {
        let said = outcome.map_err(|fault| in_words(&fault));
        said.and_then(|reply| understand(&reply).map_err(|error| error.to_string()))
            .map_err(|why| format!("{}: {why}", Command::Statistics))
    });
    Ok(results.collect())
}

fn understand(reply: &[u8]) -> Result<Statistics, ReplyError> {
    let text = dump(reply)?;
    let (info, stat) = info_and_stat(&text)?;
    Ok(Statistics { info: info.to_owned(), stat: stat.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_texts_have_to_be_there_and_whole() {
        let read = |reply: &str| understand(reply.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(
            read("Pid: 7\n\n# pxname,svname,\na,b,\n\n"),
            Ok(Statistics { info: "Pid: 7\n\n".into(), stat: "# pxname,svname,\na,b,\n\n".into() })
        );
        for (reply, error) in [
            ("", "the connection was closed without a reply"),
            ("Pid: 7\n\n", "unexpected reply: no header row that begins with `# pxname,`"),
            ("Pid: 7\n\n# pxname,svname,\na,b,\n", "the reply is cut off after 30 bytes"),
        ] {
            assert_eq!(read(reply), Err(error.into()), "{reply:?}");
        }
    }
}
