//! `tls_server_config`: from the file to a configuration of rustls.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::{
    RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version,
};
use secrecy::ExposeSecret;

use super::client::{self, ClientAuthPolicy};
use super::{RawTls, WatchedFiles};
use crate::config::http_client::{missing, reason};
use crate::config::tls::{self as pem, Half};
use crate::tls::TrustedCertificates;
use crate::yaml::diagnostic::{Diagnostic, DiagnosticSink};
use crate::yaml::scalar::SecretText;
use crate::yaml::span::{Location, Spanned};

/// The supported key exchange groups, by their names in Go.
const CURVES: [(&str, &dyn SupportedKxGroup); 3] = [
    ("CurveP256", kx_group::SECP256R1),
    ("CurveP384", kx_group::SECP384R1),
    ("X25519", kx_group::X25519),
];

/// The supported versions.
const VERSIONS: [(&str, &SupportedProtocolVersion); 2] =
    [("TLS12", &version::TLS12), ("TLS13", &version::TLS13)];

/// The context of a check.
pub struct TlsCheck<'c> {
    /// Directory to which files are relative.
    pub dir: &'c Path,
    /// The files that were read.
    pub files: &'c mut WatchedFiles,
    /// Sink of errors.
    pub sink: &'c DiagnosticSink,
}

/// Builds the server configuration of the section at `place`; `None` after errors.
pub fn server_config(
    place: Location,
    raw: &RawTls,
    check: &mut TlsCheck<'_>,
) -> Option<Arc<ServerConfig>> {
    let key = check.pem(("key", &raw.key), ("key_file", &raw.key_file));
    let chain = check.pem(("cert", &raw.cert), ("cert_file", &raw.cert_file));
    for (is_inline, file, name) in [
        (!raw.cert.is_absent(), &raw.cert_file, "cert_file"),
        (!raw.key.is_absent(), &raw.key_file, "key_file"),
    ] {
        // A file that is named but unusable has been reported.
        let is_missing = file.is_absent() || file.get().is_some_and(String::is_empty);
        if is_missing && !is_inline {
            let diagnostic = Diagnostic::new(place, format!("missing key: {name}"));
            check.report(diagnostic.hint("TLS needs cert_file and key_file"));
        }
    }
    let chain =
        chain.and_then(|(place, pem)| Some((place, check.parsed(place, pem::certificates(&pem))?)));
    let key =
        key.and_then(|(place, pem)| Some((place, check.parsed(place, pem::private_key(&pem))?)));
    if let (Some((chain_place, chain)), Some((key_place, key))) = (&chain, &key) {
        let pair = pem::check_pair(chain.clone(), key.clone_key(), &ring::default_provider());
        if let Err((half, message)) = pair {
            let place = if half == Half::Key { key_place } else { chain_place };
            check.report(Diagnostic::new(*place, message));
        }
    }
    let versions = check.versions(raw);
    let provider = Arc::new(CryptoProvider {
        cipher_suites: check.suites(raw, &versions),
        kx_groups: check.curves(raw),
        ..ring::default_provider()
    });
    let clients = check.clients(place, raw, &provider);
    let (clients, (_, chain), (key_place, key)) = (clients?, chain?, key?);
    if !check.sink.is_empty() {
        return None;
    }
    let refused = |error: &dyn std::fmt::Display, place| {
        check.report(Diagnostic::new(place, format!("TLS cannot be set up: {error}")));
    };
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions);
    let builder = builder.map_err(|error| refused(&error, place)).ok()?;
    let server = builder.with_client_cert_verifier(clients).with_single_cert(chain, key);
    let mut server = server.map_err(|error| refused(&error, key_place)).ok()?;
    server.ignore_client_order = raw.prefer_server_cipher_suites.get().copied().unwrap_or(true);
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A client presents no certificate in a resumed session, so that a certificate could be used
    // after its expiry.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Some(Arc::new(server))
}

/// Returns the text of a key; an empty text counts as absent.
fn text(at: &Spanned<String>) -> Option<(Location, &str)> {
    at.located().map(|(place, text)| (place, text.as_str())).filter(|(_, text)| !text.is_empty())
}

/// Returns the words of a list.
fn words(at: &Spanned<Vec<Spanned<String>>>) -> impl Iterator<Item = (Location, &str)> {
    let words = at.get().into_iter().flatten().filter_map(Spanned::located);
    words.map(|(place, word)| (place, word.as_str()))
}

/// Reports whether the section has no keys, which disables TLS.
pub fn is_empty(raw: &RawTls) -> bool {
    raw.cert.is_absent()
        && raw.key.is_absent()
        && raw.client_ca.is_absent()
        && raw.client_allowed_sans.is_absent()
        && raw.cipher_suites.is_absent()
        && raw.curve_preferences.is_absent()
        && raw.prefer_server_cipher_suites.is_absent()
        && [
            &raw.cert_file,
            &raw.key_file,
            &raw.client_ca_file,
            &raw.client_auth_type,
            &raw.min_version,
            &raw.max_version,
        ]
        .into_iter()
        .all(Spanned::is_absent)
}

impl TlsCheck<'_> {
    fn report(&self, diagnostic: Diagnostic) {
        self.sink.push(diagnostic);
    }

    /// Reads PEM that is given inline or as a file, but not as both.
    fn pem(
        &mut self,
        (name, inline): (&str, &Spanned<SecretText>),
        (file_name, file): (&str, &Spanned<String>),
    ) -> Option<(Location, Vec<u8>)> {
        match (inline.located(), text(file)) {
            (Some((place, _)), Some(_)) => {
                let message = format!("both {name} and {file_name} are set");
                self.report(Diagnostic::new(place, message).hint("remove one of them"));
                None
            }
            (Some((place, SecretText(pem))), None) => {
                Some((place, pem.expose_secret().as_bytes().to_vec()))
            }
            (None, Some((place, file))) => {
                let path = self.dir.join(file);
                let read = self.files.read(&path);
                let report = |error| {
                    let message = format!("cannot read {file_name}: {}", reason(&error));
                    let diagnostic =
                        Diagnostic::new(place, message).detail(path.display().to_string());
                    self.report(missing(diagnostic, &error, &path));
                };
                read.map(|pem| (place, pem)).map_err(report).ok()
            }
            (None, None) => None,
        }
    }

    fn parsed<T>(&self, place: Location, parsed: Result<T, &'static str>) -> Option<T> {
        parsed.map_err(|wrong| self.report(Diagnostic::new(place, wrong))).ok()
    }

    /// Returns the value of a key that has a fixed set of values.
    fn one_of<T: Copy>(
        &self,
        key: &str,
        (place, text): (Location, &str),
        known: &[(&str, T)],
    ) -> Option<T> {
        let found = known.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            let diagnostic = Diagnostic::new(place, format!("{key}: unknown or not supported"));
            self.report(
                diagnostic.quote(text).hint(format!("the supported ones are {}", names.join(", "))),
            );
        }
        found.map(|(_, value)| *value)
    }

    /// Returns the versions between the minimum and the maximum.
    fn versions(&self, raw: &RawTls) -> Vec<&'static SupportedProtocolVersion> {
        let bound = |key, at| {
            let (place, text) = text(at)?;
            if ["TLS10", "TLS11"].contains(&text) {
                let diagnostic =
                    Diagnostic::new(place, format!("{key}: this version is not supported"));
                self.report(
                    diagnostic.quote(text).hint("TLS 1.0 and 1.1 are insecure: write TLS12"),
                );
                return None;
            }
            Some((place, self.one_of(key, (place, text), &VERSIONS)?))
        };
        let lowest = bound("min_version", &raw.min_version);
        let highest = bound("max_version", &raw.max_version);
        let number = |version: &SupportedProtocolVersion| u16::from(version.version);
        if let (Some((_, lowest)), Some((place, highest))) = (lowest, highest)
            && number(lowest) > number(highest)
        {
            self.report(Diagnostic::new(place, "max_version is below min_version"));
        }
        let within = |version: &&SupportedProtocolVersion| {
            lowest.is_none_or(|(_, lowest)| number(version) >= number(lowest))
                && highest.is_none_or(|(_, highest)| number(version) <= number(highest))
        };
        VERSIONS.into_iter().map(|(_, version)| version).filter(within).collect()
    }

    /// Returns the suites in the order of the list, or all. A list without suites of TLS 1.3
    /// applies to TLS 1.2 only, as in Go.
    fn suites(
        &self,
        raw: &RawTls,
        versions: &[&SupportedProtocolVersion],
    ) -> Vec<SupportedCipherSuite> {
        let all: Vec<_> =
            ring::ALL_CIPHER_SUITES.iter().map(|suite| (name(*suite), *suite)).collect();
        let known: Vec<_> = all.iter().map(|(name, suite)| (name.as_str(), *suite)).collect();
        let named: Vec<_> = words(&raw.cipher_suites).collect();
        if named.is_empty() {
            return ring::ALL_CIPHER_SUITES.to_vec();
        }
        let suites: Vec<_> =
            named.iter().map(|word| self.one_of("cipher_suites", *word, &known)).collect();
        let Some(mut suites) = suites.into_iter().collect::<Option<Vec<_>>>() else {
            return Vec::new();
        };
        let has = |suites: &[SupportedCipherSuite], version: &SupportedProtocolVersion| {
            suites.iter().any(|suite| suite.version().version == version.version)
        };
        let v12 = versions.iter().any(|version| version.version == version::TLS12.version);
        if let Some(place) = raw.cipher_suites.location
            && v12
            && !has(&suites, &version::TLS12)
        {
            let diagnostic = Diagnostic::new(place, "cipher_suites lists no suite for TLS 1.2");
            self.report(diagnostic.hint("name one, or write min_version: TLS13"));
        }
        if !has(&suites, &version::TLS13) {
            let all = ring::ALL_CIPHER_SUITES.iter().copied();
            suites.extend(all.filter(|suite| has(&[*suite], &version::TLS13)));
        }
        suites
    }

    /// Returns the groups in the order of the list, or all.
    fn curves(&self, raw: &RawTls) -> Vec<&'static dyn SupportedKxGroup> {
        let named: Vec<_> = words(&raw.curve_preferences)
            .filter_map(|word| self.one_of("curve_preferences", word, &CURVES))
            .collect();
        if named.is_empty() { kx_group_defaults() } else { named }
    }

    /// Builds the verifier of client certificates; `None` after errors.
    fn clients(
        &mut self,
        section: Location,
        raw: &RawTls,
        provider: &Arc<CryptoProvider>,
    ) -> Option<Arc<dyn ClientCertVerifier>> {
        let policy = match text(&raw.client_auth_type) {
            Some(word) => self.one_of("client_auth_type", word, &ClientAuthPolicy::NAMES),
            None => Some(ClientAuthPolicy::NoClientCert),
        };
        let place = raw.client_auth_type.location.unwrap_or(section);
        let is_given = raw.client_ca.get().is_some() || text(&raw.client_ca_file).is_some();
        let pem = self.pem(("client_ca", &raw.client_ca), ("client_ca_file", &raw.client_ca_file));
        let mut authorities = RootCertStore::empty();
        let mut trusted = TrustedCertificates::default();
        if let Some((place, pem)) = pem {
            let certificates = self.parsed(place, pem::certificates(&pem))?;
            trusted = certificates.iter().collect();
            for certificate in certificates {
                if authorities.add(certificate).is_err() {
                    self.report(Diagnostic::new(
                        place,
                        "a certificate in this file cannot be used as an authority",
                    ));
                    return None;
                }
            }
        } else if is_given {
            return None;
        }
        let policy = policy?;
        if is_given && policy == ClientAuthPolicy::NoClientCert {
            let place = raw.client_ca_file.location.or(raw.client_ca.location).unwrap_or(place);
            let diagnostic = Diagnostic::new(place, "client authorities need client_auth_type");
            self.report(diagnostic.hint("write client_auth_type: RequireAndVerifyClientCert"));
            return None;
        }
        if !is_given && policy.verifies() {
            let diagnostic = Diagnostic::new(place, "client_auth_type needs client_ca_file");
            self.report(
                diagnostic.hint("name the file with the authorities that sign for clients"),
            );
            return None;
        }
        let allowed = self.allowed(raw, policy)?;
        let verifier = client::verifier(policy, authorities, trusted, allowed, provider);
        verifier.map_err(|error| self.report(Diagnostic::new(place, error))).ok()
    }

    /// Returns the names of which a client certificate must have one.
    fn allowed(&self, raw: &RawTls, policy: ClientAuthPolicy) -> Option<Vec<String>> {
        let mut allowed = Vec::new();
        for (place, name) in words(&raw.client_allowed_sans) {
            // An email address has no scheme; a URI may have a user.
            if name.contains('@') && !name.contains(':') {
                let diagnostic =
                    Diagnostic::new(place, "client_allowed_sans: e-mail is not supported");
                self.report(diagnostic.hint("name a host, an IP address or a URI"));
            }
            allowed.push(name.to_owned());
        }
        if let Some(place) = raw.client_allowed_sans.location
            && policy != ClientAuthPolicy::RequireAndVerifyClientCert
        {
            let message = "client_allowed_sans needs client_auth_type: RequireAndVerifyClientCert";
            let hint = "any other type admits clients whose names nothing has verified";
            self.report(Diagnostic::new(place, message).hint(hint));
            return None;
        }
        if let (Some(place), true) = (raw.client_allowed_sans.location, allowed.is_empty()) {
            self.report(Diagnostic::new(place, "client_allowed_sans must not be empty"));
        }
        Some(allowed)
    }
}

fn kx_group_defaults() -> Vec<&'static dyn SupportedKxGroup> {
    ring::default_provider().kx_groups
}

/// Returns Go's name of a suite.
fn name(suite: SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}
