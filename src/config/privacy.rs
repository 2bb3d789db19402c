//! Secrets by type: the texts of a file that must not be shown, by the types of the structs that the
//! file is decoded into. The types are read from the JSON Schema, so that each is declared once.

use std::collections::BTreeMap;

use http::HeaderName;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use super::http_client::credential_headers;
use super::raw;
use crate::yaml::decode::nearest;
use crate::yaml::hidden::{HiddenKind, HiddenNode, MAX_HIDDEN};
use crate::yaml::scalar::{SECRET, SchemeText, SecretText, TemplateBody, TemplateText, UrlText};
use crate::yaml::tree::{NodeKind, YamlNode};

/// Headers that carry credentials at any API, in lower case.
pub const CREDENTIAL_HEADERS: [&str; 2] = ["authorization", "cookie"];

/// The type of a value, as far as it matters for secrets.
#[derive(Debug)]
pub enum Shape {
    /// A scalar with the visibility of its texts.
    Scalar(Visibility),
    /// A list of values of one shape.
    List(Box<Self>),
    /// A block of known keys, or of any other key with values of the shape `others`.
    Block {
        /// The shapes of the values by their keys.
        keys: BTreeMap<String, Self>,
        /// The shape of the values of all other keys, if there may be any.
        others: Option<Box<Self>>,
    },
    /// The headers of a provider.
    Headers {
        /// The shape of a header that anybody may see.
        plain: Box<Self>,
        /// The shape of one that carries credentials.
        credentials: Box<Self>,
    },
    /// A scalar, or a block or a list.
    Either(Box<Self>, Box<Self>),
    /// Any value, with placeholders in its texts.
    Template,
}

/// The visibility of the texts of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// All texts.
    Always,
    /// No texts.
    Never,
    /// URLs that have neither a user nor a query.
    PlainUrl,
    /// Texts without white space.
    Word,
    /// Texts of placeholders alone.
    Placeholders,
}

impl Visibility {
    /// Reports whether a text is shown. An empty text hides nothing.
    pub fn shows(self, text: &str) -> bool {
        text.is_empty()
            || match self {
                Self::Always => true,
                Self::Never => false,
                Self::PlainUrl => is_plain_url(text),
                Self::Word => !text.contains(char::is_whitespace),
                Self::Placeholders => redact_template(text) == text,
            }
    }
}

impl Shape {
    /// Returns the shape of what is decoded into a `T`.
    pub fn of<T: JsonSchema>() -> Self {
        let schema = SchemaGenerator::default().into_root_schema_for::<T>();
        Self::build(schema.as_value(), schema.get("$defs").unwrap_or(&Value::Null))
    }

    fn build(schema: &Value, definitions: &Value) -> Self {
        let build = |schema: &Value| Box::new(Self::build(schema, definitions));
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let name = reference.rsplit('/').next().unwrap_or_default();
            return Self::named(name).unwrap_or_else(|| {
                let definition = definitions.get(name).unwrap_or(&Value::Null);
                match name == raw::RawHttpHeaders::schema_name() {
                    true => Self::headers(definition, definitions),
                    false => *build(definition),
                }
            });
        }
        if let Some([short, block]) =
            schema.get("anyOf").and_then(Value::as_array).map(Vec::as_slice)
        {
            return Self::Either(build(short), build(block));
        }
        if let Some(item) = schema.get("items") {
            return Self::List(build(item));
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        if properties.is_none() && others.is_none() {
            return Self::Scalar(Visibility::Always);
        }
        let keys = properties.into_iter().flatten();
        let keys = keys.map(|(key, schema)| (key.clone(), *build(schema))).collect();
        Self::Block { keys, others: others.map(build) }
    }

    /// Returns the shape of a scalar type that may hold secrets.
    fn named(name: &str) -> Option<Self> {
        [
            (SecretText::schema_name(), Self::Scalar(Visibility::Never)),
            (UrlText::schema_name(), Self::Scalar(Visibility::PlainUrl)),
            (SchemeText::schema_name(), Self::Scalar(Visibility::Word)),
            (TemplateText::schema_name(), Self::Scalar(Visibility::Placeholders)),
            (TemplateBody::schema_name(), Self::Template),
        ]
        .into_iter()
        .find(|(known, _)| known == name)
        .map(|(_, shape)| shape)
    }

    fn headers(schema: &Value, definitions: &Value) -> Self {
        let header = || match Self::build(schema, definitions) {
            Self::Block { others: Some(header), .. } => header,
            other => Box::new(other),
        };
        let mut credentials = header();
        if let Self::Block { keys, .. } = &mut *credentials {
            keys.insert("values".to_owned(), Self::List(Box::new(Self::Scalar(Visibility::Never))));
        }
        Self::Headers { plain: header(), credentials }
    }

    /// Returns the shape of the value of the key `name` in a block of this shape, which is in the
    /// block `around`; `None` where there is no such key.
    pub fn entry(&self, name: &str, around: Option<&YamlNode>) -> Option<&Self> {
        match self {
            Self::Block { keys, others } => keys.get(name).or(others.as_deref()),
            Self::Headers { plain, credentials } => {
                Some(if carries_credentials(name, around) { credentials } else { plain })
            }
            Self::Either(_, block) => block.entry(name, around),
            Self::Template => Some(self),
            Self::Scalar(_) | Self::List(_) => None,
        }
    }

    /// Returns the shape of the value of the key `name`, or of the known key that a misspelt one is
    /// likely to mean. Beside keys of secrets a misspelt one may mean any of these.
    fn meant(&self, name: &str, around: Option<&YamlNode>) -> Option<&Self> {
        self.entry(name, around).or_else(|| match self {
            Self::Block { keys, .. } if !keys.values().any(Self::is_secret) => {
                keys.get(nearest(name, keys.keys().map(String::as_str))?)
            }
            Self::Either(_, block) => block.meant(name, around),
            _ => None,
        })
    }

    /// Reports whether a value of this shape is a secret, or a list of secrets.
    fn is_secret(&self) -> bool {
        match self {
            Self::List(item) => item.is_secret(),
            shape => shape.scalar() == Some(Visibility::Never),
        }
    }

    /// Returns the visibility of scalars at a place of this shape; `None` where none
    /// belongs there.
    pub fn scalar(&self) -> Option<Visibility> {
        match self {
            Self::Scalar(shown) => Some(*shown),
            Self::Either(scalar, _) => scalar.scalar(),
            Self::Template => Some(Visibility::Placeholders),
            Self::List(_) | Self::Block { .. } | Self::Headers { .. } => None,
        }
    }

    /// Reports whether there can be a secret somewhere in a value of this shape.
    fn has_secrets(&self) -> bool {
        match self {
            Self::Scalar(shown) => *shown != Visibility::Always,
            Self::List(item) => item.has_secrets(),
            Self::Block { keys, others } => {
                keys.values().chain(others.as_deref()).any(Self::has_secrets)
            }
            Self::Either(scalar, block) => scalar.has_secrets() || block.has_secrets(),
            Self::Headers { .. } | Self::Template => true,
        }
    }
}

/// Reports whether a header of the provider `provider` carries credentials.
fn carries_credentials(name: &str, provider: Option<&YamlNode>) -> bool {
    let authorization = provider.and_then(|provider| provider.get("authorization"));
    let header = authorization.and_then(|block| block.get("header"));
    let alternatives = match authorization.and_then(|block| block.get("alternatives")) {
        Some(YamlNode { kind: NodeKind::List(names), .. }) => names.as_slice(),
        _ => &[],
    };
    let configured = header.into_iter().chain(alternatives).filter_map(YamlNode::text);
    configured.chain(CREDENTIAL_HEADERS).any(|known| known.eq_ignore_ascii_case(name))
}

/// Reports whether a URL has no user and no query, and nothing that could have become one but for
/// a slip: no `:` other than that of the scheme and of a port.
fn is_plain_url(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    // An IPv6 address is written in brackets.
    let port = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((_, port)) => port.strip_prefix(':'),
        None => authority.split_once(':').map(|(_, port)| port),
    };
    !text.contains(['@', '?', '#'])
        && port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns a template with `<secret>` in the place of each text between its placeholders.
pub fn redact_template(template: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut shown = String::new();
    let hide = |shown: &mut String, text: &str| {
        shown.push_str(if text.is_empty() { "" } else { SECRET });
    };
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((name, after)) = behind.split_once('}') else { break };
        if !name.strip_prefix('+').unwrap_or(name).chars().all(is_name) {
            break;
        }
        hide(&mut shown, before);
        shown.push_str(&format!("{{{name}}}"));
        rest = after;
    }
    hide(&mut shown, rest);
    shown
}

/// Returns the hidden nodes of a tree of this shape: values of secret types, and values at unknown
/// keys, which have no type. Stops soon after [`MAX_HIDDEN`] of them.
pub fn hidden(root: &YamlNode, shape: &Shape) -> Vec<HiddenNode> {
    let mut found = Vec::new();
    find(root, shape, None, &mut found);
    found
}

/// Returns the hidden nodes of an item of a list of this shape.
pub fn hidden_in_item(item: &YamlNode, list: &Shape) -> Vec<HiddenNode> {
    let mut found = Vec::new();
    if let Shape::List(shape) = list {
        find(item, shape, None, &mut found);
    }
    found
}

/// Finds the hidden nodes of a value of this shape, which is in the block `around`.
fn find(node: &YamlNode, shape: &Shape, around: Option<&YamlNode>, found: &mut Vec<HiddenNode>) {
    if found.len() > MAX_HIDDEN {
        return;
    }
    match (&node.kind, shape) {
        (NodeKind::Map(_) | NodeKind::List(_), Shape::Either(_, block)) => {
            find(node, block, around, found);
        }
        (NodeKind::Map(entries), Shape::Block { .. } | Shape::Headers { .. } | Shape::Template) => {
            for (key, value) in entries {
                find_key(key, value, shape, found);
                match key.text().and_then(|name| shape.meant(name, around)) {
                    Some(shape) => find(value, shape, Some(node), found),
                    None => hide_all(value, found),
                }
            }
        }
        (NodeKind::List(items), Shape::List(item)) => {
            for node in items {
                find(node, item, around, found);
            }
        }
        (NodeKind::List(items), Shape::Template) => {
            for node in items {
                find(node, shape, around, found);
            }
        }
        (NodeKind::List(_) | NodeKind::Map(_), _) => hide_all(node, found),
        // The one item that may be meant.
        (_, Shape::List(item)) => find(node, item, around, found),
        _ => {
            let text = node.text().unwrap_or_default();
            let is_shown = match shape.scalar() {
                Some(Visibility::Never) if text.is_empty() => {
                    return found.push(HiddenNode::new(node, HiddenKind::Empty));
                }
                Some(Visibility::Placeholders) if matches!(node.kind, NodeKind::Bool(_)) => true,
                Some(shown) => shown.shows(text),
                None => !shape.has_secrets(),
            };
            if !is_shown {
                found.push(HiddenNode::new(node, HiddenKind::Text(text.into())));
            }
        }
    }
}

/// Finds out whether a key is hidden. Keys are names and shown, except one that may be a value.
fn find_key(key: &YamlNode, value: &YamlNode, shape: &Shape, found: &mut Vec<HiddenNode>) {
    let is_known = |name: &str| match shape {
        Shape::Block { keys, .. } => keys.contains_key(name),
        _ => false,
    };
    match (key.text(), &value.kind) {
        (Some(name), NodeKind::Null) if !name.is_empty() && !is_known(name) => {
            found.push(HiddenNode::new(key, HiddenKind::BareKey(name.into())));
        }
        (Some(_), _) => {}
        (None, _) => hide_all(key, found),
    }
}

/// Hides all of a value, including keys.
fn hide_all(node: &YamlNode, found: &mut Vec<HiddenNode>) {
    if found.len() > MAX_HIDDEN {
        return;
    }
    let kind = match &node.kind {
        NodeKind::Null => HiddenKind::Nothing,
        NodeKind::Bool(text) | NodeKind::Number(text) | NodeKind::Text(text) if text.is_empty() => {
            HiddenKind::Nothing
        }
        NodeKind::Bool(text) | NodeKind::Number(text) | NodeKind::Text(text) => {
            HiddenKind::Text(text.clone())
        }
        NodeKind::List(items) => {
            for node in items {
                hide_all(node, found);
            }
            HiddenKind::Collection
        }
        NodeKind::Map(entries) => {
            for (key, value) in entries {
                hide_all(key, found);
                hide_all(value, found);
            }
            HiddenKind::Collection
        }
    };
    found.push(HiddenNode::new(node, kind));
}

/// Headers in which a server issues credentials to a client.
const HANDED_OUT: [&str; 6] = [
    "authentication-info",
    "proxy-authentication-info",
    "proxy-authorization",
    "set-cookie",
    "set-cookie2",
    "www-authentication-info",
];
/// Suffixes of the names of headers that APIs have invented for their credentials.
const ENDINGS: [&str; 6] = ["-token", "-secret", "-password", "-api-key", "-apikey", "-cookie"];

/// The names of the headers that carry a secret according to the configuration.
#[derive(Debug, Default)]
pub struct MaskedHeaders(Vec<HeaderName>);

impl MaskedHeaders {
    /// Returns the names for a provider.
    pub fn of(raw: &raw::RawProvider) -> Self {
        let table = raw.http_headers.get().into_iter().flat_map(|headers| headers.0.entries());
        let secret =
            table.filter(|(_, _, header)| !header.secrets.is_absent() || !header.files.is_absent());
        let names = secret.map(|(_, name, _)| name);
        let names = names.chain(credential_headers(raw.authorization.get()));
        Self(names.filter_map(|name| name.parse().ok()).collect())
    }

    /// Reports whether the value of a header is not shown.
    pub fn contains(&self, name: &HeaderName) -> bool {
        let text = name.as_str();
        self.0.contains(name)
            || CREDENTIAL_HEADERS.contains(&text)
            || HANDED_OUT.contains(&text)
            || ENDINGS.iter().any(|ending| text.ends_with(ending))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::tree;

    #[test]
    fn what_is_hidden_follows_the_type_of_its_place() {
        let shape = Shape::of::<raw::RawConfig>();
        let texts = |provider: &str| {
            let root = tree::parse(&format!("providers: [{{ {provider} }}]"), 0).unwrap();
            let texts = hidden(&root, &shape).into_iter().filter_map(|hidden| match hidden.kind {
                HiddenKind::Text(text) | HiddenKind::BareKey(text) => Some(text.into_string()),
                HiddenKind::Empty | HiddenKind::Nothing | HiddenKind::Collection => None,
            });
            texts.collect::<Vec<_>>()
        };
        for (provider, expected) in [
            ("name: a, preset: token, poll_interval: x", &[][..]),
            ("authorization: { credentials: a, credentials_file: b, type: c }", &["a"]),
            ("authorization: { type: Bearer a }", &["Bearer a"]),
            ("basic_auth: { username: a, password: b, password_file: c }", &["b"]),
            ("basic_auth: { password: { a: [b] } }", &["a", "b"]),
            ("http_headers: { x: { values: [a], secrets: [b], files: [c] } }", &["b"]),
            ("http_headers: { x: { secrets: a, values: b } }", &["a"]),
            ("http_headers: { Authorization: { values: [a], files: [b] } }", &["a"]),
            ("authorization: { header: X-A }, http_headers: { x-a: { values: [a] } }", &["a"]),
            ("http_headers: { x: { values: [a] } }, authorization: { alternatives: [x] }", &["a"]),
            ("http_headers: a", &["a"]),
            ("rate_limit: a, tls_config: b", &[]),
            ("rate_limit: [a], tls_config: { key: b, key_file: c }", &["a", "b"]),
            ("api: a, keys: { b: [c] }, on: true, off:", &["a", "b", "c", "true", "off"]),
            ("base_url: 'https://h:80/p', proxy_url: 'http://[::1]:80'", &[]),
            ("base_url: 'http://a@h', proxy_url: 'http://u:p'", &["http://a@h", "http://u:p"]),
            ("base_url: 'http://h/?a', proxy_url: 'u:p'", &["http://h/?a", "u:p"]),
            ("request: { path: /a, query: { id: '{task_id}', key: a } }", &["a"]),
            ("request: { query: { a: '{b c}', d: '{e', f: 'g{h}' } }", &["{b c}", "{e", "g{h}"]),
            ("request: { body: { a: [b, '{c}', 1, true], d: } }", &["b", "1", "d"]),
            ("[a]: b, ? c", &["a", "b", "c"]),
        ] {
            assert_eq!(texts(provider), expected, "{provider}");
        }
        assert_eq!(texts("}, a, { name: b"), ["a"]);
    }

    #[test]
    fn a_template_shows_its_placeholders() {
        for (template, shown) in [
            ("", ""),
            ("{task_id}", "{task_id}"),
            ("a{b}c{d}", "<secret>{b}<secret>{d}"),
            ("{a}{b}", "{a}{b}"),
            ("{a b}", "<secret>"),
            ("{a}{b", "{a}<secret>"),
        ] {
            assert_eq!(redact_template(template), shown);
        }
    }
}
