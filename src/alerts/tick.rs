//! What an integration asks for with a tick, and whether it may. Pure: names are looked up later.

use std::time::{Duration, Instant};

use thiserror::Error;

use super::guard::{Guard, Refusal};
use crate::net::{HttpUrl, HttpUrlError};

/// In the place of a URL: the socket that this program asks anyway.
pub const OWN_SOCKET: &str = "socket";
/// The settings that a tick has.
pub const STATS_ENDPOINT: &str = "stats_endpoint";
/// Who asks for the statistics.
pub const USERNAME: &str = "username";
/// Never shown.
pub const PASSWORD: &str = "password";

/// What was sent, as it was sent.
#[derive(Clone, Debug, Default)]
pub struct TickOrder {
    /// Where the report goes.
    pub return_url: String,
    /// Labels and values.
    pub settings: Vec<(String, String)>,
}

/// What may be sent and asked, by whoever may reach this program.
#[derive(Clone, Debug)]
pub struct Guards {
    /// For `return_url`.
    pub receivers: Guard,
    /// For `stats_endpoint`.
    pub sources: Guard,
}

/// A tick that may be carried out, as far as its words tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    pub(super) return_url: HttpUrl,
    pub(super) source: Source,
}

/// Where statistics come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Socket,
    Page(HttpUrl),
}

/// Why a tick is not carried out.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TickFault {
    /// It is not there, or empty.
    #[error("the setting `{0}` is missing")]
    Missing(&'static str),
    /// Which of them is meant is not known.
    #[error("the setting `{0}` is there more than once")]
    Twice(&'static str),
    /// No URL.
    #[error("`{0}`: {1}")]
    Url(&'static str, #[source] HttpUrlError),
    /// Not allowed.
    #[error("`{0}`: {1}")]
    Refused(&'static str, #[source] Refusal),
    /// There were many lately; there may be one after this long.
    #[error("there are too many ticks")]
    TooMany(Duration),
    /// As many as may wait, do.
    #[error("too many reports wait to be sent")]
    Full(Duration),
}

const RETURN_URL: &str = "return_url";

impl Tick {
    pub(super) fn read(order: &TickOrder, guards: &Guards) -> Result<Self, TickFault> {
        let return_url = allowed(RETURN_URL, &order.return_url, &guards.receivers)?;
        let endpoint = order.setting(STATS_ENDPOINT)?.filter(|text| !text.is_empty());
        let endpoint = endpoint.ok_or(TickFault::Missing(STATS_ENDPOINT))?;
        if endpoint == OWN_SOCKET {
            return Ok(Self { return_url, source: Source::Socket });
        }
        let user = order.setting(USERNAME)?.ok_or(TickFault::Missing(USERNAME))?;
        let password = order.setting(PASSWORD)?.ok_or(TickFault::Missing(PASSWORD))?;
        let mut page = allowed(STATS_ENDPOINT, endpoint, &guards.sources)?;
        // A page that anybody may read has neither.
        if !user.is_empty() || !password.is_empty() {
            (page.user, page.password) = (Some(user.to_owned()), Some(password.to_owned()));
        }
        Ok(Self { return_url, source: Source::Page(page) })
    }
}

fn allowed(what: &'static str, text: &str, guard: &Guard) -> Result<HttpUrl, TickFault> {
    let url = text.parse().map_err(|error| TickFault::Url(what, error))?;
    guard.judge(&url).map_err(|refusal| TickFault::Refused(what, refusal))?;
    Ok(url)
}

impl TickOrder {
    fn setting(&self, label: &'static str) -> Result<Option<&str>, TickFault> {
        let mut values =
            self.settings.iter().filter(|(name, _)| name == label).map(|(_, value)| value.trim());
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(TickFault::Twice(label)),
        }
    }
}

/// So many ticks at once, and one more a second: a workspace has one in some minutes.
const BURST: u32 = 60;
const REFILL: Duration = Duration::from_secs(1);

/// How many ticks there were lately.
#[derive(Debug)]
pub(super) struct Bucket {
    left: u32,
    since: Instant,
}

impl Bucket {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BURST, since: now }
    }

    /// Lets one through; or tells how long to wait.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.since).as_secs();
        let more = u32::try_from(passed).unwrap_or(u32::MAX);
        if self.left.saturating_add(more) >= BURST {
            (self.left, self.since) = (BURST, now);
        } else {
            (self.left, self.since) = (self.left + more, self.since + REFILL * more);
        }
        self.left = self.left.checked_sub(1).ok_or(REFILL)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guards() -> Guards {
        let guard = |entry: &str, option| Guard::new(vec![entry.parse().unwrap()], option);
        Guards {
            receivers: guard("ping.telex.im", "--allow-host"),
            sources: guard("lb:8404", "--telex-stats-allow"),
        }
    }

    fn order(settings: &[(&str, &str)]) -> TickOrder {
        let settings = settings.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
        TickOrder { return_url: "https://ping.telex.im/v1/x".into(), settings: settings.collect() }
    }

    fn read(settings: &[(&str, &str)]) -> Result<Source, TickFault> {
        Tick::read(&order(settings), &guards()).map(|tick| tick.source)
    }

    const PAGE: (&str, &str) = (STATS_ENDPOINT, "http://lb:8404/stats;csv");

    #[test]
    fn a_page_is_asked_with_the_name_and_the_password_of_the_settings() {
        let source =
            read(&[("interval", "* * * * *"), PAGE, (USERNAME, "me"), (PASSWORD, "secret")]).unwrap();
        let Source::Page(url) = &source else { panic!("{source:?}") };
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("me"), Some("secret")));
        assert!(!format!("{source:?}").contains("secret"), "{source:?}");
        let Ok(Source::Page(url)) = read(&[PAGE, (USERNAME, ""), (PASSWORD, "")]) else { panic!() };
        assert_eq!((url.user, url.password), (None, None));
    }

    #[test]
    fn the_own_socket_needs_no_password() {
        assert_eq!(read(&[(STATS_ENDPOINT, "socket")]), Ok(Source::Socket));
    }

    #[test]
    fn each_setting_that_is_needed_is_missed() {
        let missing = |settings: &[(&str, &str)]| match read(settings) {
            Err(TickFault::Missing(label)) => label,
            other => panic!("{other:?}"),
        };
        assert_eq!(missing(&[]), STATS_ENDPOINT);
        assert_eq!(missing(&[(STATS_ENDPOINT, " ")]), STATS_ENDPOINT);
        assert_eq!(missing(&[PAGE, (PASSWORD, "x")]), USERNAME);
        assert_eq!(missing(&[PAGE, (USERNAME, "x")]), PASSWORD);
        assert_eq!(read(&[PAGE, PAGE]), Err(TickFault::Twice(STATS_ENDPOINT)));
    }

    #[test]
    fn what_is_not_allowed_is_refused_and_the_secret_path_is_not_told() {
        let credentials = [(USERNAME, "me"), (PASSWORD, "secret")];
        for endpoint in
            ["http://127.0.0.1:8404/", "http://lb/", "http://me:x@lb:8404/", "http://169.254.169.254/latest"]
        {
            let settings = [&[(STATS_ENDPOINT, endpoint)][..], &credentials].concat();
            assert!(matches!(read(&settings), Err(TickFault::Refused(STATS_ENDPOINT, _))), "{endpoint}");
        }
        for endpoint in ["file:///etc/passwd", "gopher://lb:8404/", "/run/haproxy.sock", "unix:///run/h.sock"]
        {
            let settings = [&[(STATS_ENDPOINT, endpoint)][..], &credentials].concat();
            assert!(matches!(read(&settings), Err(TickFault::Url(STATS_ENDPOINT, _))), "{endpoint}");
        }
        let elsewhere = TickOrder { return_url: "https://evil.net/token".into(), ..order(&[PAGE]) };
        let fault = Tick::read(&elsewhere, &guards()).unwrap_err().to_string();
        assert_eq!(fault, "`return_url`: `evil.net:443` is not allowed; allow it with --allow-host evil.net");
    }

    #[test]
    fn sixty_ticks_pass_and_then_one_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        let passed = |bucket: &mut Bucket, now| (0..200).filter(|_| bucket.take(now).is_ok()).count();
        assert_eq!(passed(&mut bucket, start), 60);
        assert_eq!(bucket.take(start), Err(REFILL));
        assert_eq!(passed(&mut bucket, start + Duration::from_millis(999)), 0);
        assert_eq!(passed(&mut bucket, start + Duration::from_millis(2500)), 2);
        assert_eq!(passed(&mut bucket, start + Duration::from_secs(3)), 1);
        assert_eq!(passed(&mut bucket, start + Duration::from_secs(9999)), 60);
    }
}
