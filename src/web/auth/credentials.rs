//! What a client says who it is.

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretSlice;

/// The longest name and password together, in bytes. Those of people and of password managers have
/// some dozens; and each guess keeps them while it waits.
const MAX_CREDENTIALS_BYTES: usize = 1_024;

/// A name and a password.
#[derive(Debug)]
pub struct Credentials {
    /// The name, which may be no text.
    pub user: Vec<u8>,
    /// The password, likewise.
    pub password: SecretSlice<u8>,
}

impl Credentials {
    /// Reads those of a request, after RFC 7617; `None` where there are none, or none that can be right.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let (scheme, encoded) =
            headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let mut user = STANDARD.decode(encoded.trim()).ok()?;
        let colon = user.iter().position(|byte| *byte == b':')?;
        let password = user.split_off(colon + 1);
        user.truncate(colon);
        if user.len() + password.len() > MAX_CREDENTIALS_BYTES {
            return None;
        }
        Some(Self { user, password: password.into() })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn credentials_are_never_shown() {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "Basic YWxpY2U6aHVudGVyMg==".parse().unwrap());
        let credentials = Credentials::of(&headers).unwrap();
        assert_eq!(credentials.user, b"alice");
        assert_eq!(credentials.password.expose_secret(), b"hunter2");
        let long = STANDARD.encode(format!("alice:{}", "x".repeat(MAX_CREDENTIALS_BYTES)));
        headers.insert(header::AUTHORIZATION, format!("Basic {long}").parse().unwrap());
        assert!(Credentials::of(&headers).is_none(), "too long");
        let password = format!("{:?}", b"hunter2");
        assert!(!format!("{credentials:?}").contains(password.trim_matches(['[', ']'])));
    }
}
