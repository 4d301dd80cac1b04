//! supervisord's XML-RPC: performs what [`Inquiry`] decides, one call at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{debug, info, warn};
use mio::{Registry, Token, Waker};

use crate::agent::{Inquiry, Mark, Question};
use crate::net::{Caller, Limits, Outcome};
use crate::supervisor::{self, Call, Credentials, Pid, ProcessInfo, RpcError, ServerUrl, is_whole};

/// supervisord answers within milliseconds; the last call before the end has a shorter limit.
const TIMEOUT: Duration = Duration::from_secs(2);
const LAST_TIMEOUT: Duration = Duration::from_secs(1);
/// A list of processes has 2 KB for each.
const MAX_REPLY: usize = 64 * 1024 * 1024;

/// supervisord tells its children where it is, but not how to get in.
const CREDENTIALS: &str = "set SUPERVISOR_USERNAME and SUPERVISOR_PASSWORD in the listener's `environment=`";

/// What supervisord said.
#[derive(Debug)]
pub(super) enum News {
    /// Its own pid.
    Identity(Pid),
    /// All processes, as asked for at the mark.
    Processes(Mark, Vec<ProcessInfo>),
    /// It shuts down or restarts.
    ShuttingDown,
    /// The last question found no answer; in words.
    Gone(String),
}

#[derive(Debug)]
pub(super) struct Inquirer {
    name: String,
    caller: Caller,
    credentials: Option<Credentials>,
    inquiry: Inquiry,
    asked: Option<(Question, Mark)>,
    is_last: bool,
}

impl Inquirer {
    pub(super) fn new(
        url: &ServerUrl,
        interval: Option<Duration>,
        now: Instant,
        token: Token,
        waker: Arc<Waker>,
    ) -> Self {
        Self {
            name: format!("supervisord {}", url.endpoint),
            caller: Caller::new(url.endpoint.clone(), token, waker),
            credentials: url.credentials.clone(),
            inquiry: Inquiry::new(now, interval),
            asked: None,
            is_last: false,
        }
    }

    /// See [`Inquiry::want_sync`].
    pub(super) fn want_sync(&mut self, now: Instant) {
        self.inquiry.want_sync(now);
    }

    /// Asks what is due, if nothing is under way.
    pub(super) fn start(
        &mut self,
        now: Instant,
        registry: &Registry,
        in_transition: bool,
        mark: Mark,
    ) -> Option<News> {
        if self.is_last {
            return None;
        }
        let question = self.inquiry.next(now, in_transition)?;
        self.ask(question, mark, TIMEOUT, now, registry)
    }

    /// Asks for all processes a last time, whatever is under way. There will be news within a second.
    pub(super) fn ask_last(&mut self, now: Instant, registry: &Registry, mark: Mark) -> Option<News> {
        self.is_last = true;
        self.ask(Question::Processes, mark, LAST_TIMEOUT, now, registry)
    }

    /// Goes on after its token was reported, its deadline has passed or a name was resolved.
    pub(super) fn advance(&mut self, now: Instant, registry: &Registry) -> Option<News> {
        let outcome = self.caller.advance(now, registry)?;
        self.finish(now, outcome)
    }

    /// When to call [`Self::advance`] or [`Self::start`] at the latest.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.caller.deadline().or_else(|| self.inquiry.due_at().filter(|_| !self.is_last))
    }

    fn ask(
        &mut self,
        question: Question,
        mark: Mark,
        time: Duration,
        now: Instant,
        registry: &Registry,
    ) -> Option<News> {
        self.asked = Some((question, mark));
        let request = call(question).request(self.credentials.as_ref());
        let limits = Limits { time, bytes: MAX_REPLY };
        let outcome = self.caller.call(crate::net::Question { request, is_whole, limits }, now, registry)?;
        self.finish(now, outcome)
    }

    fn finish(&mut self, now: Instant, outcome: Outcome) -> Option<News> {
        let (question, mark) = self.asked.take()?;
        let news = match outcome {
            Err(fault) => Err(fault.to_string()),
            Ok(reply) => match read(question, mark, &reply) {
                Ok(news) => Ok(news),
                Err(RpcError::ShuttingDown) => Ok(Some(News::ShuttingDown)),
                // Another supervisord that lacks this call answers all the same.
                Err(RpcError::Fault { .. }) if question == Question::Identity => Ok(None),
                Err(RpcError::Unauthorized) => Err(format!("{}; {CREDENTIALS}", RpcError::Unauthorized)),
                Err(error) => Err(error.to_string()),
            },
        };
        match news {
            Ok(news) => {
                if self.inquiry.answered(now) {
                    info!("{}: answers again", self.name);
                }
                news
            }
            Err(cause) => self.fail(now, question, &cause),
        }
    }

    fn fail(&mut self, now: Instant, question: Question, cause: &str) -> Option<News> {
        let what = format!("{}: {}: {cause}", self.name, call(question));
        if self.is_last {
            return Some(News::Gone(what));
        }
        if self.inquiry.failed(now) {
            warn!("{what}; going on with events alone, and trying again");
        } else {
            debug!("{what}");
        }
        None
    }
}

fn call(question: Question) -> Call {
    match question {
        Question::Identity => Call::Pid,
        Question::Processes => Call::AllProcessInfo,
        Question::Wake => Call::State,
    }
}

fn read(question: Question, mark: Mark, reply: &[u8]) -> Result<Option<News>, RpcError> {
    Ok(match question {
        Question::Identity => supervisor::pid(reply)?.map(News::Identity),
        Question::Processes => Some(News::Processes(mark, supervisor::processes(reply)?)),
        Question::Wake => supervisor::done(reply).map(|()| None)?,
    })
}
