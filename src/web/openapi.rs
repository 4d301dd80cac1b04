//! The document that describes the handlers, made of them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::schema::Type;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, Header, InfoBuilder, Object, OpenApi, Ref, RefOr, ResponseBuilder,
};
use utoipa::{IntoResponses, PartialSchema};

use super::problem::{Document, PROBLEM_JSON};
use super::routes;

/// What may be said by each handler, and by what lies around them.
pub(super) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let answer = problem("What is wrong, and what to do about it").build();
        [("default".to_owned(), answer.into())].into()
    }
}

/// What may be said to those who ask for an action.
pub(super) struct Accepted;

impl IntoResponses for Accepted {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        [
            ("202", answer("application/json", "JobAnswer", "It has begun")),
            ("403", problem("`serve` has no token, or knows no programs")),
            ("404", problem("There is no such server or program")),
            ("409", problem("An action on the same is under way")),
            ("429", problem("Too many actions are under way; `Retry-After` tells when to come again")),
            ("503", problem("The circuit is open; `Retry-After` tells for how long")),
        ]
        .map(|(status, answer)| (status.to_owned(), answer.build().into()))
        .into()
    }
}

/// What may be said to those who change routes, when it was not done.
pub(super) struct Unchanged;

impl IntoResponses for Unchanged {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let seconds = Header::new(Object::with_type(Type::Integer));
        [
            ("400", problem("The host, the URL or the check is none")),
            ("409", problem("The host is routed elsewhere, or the change is refused as things stand")),
            ("412", problem("The table has another version")),
            ("422", problem("HAProxy does not accept it, for these reasons")),
            ("500", problem("HAProxy took neither this nor what was there before")),
            ("501", problem("`serve` has no routes")),
            ("502", problem("HAProxy did not take it, and has what was there before")),
            (
                "503",
                problem("Others are changing routes, or HAProxy does not answer")
                    .header("Retry-After", seconds),
            ),
        ]
        .map(|(status, answer)| (status.to_owned(), answer.build().into()))
        .into()
    }
}

fn problem(text: &str) -> ResponseBuilder {
    answer(PROBLEM_JSON, "Problem", text)
}

fn answer(kind: &str, schema: &str, text: &str) -> ResponseBuilder {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
    ResponseBuilder::new().description(text).content(kind, content)
}

/// The document.
#[must_use]
pub fn document() -> OpenApi {
    let (_, mut document) = routes::handlers().split_for_parts();
    document.info = InfoBuilder::new()
        .title("supervisor-haproxy")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Health, metrics, reports and recovery of an HAProxy."))
        .build();
    let components = document.components.get_or_insert_with(Components::new);
    components.schemas.insert("Problem".into(), Document::schema());
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme("token", SecurityScheme::Http(token));
    let key = ApiKey::Header(ApiKeyValue::new("X-Admin-Key"));
    components.add_security_scheme("adminKey", SecurityScheme::ApiKey(key));
    document
}

/// It is the same for as long as this program runs.
static TEXT: LazyLock<Bytes> =
    LazyLock::new(|| document().to_json().map_or_else(|_| Bytes::new(), Bytes::from));

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "openapi",
    responses((status = 200, description = "The document", body = Object), Problems))]
pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], TEXT.clone()).into_response()
}
