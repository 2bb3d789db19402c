//! `tls_config`: whether its files are there, are what they should be, and belong together.

use std::path::PathBuf;

use rustls::RootCertStore;
use rustls::crypto::ring;

use super::diagnostic::Diagnostic;
use super::http_client::{missing, reason};
use super::pem::{self, Half};
use super::place::Location;
use super::span::Spanned;
use super::validate::Validator;
use super::{TlsConfig, raw};
use crate::bounded_file;
use crate::task::stable_hash;

impl Validator<'_> {
    /// How TLS is spoken to a provider.
    pub fn tls(&self, raw: &raw::RawTlsConfig) -> TlsConfig {
        let ca = self.pem(&raw.ca_file, pem::certificates);
        if let Some((location, _, certificates)) = &ca {
            let mut authorities = RootCertStore::empty();
            if certificates.iter().any(|one| authorities.add(one.clone()).is_err()) {
                self.report(Diagnostic::new(
                    *location,
                    "a certificate in this file cannot be read",
                ));
            }
        }
        let cert = self.pem(&raw.cert_file, pem::certificates);
        let key = self.pem(&raw.key_file, pem::private_key);
        for (one, other, message) in [
            (&raw.cert_file, &raw.key_file, "cert_file needs key_file"),
            (&raw.key_file, &raw.cert_file, "key_file needs cert_file"),
        ] {
            if let (Some(location), true) = (one.location, other.is_absent()) {
                self.report(Diagnostic::new(location, message));
            }
        }
        let identity = cert.zip(key).map(|((cert_at, cert, chain), (key_at, path, key))| {
            let pair = pem::check_pair(chain, key, &ring::default_provider());
            if let Err((half, message)) = pair {
                let location = if half == Half::Key { key_at } else { cert_at };
                self.report(Diagnostic::new(location, message));
            }
            (cert, path)
        });
        TlsConfig {
            ca_file: ca.map(|(_, path, _)| path),
            identity,
            insecure_skip_verify: raw.insecure_skip_verify.get().copied().unwrap_or_default(),
            min_version: raw.min_version.get().copied().unwrap_or_default(),
        }
    }

    /// A PEM file, with its place and what is in it.
    fn pem<T>(
        &self,
        at: &Spanned<String>,
        parse: impl Fn(&[u8]) -> Result<T, &'static str>,
    ) -> Option<(Location, PathBuf, T)> {
        let (location, path) = self.path(at)?;
        let diagnostic = match bounded_file::read(&path, pem::MAX_PEM_BYTES) {
            Ok(pem) => {
                self.pem_files.borrow_mut().push((path.clone(), stable_hash([&*pem])));
                match parse(&pem) {
                    Ok(parsed) => return Some((location, path, parsed)),
                    Err(wrong) => Diagnostic::new(location, wrong),
                }
            }
            Err(error) => {
                let diagnostic =
                    Diagnostic::new(location, format!("cannot read the file: {}", reason(&error)));
                missing(diagnostic, &error, &path)
            }
        };
        self.report(diagnostic.detail(path.display().to_string()));
        None
    }
}
