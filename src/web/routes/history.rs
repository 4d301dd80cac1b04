//! What has changed so far.

use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use percent_encoding::percent_decode_str;
use tokio::task::spawn_blocking;

use crate::history::{Kind as What, Pattern, Query};
use crate::web::App;
use crate::web::auth::Reader;
use crate::web::documents::{History, HistoryKind};
use crate::web::openapi::Problems;
use crate::web::problem::{Document, Kind, Problem};

/// Unless the client says otherwise.
const LIMIT: usize = 100;
/// Of one answer.
const MOST: usize = 1000;

/// What has changed, the newest first
///
/// The next page is that before the last id of this one.
#[utoipa::path(get, path = "/api/history", tag = "history", security((), ("token" = [])),
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000,
            description = "How many at most; 100 unless given"),
        ("before" = Option<i64>, Query, minimum = 0, description = "Only those before the entry with this id"),
        ("kind" = Option<HistoryKind>, Query, description = "Only those of this kind"),
        ("subject" = Option<String>, Query, min_length = 1, max_length = 512, pattern = r"^[^*]*(\*[^*]*){0,8}$",
            description = "Only those about this, as in `app/web1`; `*` stands for any text, up to eight times")),
    responses(
        (status = 200, description = "As many as there are", body = History),
        (status = 400, description = "A parameter cannot be understood", body = Document,
            content_type = "application/problem+json"),
        (status = 503, description = "The file cannot be read", body = Document,
            content_type = "application/problem+json"),
        Problems))]
pub(super) async fn history(
    _: Reader,
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Json<History>, Problem> {
    let query = parse(query.as_deref().unwrap_or_default())
        .map_err(|problem| Kind::Http(StatusCode::BAD_REQUEST).because(problem))?;
    let unavailable = |why: String| Kind::Http(StatusCode::SERVICE_UNAVAILABLE).because(why);
    let permit = Arc::clone(&app.history_readers).acquire_owned().await;
    let permit = permit.map_err(|error| unavailable(error.to_string()))?;
    let book = app.history.clone();
    let read = spawn_blocking(move || {
        // With it, as a client that goes away does not end the reading.
        let _permit = permit;
        book.recent(&query)
    });
    let read = read.await;
    let entries = read.map_err(|error| unavailable(error.to_string()))?;
    Ok(Json(entries.map_err(|error| unavailable(error.to_string()))?.into()))
}

fn parse(text: &str) -> Result<Query, String> {
    let mut query = Query { limit: LIMIT, ..Query::default() };
    let mut seen = Vec::new();
    for (name, value) in pairs(text)? {
        match &*name {
            "limit" => query.limit = limit(&value)?,
            "before" => query.before = Some(id(&value)?),
            "kind" => {
                query.kind = Some(What::from_str(&value).map_err(|problem| format!("kind: {problem}"))?);
            }
            "subject" => {
                query.subject =
                    Some(Pattern::from_str(&value).map_err(|problem| format!("subject: {problem}"))?);
            }
            _ => {
                return Err(format!(
                    "there is no `{}`; there are limit, before, kind and subject",
                    name.escape_debug()
                ));
            }
        }
        if seen.contains(&name) {
            return Err(format!("{name}: stands there twice"));
        }
        seen.push(name);
    }
    Ok(query)
}

fn limit(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MOST).contains(number));
    number.ok_or_else(|| format!("limit: expected a number from 1 to {MOST}"))
}

fn id(text: &str) -> Result<i64, String> {
    let number = text.parse().ok().filter(|number| *number >= 0);
    number.ok_or_else(|| "before: expected the id of an entry".into())
}

/// Names and values, as forms write them (WHATWG URL, 5.1).
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        let decoded = percent_decode_str(&text).decode_utf8();
        decoded.map(String::from).map_err(|_| "the query is not UTF-8".to_owned())
    };
    let parts = text.split('&').filter(|part| !part.is_empty());
    let pairs = parts.map(|part| part.split_once('=').unwrap_or((part, "")));
    pairs.map(|(name, value)| Ok((decode(name)?, decode(value)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_browsers_write_it() {
        assert_eq!(parse(""), Ok(Query { limit: 100, ..Query::default() }));
        let expected = Query {
            limit: 7,
            before: Some(12),
            kind: Some(What::Server),
            subject: "app/web 1*".parse().ok(),
            ..Query::default()
        };
        assert_eq!(parse("limit=7&before=12&kind=server&subject=app%2Fweb+1*"), Ok(expected));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_is_expected() {
        for (text, expected) in [
            ("limit=0", "limit: expected a number from 1 to 1000"),
            ("limit=1001", "limit: expected a number from 1 to 1000"),
            ("limit=x", "limit: expected a number from 1 to 1000"),
            ("limit", "limit: expected a number from 1 to 1000"),
            ("before=-1", "before: expected the id of an entry"),
            ("before=9223372036854775808", "before: expected the id of an entry"),
            ("kind=servers", "kind: `servers` is no kind; there are server, haproxy"),
            ("subject=", "subject: expected a subject as in `app/web1`"),
            ("subject=%ff", "the query is not UTF-8"),
            ("since=1h", "there is no `since`; there are limit, before, kind and subject"),
            ("limit=1&limit=2", "limit: stands there twice"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.starts_with(expected), "{text}: {problem}");
        }
    }
}
