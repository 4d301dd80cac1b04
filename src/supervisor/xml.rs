//! XML-RPC (its specification): writing calls and reading replies.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::{BytesRef, Event};
use thiserror::Error;

/// A value of XML-RPC. Types that supervisord never sends are not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Int(i64),
    Bool(bool),
    Text(String),
    Array(Vec<Value>),
    Struct(BTreeMap<String, Value>),
}

/// The reply to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Response {
    Value(Value),
    Fault { code: i64, text: String },
}

/// A document that is no reply of XML-RPC.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum XmlError {
    #[error("not well-formed XML: {0}")]
    Syntax(String),
    #[error("unexpected `{0}`")]
    Unexpected(String),
    #[error("the document ends too early")]
    End,
    #[error("values are nested deeper than {MAX_DEPTH}")]
    Depth,
}

/// supervisord nests three deep.
const MAX_DEPTH: usize = 16;

/// A parameter of a call. Text is written as it is: XML has no way to carry control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter<'a> {
    Text(&'a str),
    Bool(bool),
}

pub(super) fn call(method: &str, parameters: &[Parameter<'_>]) -> String {
    let parameters: String = parameters
        .iter()
        .map(|parameter| match parameter {
            Parameter::Text(text) => {
                format!("<param><value><string>{}</string></value></param>", escape(*text))
            }
            Parameter::Bool(value) => {
                format!("<param><value><boolean>{}</boolean></value></param>", u8::from(*value))
            }
        })
        .collect();
    format!(
        "<?xml version='1.0'?>\n<methodCall><methodName>{method}</methodName><params>{parameters}</params></methodCall>"
    )
}

pub(super) fn response(document: &str) -> Result<Response, XmlError> {
    let mut parser = Parser { reader: Reader::from_str(document), depth: 0 };
    parser.open("methodResponse")?;
    match parser.tag()?.as_str() {
        "params" => {
            parser.open("param")?;
            parser.open("value")?;
            parser.value().map(Response::Value)
        }
        "fault" => {
            parser.open("value")?;
            fault(parser.value()?)
        }
        other => Err(XmlError::Unexpected(other.to_owned())),
    }
}

fn fault(value: Value) -> Result<Response, XmlError> {
    let Value::Struct(mut members) = value else { return Err(XmlError::Unexpected("fault".into())) };
    match (members.remove("faultCode"), members.remove("faultString")) {
        (Some(Value::Int(code)), Some(Value::Text(text))) => Ok(Response::Fault { code, text }),
        _ => Err(XmlError::Unexpected("fault".into())),
    }
}

struct Parser<'a> {
    reader: Reader<&'a [u8]>,
    depth: usize,
}

/// What matters of a document: tags and the text between them.
enum Piece {
    Open(String),
    Close,
    Text(String),
}

impl Parser<'_> {
    fn piece(&mut self) -> Result<Piece, XmlError> {
        loop {
            let syntax = |error: &dyn std::fmt::Display| XmlError::Syntax(error.to_string());
            match self.reader.read_event().map_err(|error| syntax(&error))? {
                Event::Start(tag) => {
                    return Ok(Piece::Open(tag.name().as_ref().to_owned()));
                }
                Event::End(_) => return Ok(Piece::Close),
                Event::Text(text) => {
                    return Ok(Piece::Text(text.to_string()));
                }
                Event::GeneralRef(name) => return reference(&name).map(Piece::Text),
                Event::Eof => return Err(XmlError::End),
                Event::Decl(_) | Event::Comment(_) | Event::DocType(_) | Event::PI(_) => {}
                Event::CData(_) | Event::Empty(_) => return Err(XmlError::Unexpected("element".into())),
            }
        }
    }

    /// The next tag that opens.
    fn tag(&mut self) -> Result<String, XmlError> {
        loop {
            match self.piece()? {
                Piece::Open(name) => return Ok(name),
                Piece::Text(text) if text.trim().is_empty() => {}
                Piece::Text(text) => return Err(XmlError::Unexpected(text)),
                Piece::Close => return Err(XmlError::Unexpected("closing tag".into())),
            }
        }
    }

    fn open(&mut self, name: &str) -> Result<(), XmlError> {
        let found = self.tag()?;
        if found == name { Ok(()) } else { Err(XmlError::Unexpected(found)) }
    }

    /// Text up to the closing tag.
    fn text(&mut self) -> Result<String, XmlError> {
        let mut whole = String::new();
        loop {
            match self.piece()? {
                Piece::Text(text) => whole.push_str(&text),
                Piece::Close => return Ok(whole),
                Piece::Open(name) => return Err(XmlError::Unexpected(name)),
            }
        }
    }

    /// Whether another `name` opens before the surrounding tag closes.
    fn another(&mut self, name: &str) -> Result<bool, XmlError> {
        loop {
            match self.piece()? {
                Piece::Text(text) if text.trim().is_empty() => {}
                Piece::Close => return Ok(false),
                Piece::Open(found) if found == name => return Ok(true),
                Piece::Open(other) | Piece::Text(other) => return Err(XmlError::Unexpected(other)),
            }
        }
    }

    fn close(&mut self) -> Result<(), XmlError> {
        if self.another("")? { Err(XmlError::Unexpected("tag".into())) } else { Ok(()) }
    }

    /// The inside of a `<value>` that has been opened, and its end.
    fn value(&mut self) -> Result<Value, XmlError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(XmlError::Depth);
        }
        let mut bare = String::new();
        let value = loop {
            match self.piece()? {
                Piece::Text(text) => bare.push_str(&text),
                // Text without a type is a string (XML-RPC specification, "Scalar <value>s").
                Piece::Close => break Value::Text(bare),
                Piece::Open(kind) => {
                    let value = self.typed(&kind)?;
                    self.close()?;
                    break value;
                }
            }
        };
        self.depth -= 1;
        Ok(value)
    }

    fn typed(&mut self, kind: &str) -> Result<Value, XmlError> {
        match kind {
            "int" | "i4" => {
                let text = self.text()?;
                text.trim().parse().map(Value::Int).map_err(|_| XmlError::Unexpected(text))
            }
            "boolean" => self.text().map(|text| Value::Bool(text.trim() == "1")),
            "string" => self.text().map(Value::Text),
            "array" => self.array(),
            "struct" => self.members(),
            _ => Err(XmlError::Unexpected(kind.to_owned())),
        }
    }

    fn array(&mut self) -> Result<Value, XmlError> {
        self.open("data")?;
        let mut values = Vec::new();
        while self.another("value")? {
            values.push(self.value()?);
        }
        self.close()?;
        Ok(Value::Array(values))
    }

    fn members(&mut self) -> Result<Value, XmlError> {
        let mut members = BTreeMap::new();
        while self.another("member")? {
            self.open("name")?;
            let name = self.text()?;
            self.open("value")?;
            members.insert(name, self.value()?);
            self.close()?;
        }
        Ok(Value::Struct(members))
    }
}

fn reference(name: &BytesRef<'_>) -> Result<String, XmlError> {
    let unknown = || XmlError::Unexpected(format!("&{};", &**name));
    if let Some(character) = name.resolve_char_ref().map_err(|_| unknown())? {
        return Ok(character.to_string());
    }
    quick_xml::escape::resolve_predefined_entity(name).map(str::to_owned).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_read_as_supervisord_writes_them() {
        let document = "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><array><data>\n\
            <value><struct>\n<member>\n<name>name</name>\n<value><string>a &lt;&amp;&#233; b</string></value>\n\
            </member>\n<member>\n<name>pid</name>\n<value><int>42</int></value>\n</member>\n</struct></value>\n\
            <value><boolean>1</boolean></value>\n<value>bare</value></data></array></value>\n</param>\n\
            </params>\n</methodResponse>\n";
        let members =
            [("name".to_owned(), Value::Text("a <&\u{e9} b".into())), ("pid".into(), Value::Int(42))];
        let expected =
            Value::Array(vec![Value::Struct(members.into()), Value::Bool(true), Value::Text("bare".into())]);
        assert_eq!(response(document), Ok(Response::Value(expected)));
    }

    #[test]
    fn faults_are_told_from_values() {
        let document = "<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>6</int>\
            </value></member><member><name>faultString</name><value><string>SHUTDOWN_STATE</string></value>\
            </member></struct></value></fault></methodResponse>";
        assert_eq!(response(document), Ok(Response::Fault { code: 6, text: "SHUTDOWN_STATE".into() }));
    }

    #[test]
    fn damage_is_an_error() {
        let deep = format!("<methodResponse><params><param>{}", "<value><array><data>".repeat(1000));
        assert_eq!(response(&deep), Err(XmlError::Depth));
        assert_eq!(response("<methodResponse><params>"), Err(XmlError::End));
        assert_eq!(response("<html>"), Err(XmlError::Unexpected("html".into())));
        assert!(matches!(response("<methodResponse></b>"), Err(XmlError::Syntax(_))));
    }

    proptest! {
        #[test]
        fn no_document_makes_the_parser_panic(text in "(<|>|/|&|;|value|array|data|struct|int|[ -~]){0,60}") {
            let _ = response(&text);
            let _ = response(&format!("<methodResponse><params><param><value>{text}"));
        }
    }
}
