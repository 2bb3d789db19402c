//! `tls_config`: whether its files are there, are what they should be, and belong together.

use std::path::PathBuf;

use rustls::RootCertStore;
use rustls::crypto::ring;

use super::check::Check;
use super::client::{missing, reason};
use super::diagnostic::Mistake;
use super::pem::{self, Half};
use super::place::Place;
use super::placed::At;
use super::{Tls, raw};
use crate::bounded_file;

impl Check<'_> {
    /// How TLS is spoken to a provider.
    pub fn tls(&self, raw: &raw::TlsConfig) -> Tls {
        let ca = self.pem(&raw.ca_file, pem::certificates);
        if let Some((place, _, certificates)) = &ca {
            let mut authorities = RootCertStore::empty();
            if certificates.iter().any(|one| authorities.add(one.clone()).is_err()) {
                self.report(Mistake::new(*place, "a certificate in this file cannot be read"));
            }
        }
        let cert = self.pem(&raw.cert_file, pem::certificates);
        let key = self.pem(&raw.key_file, pem::private_key);
        for (one, other, message) in [
            (&raw.cert_file, &raw.key_file, "cert_file needs key_file"),
            (&raw.key_file, &raw.cert_file, "key_file needs cert_file"),
        ] {
            if let (Some(place), true) = (one.place, other.is_absent()) {
                self.report(Mistake::new(place, message));
            }
        }
        let identity = cert.zip(key).map(|((cert_at, cert, chain), (key_at, path, key))| {
            let pair = pem::check_pair(chain, key, &ring::default_provider());
            if let Err((half, message)) = pair {
                let place = if half == Half::Key { key_at } else { cert_at };
                self.report(Mistake::new(place, message));
            }
            (cert, path)
        });
        Tls {
            ca_file: ca.map(|(_, path, _)| path),
            identity,
            insecure_skip_verify: raw.insecure_skip_verify.get().copied().unwrap_or_default(),
            min_version: raw.min_version.get().copied().unwrap_or_default(),
        }
    }

    /// A PEM file, with its place and what is in it.
    fn pem<T>(
        &self,
        at: &At<String>,
        parse: impl Fn(&[u8]) -> Result<T, &'static str>,
    ) -> Option<(Place, PathBuf, T)> {
        let (place, path) = self.path(at)?;
        let mistake = match bounded_file::read(&path, pem::MAX_PEM_BYTES) {
            Ok(pem) => match parse(&pem) {
                Ok(parsed) => return Some((place, path, parsed)),
                Err(wrong) => Mistake::new(place, wrong),
            },
            Err(error) => {
                let mistake =
                    Mistake::new(place, format!("cannot read the file: {}", reason(&error)));
                missing(mistake, &error, &path)
            }
        };
        self.report(mistake.detail(path.display().to_string()));
        None
    }
}
