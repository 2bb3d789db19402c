//! Text that is never shown: passwords, tokens, and the files they are in.

pub mod purpose;

use std::fmt;
use std::io;
use std::path::PathBuf;

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use crate::bounded_file;
use purpose::Purpose;

/// The largest secret file, in bytes: far above any token, far below a file named by mistake.
const MAX_SECRET_BYTES: usize = 64 << 10;

/// A secret, or where it is.
#[derive(Clone)]
pub enum Secret {
    /// Written in the configuration.
    Inline(SecretString),
    /// Written in the configuration as a value like any other, which an answer may have as well.
    Value(SecretString),
    /// In a file, which is read whenever the secret is needed anew.
    File(SecretFile),
}

/// A file with a secret.
#[derive(Clone, Debug)]
pub struct SecretFile {
    /// Relative to the working directory.
    pub path: PathBuf,
    /// What the secret is for.
    pub purpose: Purpose,
}

impl Secret {
    /// A secret that is known.
    pub fn inline(text: &str) -> Self {
        Self::Inline(text.into())
    }

    /// Whether it is said nowhere, not even where a provider sends it back.
    pub fn is_masked(&self) -> bool {
        !matches!(self, Self::Value(_))
    }

    /// The text, without white space around it where it comes from a file.
    ///
    /// # Errors
    /// The file cannot be read, is empty, too large, not UTF-8, or holds something else than the
    /// secret, which the inner error then is a [`purpose::Misuse`] of. Errors never hold the text.
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

    /// The value of a header that carries the secret behind `scheme`, which may be empty.
    ///
    /// # Errors
    /// As [`Secret::read`], or the text cannot stand in a header.
    pub fn header_value(&self, scheme: &str) -> io::Result<HeaderValue> {
        let secret = self.read()?;
        let text = match scheme {
            "" => secret,
            scheme => format!("{scheme} {}", secret.expose_secret()).into(),
        };
        let mut value = HeaderValue::from_bytes(text.expose_secret().as_bytes()).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, "holds characters that no header can")
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
        assert_eq!(read(b"a\nb\n"), "error: it has a line break");
        assert_eq!(read(b"\xff"), "error: not UTF-8 text");
        assert_eq!(read(&vec![b'x'; 65_537]), "error: larger than 64 KiB");
        fs::remove_file(&path).unwrap();
        assert_eq!(secret.read().unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(Secret::inline("a\nb").header_value("").is_err());
    }
}
