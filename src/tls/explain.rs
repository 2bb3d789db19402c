//! Messages for TLS errors, with advice.

use rustls::pki_types::UnixTime;
use rustls::{
    AlertDescription, CertificateError, Error, ExtendedKeyPurpose, InvalidMessage, PeerIncompatible,
};

use crate::duration;
use crate::printable::excerpt;

/// Maximum number of names of a certificate that are listed; it may have thousands.
const MAX_NAMES: usize = 5;
/// Maximum number of characters of a name, or of a text from elsewhere, that are shown.
const MAX_CHARS: usize = 100;

/// Peer of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A provider, a source of tasks or a proxy.
    Server,
    /// A database.
    Database,
    /// A client of the web server.
    Client,
}

impl Peer {
    const fn name(self) -> &'static str {
        match self {
            Self::Server | Self::Database => "server",
            Self::Client => "client",
        }
    }

    /// Returns the configuration key of the certificates that verify this peer.
    const fn authorities(self) -> &'static str {
        match self {
            Self::Server => "tls_config.ca_file",
            Self::Database => "sslrootcert (ssl-ca for MySQL)",
            Self::Client => "client_ca_file",
        }
    }
}

/// Returns the message for a TLS error: one printable line without a full stop.
pub fn explain(error: &Error, peer: Peer) -> String {
    let name = peer.name();
    match error {
        Error::InvalidCertificate(error) => {
            format!("the {name}'s certificate {}", certificate(error, peer))
        }
        Error::AlertReceived(alert) => alert_sentence(*alert, peer),
        Error::InvalidMessage(error) => message(error, peer),
        Error::PeerIncompatible(error) => incompatible(error, peer),
        Error::NoCertificatesPresented => format!("the {name} sent no certificate"),
        Error::NoApplicationProtocol => {
            format!(
                "the {name} supports neither HTTP/1.1 nor any other protocol that the exporter \
                 offers"
            )
        }
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            format!("the {name} sent an unexpected TLS message")
        }
        Error::PeerMisbehaved(_) => format!("the {name} violated the TLS protocol"),
        Error::DecryptError => format!("data from the {name} cannot be decrypted"),
        Error::PeerSentOversizedRecord => format!("the {name} sent a TLS record that is too large"),
        Error::General(text) => format!("TLS failed: {}", excerpt(text, MAX_CHARS)),
        other => format!("TLS failed: {}", excerpt(&other.to_string(), MAX_CHARS)),
    }
}

/// Returns the rest of a message about a refused certificate.
fn certificate(error: &CertificateError, peer: Peer) -> String {
    let (name, authorities) = (peer.name(), peer.authorities());
    match error {
        CertificateError::UnknownIssuer => format!(
            "is not signed by a trusted authority: name the authority's certificate, or the \
             {name}'s own, in {authorities}"
        ),
        CertificateError::ExpiredContext { time, not_after } => format!(
            "expired at {}, {} ago: the {name} needs a new one, or the exporter's clock is wrong",
            date(*not_after),
            age(*time, *not_after)
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "is not valid before {}, in {}: the exporter's clock or that of the issuer is wrong",
            date(*not_before),
            age(*not_before, *time)
        ),
        CertificateError::Expired | CertificateError::NotValidYet => {
            format!(
                "is not valid now: the {name} needs a new one, or the exporter's clock is wrong"
            )
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("is not for {}: {}", excerpt(&expected.to_str(), MAX_CHARS), names(presented))
        }
        CertificateError::NotValidForName => "is for another name".to_owned(),
        CertificateError::InvalidPurpose => format!("is not meant for a {name}"),
        CertificateError::InvalidPurposeContext { presented, .. } => {
            format!("is not meant for a {name}, but for {}", purposes(presented))
        }
        CertificateError::BadSignature => "is not signed by the authority that it names".to_owned(),
        CertificateError::BadEncoding => "cannot be read".to_owned(),
        CertificateError::UnhandledCriticalExtension => {
            "has a critical extension that is not supported".to_owned()
        }
        CertificateError::Revoked => "has been revoked".to_owned(),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "has an unsupported signature algorithm: RSA with SHA-256 and ECDSA P-256 are supported"
                .to_owned()
        }
        CertificateError::ApplicationVerificationFailure => {
            "has none of the names in client_allowed_sans".to_owned()
        }
        CertificateError::Other(other) => match other.0.downcast_ref() {
            Some(webpki::Error::CaUsedAsEndEntity) if peer == Peer::Database => {
                // The driver does not accept it even if it is named.
                format!("is an authority's: the {name} needs one that an authority has signed")
            }
            Some(webpki::Error::CaUsedAsEndEntity) => {
                format!(
                    "is an authority's certificate, and not one of those in {authorities}: name it \
                     there"
                )
            }
            Some(webpki::Error::UnsupportedCertVersion) => {
                "has X.509 version 1: create one with version 3".to_owned()
            }
            _ => format!("is rejected: {}", excerpt(&other.0.to_string(), MAX_CHARS)),
        },
        other => format!("is rejected: {}", excerpt(&other.to_string(), MAX_CHARS)),
    }
}

/// Returns a date of a certificate, to the second.
fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds);
    time.map_or_else(|_| format!("{seconds} s after 1970"), |time| time.to_string())
}

fn age(later: UnixTime, earlier: UnixTime) -> String {
    let seconds = later.as_secs().saturating_sub(earlier.as_secs());
    // Beside days the seconds say nothing.
    let coarse = if seconds < 86_400 { seconds } else { seconds / 86_400 * 86_400 };
    duration::format(std::time::Duration::from_secs(coarse))
}

/// Returns the names of a certificate as a list. webpki writes them as `DnsName("a.example")`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let name = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest);
        excerpt(name.trim_end_matches(')').trim_matches('"'), MAX_CHARS)
    };
    let shown: Vec<_> = presented.iter().take(MAX_NAMES).map(bare).collect();
    match presented.len().saturating_sub(MAX_NAMES) {
        _ if shown.is_empty() => {
            "it has no subjectAltName, and its common name does not count".to_owned()
        }
        0 => format!("it is for {}", shown.join(", ")),
        more => format!("it is for {} and {more} more", shown.join(", ")),
    }
}

fn purposes(presented: &[ExtendedKeyPurpose]) -> String {
    let shown: Vec<_> = presented
        .iter()
        .take(MAX_NAMES)
        .map(|purpose| match purpose {
            ExtendedKeyPurpose::ClientAuth => "a client",
            ExtendedKeyPurpose::ServerAuth => "a server",
            ExtendedKeyPurpose::Other(_) => "something else",
        })
        .collect();
    if shown.is_empty() { "unnamed purposes".to_owned() } else { shown.join(", ") }
}

/// Returns the alert with which the other side ended the connection as a sentence.
fn alert_sentence(alert: AlertDescription, peer: Peer) -> String {
    let name = peer.name();
    let keys = match peer {
        Peer::Server => "cert_file and key_file of tls_config",
        Peer::Database => "sslcert and sslkey (ssl-cert and ssl-key for MySQL)",
        Peer::Client => "cert_file and key_file of tls_server_config",
    };
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            format!("the {name} requires a certificate from the exporter: name one in {keys}")
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA => format!(
            "the {name} rejects the exporter's certificate ({}): check {keys}",
            alert_name(alert)
        ),
        AlertDescription::AccessDenied => format!("the {name} denies access"),
        AlertDescription::ProtocolVersion => {
            format!("the {name} supports no TLS version that the exporter supports")
        }
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => format!(
            "the {name} rejected the TLS handshake: no common version, cipher or group, or it \
             requires a certificate from the exporter"
        ),
        AlertDescription::UnrecognisedName => {
            format!("the {name} does not know the requested host name: check base_url")
        }
        AlertDescription::NoApplicationProtocol => {
            format!("the {name} supports no HTTP version that the exporter offers")
        }
        other => format!("the {name} closed the TLS connection: {}", alert_name(other)),
    }
}

/// Returns the name of an alert in plain words: `UnknownCA` as "unknown ca".
fn alert_name(alert: AlertDescription) -> String {
    match alert.as_str() {
        Some(name) => words(name),
        None => format!("alert {}", u8::from(alert)),
    }
}

/// Splits a name in camel case into words.
fn words(name: &str) -> String {
    let mut out = String::new();
    let mut was_lower = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && was_lower {
            out.push(' ');
        }
        was_lower = !c.is_ascii_uppercase();
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn message(error: &InvalidMessage, peer: Peer) -> String {
    let name = peer.name();
    match (error, peer) {
        (InvalidMessage::InvalidContentType, Peer::Server) => format!(
            "the {name} does not speak TLS on this port: should the URL begin with http:// instead \
             of https://?"
        ),
        (InvalidMessage::InvalidContentType, Peer::Client) => {
            format!(
                "the {name} does not speak TLS: its URL may begin with http:// instead of https://"
            )
        }
        _ => format!("data from the {name} is not valid TLS"),
    }
}

fn incompatible(error: &PeerIncompatible, peer: Peer) -> String {
    let name = peer.name();
    let what = match error {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => {
            "it supports no allowed TLS version: check min_version"
        }
        PeerIncompatible::NoCipherSuitesInCommon => "no common cipher suite",
        PeerIncompatible::NoKxGroupsInCommon => "no common key exchange group",
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
            "no common signature scheme"
        }
        PeerIncompatible::ExtendedMasterSecretExtensionRequired => {
            "it lacks the extended master secret (RFC 7627)"
        }
        _ => "it lacks a required TLS feature",
    };
    format!("no TLS connection with the {name} is possible: {what}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::OtherError;
    use rustls::pki_types::ServerName;

    use super::*;
    use crate::printable::is_printable;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    fn of_server(error: impl Into<Error>) -> String {
        explain(&error.into(), Peer::Server)
    }

    fn misnamed(presented: Vec<String>) -> CertificateError {
        let expected = ServerName::try_from("gateway.example").unwrap();
        CertificateError::NotValidForNameContext { expected, presented }
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_a_sentence() {
        let other = |error| CertificateError::Other(OtherError(Arc::new(error)));
        for (error, expected) in [
            (CertificateError::UnknownIssuer, "is not signed by a trusted authority: name the"),
            (
                CertificateError::ExpiredContext {
                    time: at(1_700_200_005),
                    not_after: at(1_700_000_000),
                },
                "expired at 2023-11-14T22:13:20Z, 2d ago: the server needs a new one, or the \
                 exporter's clock is wrong",
            ),
            (
                CertificateError::NotValidYetContext {
                    time: at(1_700_000_000),
                    not_before: at(1_700_000_090),
                },
                "is not valid before 2023-11-14T22:14:50Z, in 1m30s: the exporter's clock or that \
                 of the issuer is wrong",
            ),
            (
                misnamed(vec!["DnsName(\"localhost\")".into(), "IpAddress(127.0.0.1)".into()]),
                "is not for gateway.example: it is for localhost, 127.0.0.1",
            ),
            (misnamed(Vec::new()), "is not for gateway.example: it has no subjectAltName"),
            (
                other(webpki::Error::CaUsedAsEndEntity),
                "is an authority's certificate, and not one of those in",
            ),
            (other(webpki::Error::UnsupportedCertVersion), "has X.509 version 1"),
        ] {
            let sentence = of_server(error);
            let expected = format!("the server's certificate {expected}");
            assert!(sentence.starts_with(&expected), "{sentence}");
        }
    }

    #[test]
    fn names_are_bounded_and_printable() {
        let hostile = format!("DnsName(\"{}\")", "a\n\u{202e}".repeat(1_000));
        let sentence = of_server(misnamed(vec![hostile; 1_000]));
        assert!(sentence.chars().all(is_printable), "{sentence}");
        assert!(sentence.len() < 2_000 && sentence.ends_with(" and 995 more"), "{sentence}");
    }

    #[test]
    fn what_the_other_side_says_is_a_sentence() {
        for (alert, expected) in [
            (
                AlertDescription::CertificateRequired,
                "the server requires a certificate from the exporter: name",
            ),
            (
                AlertDescription::UnknownCA,
                "the server rejects the exporter's certificate (unknown ca)",
            ),
            (AlertDescription::ProtocolVersion, "the server supports no TLS version"),
            (
                AlertDescription::UnrecognisedName,
                "the server does not know the requested host name",
            ),
            (
                AlertDescription::InternalError,
                "the server closed the TLS connection: internal error",
            ),
            (AlertDescription::Unknown(200), "the server closed the TLS connection: alert 200"),
        ] {
            let sentence = of_server(Error::AlertReceived(alert));
            assert!(sentence.starts_with(expected), "{sentence}");
        }
        let plain = of_server(Error::InvalidMessage(InvalidMessage::InvalidContentType));
        assert!(plain.contains("does not speak TLS on this port"), "{plain}");
        let client = explain(&CertificateError::UnknownIssuer.into(), Peer::Client);
        assert!(client.contains("the client's own, in client_ca_file"), "{client}");
    }
}
