//! The forms that encoders give a text, and the way back. Shares no code with what it tests.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE};

use crate::harness::http;

/// A text between the quotes of a JSON string.
type Form = fn(&str) -> String;

/// Encodings of a text within a JSON string, by name.
pub const FORMS: [(&str, Form); 35] = [
    ("plain", json),
    ("net", net),
    ("go", go),
    ("php", |text| json(text).replace('/', "\\/").replace('é', "\\u00e9")),
    ("upper", |text| each(text, |c| format!("\\u{:04X}", u32::from(c)))),
    ("lower", |text| each(text, |c| format!("\\u{:04x}", u32::from(c)))),
    ("json-in-json", |text| json(&json(text))),
    ("net-in-json", |text| json(&net(text))),
    ("net-in-net", |text| net(&net(text))),
    ("net-in-go-in-php", |text| json(&go(&net(text))).replace('/', "\\/")),
    ("upper-in-json", |text| json(&each(text, |c| format!("\\u{:04X}", u32::from(c))))),
    ("percent", http::encode),
    ("percent-lower", |text| text.bytes().map(|byte| format!("%{byte:02x}")).collect()),
    ("form", |text| http::encode(text).replace("%20", "+")),
    ("percent-twice", |text| http::encode(&http::encode(text))),
    ("json-in-url", |text| http::encode(&net(text))),
    ("url-in-net", |text| net(&http::encode(text))),
    ("html", |text| json(&html(text))),
    ("html-decimal", |text| each(text, |c| format!("&#{};", u32::from(c)))),
    ("html-hex", |text| each(text, |c| format!("&#x{:x};", u32::from(c)))),
    ("html-twice", |text| json(&html(&html(text)))),
    ("html-in-go", |text| go(&html(text))),
    ("json-in-html", |text| json(&html(&json(text)))),
    ("script", |text| json(&each(text, |c| format!("\\x{:02x}", u32::from(c))))),
    ("mixed", mixed),
    ("base64", |text| BASE64_STANDARD.encode(text)),
    ("base64-bare", |text| BASE64_STANDARD_NO_PAD.encode(text)),
    ("base64-url", |text| BASE64_URL_SAFE.encode(text)),
    ("base64-bearer", |text| BASE64_STANDARD.encode(format!("Bearer {text}\r\n"))),
    ("base64-user", |text| BASE64_URL_SAFE.encode(format!("me:{text}"))),
    ("base64-quoted", |text| BASE64_STANDARD.encode(format!("\"{text}\", 1"))),
    ("base64-net", |text| net(&BASE64_STANDARD.encode(text))),
    ("base64-php", |text| BASE64_STANDARD.encode(text).replace('/', "\\/")),
    ("base64-percent", |text| http::encode(&BASE64_STANDARD.encode(format!(":{text}")))),
    ("base64-lines", lines),
];

/// Escapes a text with as few escapes as JSON requires.
pub fn json(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

/// As `System.Text.Json` writes by default.
fn net(text: &str) -> String {
    each(text, |c| match c {
        '\\' => "\\\\".to_owned(),
        '"' | '&' | '\'' | '+' | '<' | '>' | '`' => format!("\\u{:04X}", u32::from(c)),
        c if !c.is_ascii() => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    })
}

/// As Go's `encoding/json` writes by default.
fn go(text: &str) -> String {
    let escape = |c: char| format!("\\u{:04x}", u32::from(c));
    ['&', '<', '>'].into_iter().fold(json(text), |text, c| text.replace(c, &escape(c)))
}

fn html(text: &str) -> String {
    each(text, |c| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '+' => "&plus;".to_owned(),
        '=' => "&#61;".to_owned(),
        c => c.to_string(),
    })
}

/// Each character in the next form.
fn mixed(text: &str) -> String {
    let forms: [fn(u32) -> String; 5] = [
        |c| format!("\\u{c:04x}"),
        |c| format!("%{c:02X}"),
        |c| format!("&#{c};"),
        |c| format!("\\\\u{c:04X}"),
        |c| format!("\\u0026#x{c:X};"),
    ];
    let encode = |(index, c): (usize, char)| match c {
        c if !c.is_ascii() || index % 6 == 5 => json(&c.to_string()),
        c => forms[index % 6](u32::from(c)),
    };
    text.chars().enumerate().map(encode).collect()
}

fn lines(text: &str) -> String {
    let encoded = BASE64_STANDARD.encode(format!("Token {text}"));
    let lines = encoded.as_bytes().chunks(16).map(|line| std::str::from_utf8(line).unwrap());
    lines.collect::<Vec<_>>().join("\\n")
}

fn each(text: &str, form: impl Fn(char) -> String) -> String {
    text.chars().map(form).collect()
}

/// A text with its escapes undone, once, twice and so on, and what is base64 in each.
pub struct Layers(Vec<String>);

impl Layers {
    pub fn of(said: &str) -> Self {
        let mut layers = vec![said.to_owned()];
        while layers.len() < 8 {
            let next = undo(layers.last().unwrap());
            if layers.contains(&next) {
                break;
            }
            layers.push(next);
        }
        let encoded: Vec<_> = layers.iter().map(|layer| from_base64(layer)).collect();
        layers.extend(encoded);
        Self(layers)
    }

    /// Reports whether a determined person can read the text, or half of a long one.
    pub fn hold(&self, text: &str) -> bool {
        let half = if text.len() > 12 { text.ceil_char_boundary(text.len() / 2) } else { 0 };
        let (head, tail) = if half > 0 { text.split_at(half) } else { (text, text) };
        let pieces = [text, head, tail].map(|piece| [piece.to_owned(), piece.replace(' ', "+")]);
        let mut pieces = pieces.as_flattened().iter();
        pieces.any(|piece| self.0.iter().any(|layer| layer.contains(piece)))
    }
}

/// Removes one layer of escapes of any kind.
fn undo(said: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), said);
    while let Some(first) = rest.chars().next() {
        let (bytes, length) =
            escape(rest).unwrap_or_else(|| (first.to_string().into_bytes(), first.len_utf8()));
        out.extend(bytes);
        rest = &rest[length..];
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Decodes the escape at the begin of the text; returns the bytes and the length of the escape.
fn escape(text: &str) -> Option<(Vec<u8>, usize)> {
    let hex = |from: usize, to: usize| u32::from_str_radix(text.get(from..to)?, 16).ok();
    let character = |code: Option<u32>| char::from_u32(code?).map(|c| c.to_string().into_bytes());
    let mut chars = text.chars();
    match (chars.next()?, chars.next()?) {
        ('\\', 'u') => character(hex(2, 6)).map(|bytes| (bytes, 6)),
        ('\\', 'x') => character(hex(2, 4)).map(|bytes| (bytes, 4)),
        ('\\', 'n' | 'r') => Some((b"\n".to_vec(), 2)),
        ('\\', c) if c.is_ascii_punctuation() => Some((vec![c as u8], 2)),
        ('%', _) => hex(1, 3).map(|byte| (vec![u8::try_from(byte).unwrap()], 3)),
        ('&', _) => {
            let name = text[1..].split(';').next()?;
            let code = match (name, name.strip_prefix('#')) {
                ("amp", _) => Some(0x26),
                ("lt", _) => Some(0x3c),
                ("gt", _) => Some(0x3e),
                ("quot", _) => Some(0x22),
                ("plus", _) => Some(0x2b),
                (_, Some(number)) => match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16).ok(),
                    None => number.parse().ok(),
                },
                _ => None,
            };
            character(code).map(|bytes| (bytes, name.len() + 2))
        }
        _ => None,
    }
}

/// Decodes everything in a text that may be base64, from each of the four possible offsets.
fn from_base64(said: &str) -> String {
    let said = said.replace(['\n', '\r'], "").replace('-', "+").replace('_', "/");
    let runs = said.split(|c: char| !c.is_ascii_alphanumeric() && c != '+' && c != '/');
    let mut out = String::new();
    for run in runs.filter(|run| run.len() >= 8) {
        for start in 0..4 {
            let whole = &run[start..start + (run.len() - start) / 4 * 4];
            let rest = &run[start + whole.len()..];
            let rest = BASE64_STANDARD_NO_PAD.decode(rest).unwrap_or_default();
            let bytes = BASE64_STANDARD.decode(whole).unwrap();
            out += &String::from_utf8_lossy(&[bytes, rest].concat());
            out.push('\n');
        }
    }
    out
}
