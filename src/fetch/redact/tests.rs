//! Secrets in every form, and what is none.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::*;

const TOKEN: &str = "tok+en/é😀\"1\\2%<&>'=3 z";

fn masked(secrets: &[&str], text: &str) -> Option<String> {
    let redactor = Redactor::new(secrets);
    assert!(secrets.iter().all(|secret| !format!("{redactor:?}").contains(secret)));
    redactor.mask_text(text)
}

type Encoder = fn(&str) -> String;

/// Common encoders of text.
const ENCODERS: [(&str, Encoder); 16] = [
    ("JSON", json),
    ("JSON of .NET", |text| {
        each(text, |c| match c {
            '"' | '&' | '\'' | '+' | '<' | '>' | 'é' => utf16(c),
            '\\' => "\\\\".to_owned(),
            c => c.to_string(),
        })
    }),
    ("JSON of Go", |text| {
        let escaped = |text: String, c| text.replace(c, &utf16(c).to_lowercase());
        ['&', '<', '>'].into_iter().fold(json(text), escaped)
    }),
    ("JSON of PHP", |text| json(text).replace('/', "\\/").replace('é', "\\u00e9")),
    ("JSON, every letter", |text| each(text, utf16)),
    ("JSON, every letter, small", |text| each(text, utf16).to_lowercase()),
    ("percent", percent),
    ("percent, small", |text| {
        let bytes: Vec<_> = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        bytes.concat()
    }),
    ("HTML", |text| {
        each(text, |c| match c {
            '"' => "&quot;".to_owned(),
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '\'' => "&#39;".to_owned(),
            '+' => "&plus;".to_owned(),
            c => c.to_string(),
        })
    }),
    ("HTML, every letter", |text| each(text, |c| format!("&#{};", u32::from(c)))),
    ("HTML, every letter, hex", |text| each(text, |c| format!("&#x{:X};", u32::from(c)))),
    // The last one must be closed where a digit follows.
    ("HTML, every letter, open", |text| each(text, |c| format!("&#{}", u32::from(c)))),
    ("HTML, every letter, hex, open", |text| each(text, |c| format!("&#x{:x}", u32::from(c)))),
    ("bytes", |text| {
        let bytes: Vec<_> = text.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        bytes.concat()
    }),
    ("JavaScript", |text| {
        each(text, |c| if c.is_ascii() { format!("\\x{:02x}", u32::from(c)) } else { utf16(c) })
    }),
    ("escape of JavaScript", |text| {
        each(text, |c| if c == 'é' { "%u00E9".to_owned() } else { percent(&c.to_string()) })
    }),
];

fn json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn percent(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn each(text: &str, escape: impl Fn(char) -> String) -> String {
    text.chars().map(escape).collect()
}

fn utf16(c: char) -> String {
    let units: Vec<_> =
        c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04X}")).collect();
    units.concat()
}

#[test]
fn secrets_are_masked_as_they_are() {
    let said = masked(&["token/12"], r#"{"a":"token/12","b":["token\/12 token/12"]}"#);
    assert_eq!(said.as_deref(), Some(r#"{"a":"<secret>","b":["<secret> <secret>"]}"#));
    assert_eq!(masked(&["12345678", "0123456789"], "0123456789"), Some("<secret>".into()));
    assert_eq!(masked(&["12345678"], "12345678"), Some("<secret>".into()));
    let two = masked(&["abcdefgh", "ghijklmn"], "<abcdefghijklmn>");
    assert_eq!(two.as_deref(), Some("<<secret>>"));
    // What is not there, what is too short, and nothing at all.
    assert_eq!(masked(&["12345678"], "1234567"), None);
    assert_eq!(masked(&["running"], "running"), None);
    assert_eq!(masked(&[], "token"), None);
    assert_eq!(masked(&["12345678"], ""), None);
}

#[test]
fn secrets_are_masked_however_they_are_escaped() {
    let assert_masked = |names: &[&str], form: &str| {
        let said = masked(&[TOKEN], &format!("a {form}, b"));
        assert_eq!(said.as_deref(), Some("a <secret>, b"), "{names:?}: {form}");
    };
    // One, two within one another, and three.
    for (first, encode) in ENCODERS {
        let form = encode(TOKEN);
        assert_masked(&[first], &form);
        for (second, encode) in ENCODERS {
            let form = encode(&form);
            assert_masked(&[first, second], &form);
            for (third, encode) in ENCODERS.into_iter().step_by(2) {
                assert_masked(&[first, second, third], &encode(&form));
            }
        }
    }
    assert_masked(&["JSON", "four times"], &json(&json(&json(&json(TOKEN)))));
    assert_masked(&["a form"], &percent(TOKEN).replace("%20", "+"));
    let mixed =
        r"t\u006fk&plus;%65n%2F\u00e9\ud83D\uDe00&quot;1\\2&#x25;&lt;\u0026\u003e'\u003D3 \x7a";
    assert_masked(&["each character in another"], mixed);
}

#[test]
fn secrets_are_masked_in_base64() {
    let said = |text: &str| masked(&[TOKEN], &format!("a {text}, b"));
    for before in ["", "u", "us", "use", "Bearer ", "user:"] {
        for behind in ["", "\n", "\r\n", ", b"] {
            let longer = format!("{before}{TOKEN}{behind}");
            for engine in [BASE64_STANDARD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD] {
                let encoded = engine.encode(&longer);
                let percent = utf8_percent_encode(&encoded, NON_ALPHANUMERIC).to_string();
                let net = encoded.replace('+', "\\u002B").replace('=', "\\u003d");
                let lines = encoded.as_bytes().chunks(20).map(String::from_utf8_lossy);
                let lines = lines.collect::<Vec<_>>().join("\\r\\n");
                for form in [encoded.clone(), encoded.replace('/', "\\/"), percent, net, lines] {
                    let masked = said(&form).unwrap_or_else(|| panic!("{longer:?}: {form}"));
                    // What is left of the rest holds no byte of it.
                    let before = engine.encode(before);
                    let kept = masked.split("<secret>").next().unwrap();
                    assert!(format!("a {before}").starts_with(kept), "{form}: {masked}");
                    if behind.is_empty() {
                        assert!(masked.ends_with("<secret>, b"), "{form}: {masked}");
                    }
                }
            }
        }
    }
}

#[test]
fn other_text_stays() {
    for text in [
        r#"{"url":"https:\/\/cdn.example\/a%20b?x=1\u0026y=%2B&z","t":"\u4e2d\n\"\\"}"#,
        "tok+en/é😀\"1\\2%<&>'=3 y",
        r"tok\u002Cen/",
        "dG9rK2VuL",
        "&#116;&#111;",
    ] {
        assert_eq!(masked(&[TOKEN], text), None, "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_not_shown() {
    let text = r"\\u005c".repeat(100_000);
    assert_eq!(masked(&[TOKEN], &text).as_deref(), Some("<secret>"));
}

#[test]
fn a_secret_may_look_like_an_escape() {
    for secret in [r"a\u0041bc%2Bd", "%25%25%25%25", "&amp;&lt;12", r"\\\\\\\\", r"c:\\x\\y\n"] {
        let percent = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
        let html = secret.replace('&', "&amp;").replace('<', "&lt;");
        for form in [secret.to_owned(), json(secret), json(&json(secret)), percent, html] {
            let said = masked(&[secret], &format!("a {form}, b"));
            assert_eq!(said.as_deref(), Some("a <secret>, b"), "{secret}: {form}");
        }
    }
}

#[test]
fn headers_are_masked() {
    let redactor = Redactor::new(["a+123456B", "Key-12345678"]);
    let mut headers = HeaderMap::new();
    headers.append("x-key", HeaderValue::from_static("key a%2B123456B"));
    headers.append("x-key", HeaderValue::from_static("none"));
    headers.append("x-key-12345678", HeaderValue::from_static("1"));
    redactor.mask_headers(&mut headers);
    assert!(headers.get_all("x-key").iter().eq(["key <secret>", "none"]));
    assert_eq!(headers.keys_len(), 1);
}

#[test]
fn the_beginning_of_a_secret_at_the_end_is_masked() {
    let redactor = Redactor::new(["12345678", "secret/0123456789"]);
    let masked = |text: &'static str| redactor.mask_truncated(Bytes::from_static(text.as_bytes()));
    assert_eq!(masked(r#"{"m": "key secret/0123"#), r#"{"m": "key "#);
    assert_eq!(masked(r#"{"m": "secret\/0123456789 secret\/"#), r#"{"m": "<secret> "#);
    assert_eq!(masked("key 1234"), "key ");
    assert_eq!(masked("key 1234."), "key 1234.");
    assert_eq!(masked("key secret%2F01"), "key ");
    for cut in ["\\", "\\u", "\\u00", "%", "%2", "&", "&#4", "&so"] {
        let text = Bytes::from(format!("key secret{cut}"));
        assert_eq!(redactor.mask_truncated(text), "key ", "{cut}");
    }
    let mut base64 = format!("key {}", BASE64_STANDARD.encode("my secret/0123456789"));
    base64.truncate(16);
    assert_eq!(redactor.mask_truncated(Bytes::from(base64)), "key bXkg");
    assert_eq!(masked(""), "");
    assert_eq!(Redactor::default().mask_truncated(Bytes::from_static(b"a")), "a");
}

/// Each of its backslashes is one as it stands, and half of one.
#[test]
fn a_secret_of_backslashes_is_found_in_bounded_time() {
    let secret = "\\".repeat(120);
    let redactor = Redactor::new([&*secret]);
    for text in [json(&secret), json(&json(&secret)), json(&json(&json(&secret)))] {
        assert_eq!(redactor.mask_text(&text).as_deref(), Some("<secret>"));
    }
    let many = "\\".repeat(1 << 15) + "n";
    assert_eq!(redactor.mask_text(&many).as_deref(), Some("<secret>"));
}
