//! Text that is never shown: passwords, tokens, and the files they are in.

use super::data_source::DataSourceName;
use crate::bounded_file;
use crate::printable::find_invisible;
use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Maximum size of a secret file, in bytes: far above any token, far below a file named by mistake.
const MAX_SECRET_BYTES: usize = 64 << 10;

/// A secret, or where it is.
#[derive(Clone)]
pub enum Secret {
    /// Written in the configuration.
    Inline(SecretString),
    /// Written in the configuration as a value like any other, which a response may have as well.
    Value(SecretString),
    /// In a file, which is read each time the secret is needed.
    File(SecretFile),
}

/// A file with a secret.
#[derive(Clone, Debug)]
pub struct SecretFile {
    /// Relative to the working directory.
    pub path: PathBuf,
    /// The use of the secret.
    pub purpose: Purpose,
}

impl Secret {
    /// Returns a secret that is written in the configuration.
    pub fn inline(text: &str) -> Self {
        Self::Inline(text.into())
    }

    /// Reports whether the secret is masked everywhere, even where a provider sends it back.
    pub fn is_masked(&self) -> bool {
        !matches!(self, Self::Value(_))
    }

    /// Reads the text, without white space around it if it comes from a file.
    ///
    /// # Errors
    /// The file cannot be read, is empty, too large, not UTF-8, or holds something else than the
    /// secret; then the inner error is a [`Misuse`]. Errors never contain the text.
    pub fn read(&self) -> io::Result<SecretString> {
        let SecretFile { path, purpose } = match self {
            Self::Inline(text) | Self::Value(text) => return Ok(text.clone()),
            Self::File(file) => file,
        };
        let invalid = |message| io::Error::new(io::ErrorKind::InvalidData, message);
        let text = bounded_file::read(path, MAX_SECRET_BYTES)?;
        let text = std::str::from_utf8(&text).map_err(|_| invalid("not UTF-8 text"))?;
        match text.trim_start_matches('\u{feff}').trim() {
            "" => Err(invalid("empty")),
            text => match purpose.check(text, true) {
                Ok(()) => Ok(text.into()),
                Err(misuse) => Err(io::Error::new(io::ErrorKind::InvalidData, misuse)),
            },
        }
    }

    /// Returns the value of a header that carries the secret behind `scheme`, which may be empty.
    ///
    /// # Errors
    /// As [`Secret::read`], or the text cannot be part of a header.
    pub fn header_value(&self, scheme: &str) -> io::Result<HeaderValue> {
        let secret = self.read()?;
        let text = match scheme {
            "" => secret,
            scheme => format!("{scheme} {}", secret.expose_secret()).into(),
        };
        let mut value = HeaderValue::from_bytes(text.expose_secret().as_bytes()).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "contains characters that are not allowed in a header",
            )
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) | Self::Value(_) => f.write_str("<secret>"),
            Self::File(file) => write!(f, "<secret in {}>", file.path.display()),
        }
    }
}

/// Types of authorization that people write in front of a token.
const SCHEMES: [&str; 7] = ["bearer", "basic", "token", "key", "apikey", "api-key", "digest"];
/// Opening and closing quotes, of word processors too.
const QUOTES: [(char, char); 5] =
    [('"', '"'), ('\'', '\''), ('`', '`'), ('\u{201c}', '\u{201d}'), ('\u{2018}', '\u{2019}')];

/// The use of a secret.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// Credentials in the header `header` behind the type `scheme`, which may be empty.
    Token {
        /// The header.
        header: HeaderName,
        /// The type of authorization.
        scheme: Box<str>,
    },
    /// A key that signs.
    Key,
    /// A user's password, which may be nearly any text.
    Password,
    /// The whole value of a header.
    Header(HeaderName),
    /// The data source name of a database.
    DataSourceName,
}

/// The reason for which a text is no secret. Contains nothing of the text but an invisible character.
#[derive(Debug)]
pub struct Misuse {
    message: String,
    /// Advice.
    pub hint: &'static str,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Misuse {}

impl Misuse {
    fn new(message: impl Into<String>, hint: &'static str) -> Self {
        Self { message: message.into(), hint }
    }
}

impl Purpose {
    /// Checks a text that is written in the configuration, or that is all of a file.
    ///
    /// # Errors
    /// The text cannot be what it is for.
    pub fn check(&self, text: &str, in_file: bool) -> Result<(), Misuse> {
        const ALONE: &str = "write only the secret, on one line";
        if let Some((_, found)) = find_invisible(text) {
            return Err(Misuse::new(format!("it contains {found}"), "remove the character"));
        }
        if text.contains(['\n', '\r']) {
            return Err(Misuse::new("it contains a line break", ALONE));
        }
        if self.is_placeholder(text) {
            return Err(Misuse::new("it is an unresolved placeholder", UNFILLED));
        }
        let is_password = matches!(self, Self::Password);
        let is_value = matches!(self, Self::Header(_));
        if (in_file || !is_password && !is_value) && is_quoted(text) {
            return Err(Misuse::new("it is in quotes, which would be sent", ALONE));
        }
        if (in_file || !is_password && !is_value) && self.is_assignment(text) {
            return Err(Misuse::new("it is a line such as NAME=…", ALONE));
        }
        match self {
            Self::Token { header, scheme } => check_token(text, header, scheme),
            Self::Key => check_ends(text),
            Self::Header(name) => check_name(text, name),
            Self::Password => Ok(()),
            Self::DataSourceName => {
                check_ends(text)?;
                let parsed = DataSourceName::parse(text);
                parsed.map(drop).map_err(|error| Misuse::new(error.message, error.hint))
            }
        }
    }

    fn is_placeholder(&self, text: &str) -> bool {
        match self {
            // A password may have a `$`, even at its start.
            Self::Password => {
                let is_variable =
                    |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
                let name = text.strip_prefix('$').unwrap_or_default();
                text == "<secret>"
                    || (is_name(name) && name.chars().all(is_variable))
                    || is_between(text, "${", "}", is_name)
                    || is_between(text, "{{", "}}", |_| true)
            }
            _ => {
                is_unfilled(text)
                    || is_between(text, "<", ">", |_| true)
                    || is_between(text, "%", "%", is_name)
                    || is_between(text, "$(", ")", |_| true)
            }
        }
    }

    /// Reports whether a text is a line of a shell or of a file with variables. `=` ends a token in
    /// base64, and occurs in values such as those of cookies.
    fn is_assignment(&self, text: &str) -> bool {
        let (is_exported, text) = match text.strip_prefix("export ") {
            Some(rest) => (true, rest.trim_start()),
            None => (false, text),
        };
        let Some((name, value)) = text.split_once('=') else { return false };
        let is_variable = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let is_bearer = match self {
            Self::Token { scheme, .. } => scheme.eq_ignore_ascii_case("bearer"),
            Self::Key => true,
            Self::Password | Self::Header(_) | Self::DataSourceName => false,
        };
        let is_named = is_bearer || name.len() > 2 && name.chars().all(is_variable);
        is_name(name) && (is_exported || is_named && !value.is_empty() && !value.starts_with('='))
    }
}

/// Advice for a placeholder.
pub const UNFILLED: &str =
    "variables and templates are not expanded: write the value, or expand them beforehand";

/// Reports whether a text is a variable or has one in it, as shells, Compose, Kubernetes and
/// template engines write them.
pub fn is_unfilled(text: &str) -> bool {
    let has = |open: &str, close: &str, is_inside: fn(&str) -> bool| {
        text.match_indices(open).any(|(at, _)| {
            let behind = text.get(at + open.len()..).unwrap_or_default();
            behind.split_once(close).is_some_and(|(inside, _)| is_inside(inside))
        })
    };
    let is_variable = |inside: &str| is_name(inside.split([':', '-', '?']).next().unwrap_or(""));
    text.strip_prefix('$').is_some_and(is_name)
        || has("${", "}", is_variable)
        || has("{{", "}}", |_| true)
}

/// Reports whether a text is the name of a variable.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_between(text: &str, open: &str, close: &str, is_inside: impl Fn(&str) -> bool) -> bool {
    let inside = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    inside.is_some_and(|inside| !inside.is_empty() && is_inside(inside))
}

fn is_quoted(text: &str) -> bool {
    let is_between = |(open, close): (char, char)| {
        text.strip_prefix(open).is_some_and(|rest| rest.ends_with(close))
    };
    QUOTES.into_iter().any(is_between)
}

fn check_ends(text: &str) -> Result<(), Misuse> {
    if text.trim() == text {
        return Ok(());
    }
    Err(Misuse::new("it begins or ends with white space", "remove the white space"))
}

fn check_name(text: &str, header: &HeaderName) -> Result<(), Misuse> {
    let name = text.split_once(':').map(|(name, _)| name.trim_end());
    if name.is_some_and(|name| name.eq_ignore_ascii_case(header.as_str())) {
        return Err(Misuse::new(
            "it begins with the name of the header",
            "write only the text after the `:`",
        ));
    }
    Ok(())
}

fn check_token(text: &str, header: &HeaderName, scheme: &str) -> Result<(), Misuse> {
    check_ends(text)?;
    check_name(text, header)?;
    let first = text.split_once(char::is_whitespace).map(|(first, _)| first.trim_end_matches(':'));
    let Some(first) = first.filter(|_| !scheme.is_empty()) else { return Ok(()) };
    if first.eq_ignore_ascii_case(scheme) {
        return Err(Misuse::new(
            "it begins with its type, which is sent before it anyway",
            "write only the text after the type",
        ));
    }
    if SCHEMES.iter().any(|known| first.eq_ignore_ascii_case(known)) {
        return Err(Misuse::new(
            "it begins with a type other than the one that is sent before it",
            "write that type as `type`, and here only the text after it",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", Secret::inline("hunter2")), "<secret>");
        let value = Secret::inline("hunter2").header_value("Bearer").unwrap();
        assert_eq!(value.as_bytes(), b"Bearer hunter2");
        assert!(!format!("{value:?}").contains("hunter2"));
    }

    #[test]
    fn a_file_is_trimmed_and_limited() {
        let path = std::env::temp_dir().join(format!("secret-{}", std::process::id()));
        let secret = Secret::File(SecretFile { path: path.clone(), purpose: Purpose::Password });
        let read = |content: &[u8]| {
            fs::write(&path, content).unwrap();
            match secret.read() {
                Ok(text) => text.expose_secret().to_owned(),
                Err(error) => format!("error: {error}"),
            }
        };
        assert_eq!(read(b"\xef\xbb\xbf a token \r\n\n"), "a token");
        assert_eq!(read(b" \n"), "error: empty");
        assert_eq!(read(b"a\nb\n"), "error: it contains a line break");
        assert_eq!(read(b"\xff"), "error: not UTF-8 text");
        assert_eq!(read(&vec![b'x'; 65_537]), "error: larger than 64 KiB");
        fs::remove_file(&path).unwrap();
        assert_eq!(secret.read().unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(Secret::inline("a\nb").header_value("").is_err());
    }

    use http::header::{AUTHORIZATION, COOKIE};

    fn token(scheme: &str) -> Purpose {
        Purpose::Token { header: AUTHORIZATION, scheme: scheme.into() }
    }

    #[test]
    fn what_would_go_out_as_it_is_is_refused() {
        let purposes = [token("Bearer"), Purpose::Key, Purpose::Header(COOKIE), Purpose::Password];
        // In the configuration, then in a file.
        for (text, inline, in_file) in [
            ("sk-a.b_c~d+e/f==", [true; 4], [true; 4]),
            ("YWJj=", [true; 4], [true; 4]),
            ("a=b", [false, false, true, true], [false, false, true, true]),
            ("TOKEN=b", [false, false, true, true], [false; 4]),
            ("export a=b", [false, false, true, true], [false; 4]),
            ("\"a\"", [false, false, true, true], [false; 4]),
            ("\u{201c}a\u{201d}", [false, false, true, true], [false; 4]),
            ("Bearer a", [false, true, true, true], [false, true, true, true]),
            ("bearer\ta", [false, true, true, true], [false, true, true, true]),
            ("Token a", [false, true, true, true], [false, true, true, true]),
            ("Bearer: a", [false, true, true, true], [false, true, true, true]),
            ("Authorization: Bearer a", [false, true, true, true], [false, true, true, true]),
            ("cookie: a", [true, true, false, true], [true, true, false, true]),
            (" a", [false, false, true, true], [false, false, true, true]),
            ("a\nb", [false; 4], [false; 4]),
            ("a\u{200b}b", [false; 4], [false; 4]),
            ("a\u{feff}", [false; 4], [false; 4]),
            ("${TOKEN}", [false; 4], [false; 4]),
            ("${TOKEN:-x}", [false, false, false, true], [false, false, false, true]),
            ("a${TOKEN}", [false, false, false, true], [false, false, false, true]),
            ("$TOKEN", [false; 4], [false; 4]),
            ("$token", [false, false, false, true], [false, false, false, true]),
            ("$2y$10$a", [true; 4], [true; 4]),
            ("{{ token }}", [false; 4], [false; 4]),
            ("$(cat token)", [false, false, false, true], [false, false, false, true]),
            ("%TOKEN%", [false, false, false, true], [false, false, false, true]),
            ("<secret>", [false; 4], [false; 4]),
            ("<your-token>", [false, false, false, true], [false, false, false, true]),
            ("p$ss wörd{}", [true; 4], [true; 4]),
        ] {
            let check = |in_file| purposes.each_ref().map(|p| p.check(text, in_file).is_ok());
            assert_eq!([check(false), check(true)], [inline, in_file], "{text:?}");
        }
        // Where no type is sent, the token may have one.
        assert!(token("").check("Bearer a", true).is_ok());
        assert!(token("Token").check("token=\"a\"", true).is_ok());
        assert!(token("Token").check("token a", true).is_err());
    }

    #[test]
    fn no_message_holds_the_text() {
        for text in ["hunter2\n", "\"hunter2\"", "HUNTER2=hunter2", "Bearer hunter2", "${hunter2}"]
        {
            let misuse = token("Bearer").check(text, true).unwrap_err();
            assert!(!format!("{misuse:?}").to_lowercase().contains("hunter2"), "{misuse:?}");
        }
    }
}
