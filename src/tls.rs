//! TLS as clients of providers and the web server share it: the cryptography provider, certificates that
//! are trusted themselves, and error messages.
//!
//! A certificate that the configuration contains byte for byte is trusted even if it is the certificate
//! of an authority: `openssl req -x509` makes such certificates, and webpki does not accept them for a
//! server or a client.

pub(crate) mod explain;

use std::collections::HashSet;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring as ring_provider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, VerifierBuilderError};
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};

/// Installs the cryptography provider of the process. Must be called before any client is built; a
/// second call has no effect.
pub fn install() {
    // An error means that one is installed already.
    let _ = ring_provider::default_provider().install_default();
}

/// Returns the cryptography provider of the process.
pub fn provider() -> Arc<CryptoProvider> {
    match CryptoProvider::get_default() {
        Some(provider) => Arc::clone(provider),
        None => Arc::new(ring_provider::default_provider()),
    }
}

/// Certificates that are trusted whatever authority signed them, as SHA-256 digests of their DER form.
#[derive(Debug, Default)]
pub struct TrustedCertificates(HashSet<[u8; 32]>);

impl<'c> FromIterator<&'c CertificateDer<'static>> for TrustedCertificates {
    fn from_iter<I: IntoIterator<Item = &'c CertificateDer<'static>>>(certificates: I) -> Self {
        Self(certificates.into_iter().filter_map(|der| fingerprint(der)).collect())
    }
}

impl TrustedCertificates {
    /// Reports whether a certificate is one of these, and valid for `usage` at `now`.
    pub fn accept(&self, certificate: &CertificateDer<'_>, now: UnixTime, usage: KeyUsage) -> bool {
        fingerprint(certificate).is_some_and(|digest| self.0.contains(&digest))
            && is_current(certificate, now, usage)
    }
}

fn fingerprint(der: &[u8]) -> Option<[u8; 32]> {
    digest(&SHA256, der).as_ref().try_into().ok()
}

/// Reports whether a certificate's own properties are valid: its dates and its usage.
fn is_current(certificate: &CertificateDer<'_>, now: UnixTime, usage: KeyUsage) -> bool {
    let Ok(parsed) = EndEntityCert::try_from(certificate) else { return false };
    // Without an authority nothing else is checked. These errors are found only after the dates are
    // checked.
    matches!(
        parsed.verify_for_usage(&[], &[], &[], now, usage, None, None),
        Err(webpki::Error::UnknownIssuer | webpki::Error::CaUsedAsEndEntity)
    )
}

/// Verifier of servers that also accepts [`TrustedCertificates`], for their names and dates.
#[derive(Debug)]
struct TrustingVerifier {
    chains: Arc<dyn ServerCertVerifier>,
    trusted: TrustedCertificates,
}

/// Returns a verifier of servers whose certificate is one of `certificates`, or signed by one.
///
/// # Errors
/// Fails when none of them can be the certificate of an authority.
pub fn server_verifier(
    certificates: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, VerifierBuilderError> {
    let trusted = certificates.iter().collect();
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(certificates);
    let chains =
        WebPkiServerVerifier::builder_with_provider(Arc::new(authorities), provider).build()?;
    Ok(Arc::new(TrustingVerifier { chains, trusted }))
}

impl ServerCertVerifier for TrustingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chains = &self.chains;
        match chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        {
            Err(_) if self.trusted.accept(end_entity, now, KeyUsage::server_auth()) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Verifier that accepts any server, for `insecure_skip_verify`. Signatures are not verified either, since
/// an attacker in the middle could use any key.
#[derive(Debug)]
pub struct AcceptAnyServer;

impl ServerCertVerifier for AcceptAnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::ED25519,
            SignatureScheme::ED448,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::ECDSA_SHA1_Legacy,
            SignatureScheme::RSA_PKCS1_SHA1,
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

    use super::*;

    /// 2026-11-30
    const NOW: Duration = Duration::from_secs(1_796_000_000);

    /// Makes a certificate for localhost from the year `first` to the year `last`, of an authority as
    /// `openssl req -x509` does, or of none.
    fn certificate(is_authority: bool, first: i32, last: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        if is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params.not_before = date_time_ymd(first, 1, 1);
        params.not_after = date_time_ymd(last, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
    }

    fn verify_server(
        trusted: &CertificateDer<'static>,
        shown: &CertificateDer<'static>,
        name: &'static str,
    ) -> Result<(), Error> {
        let verifier = server_verifier(vec![trusted.clone()], provider()).unwrap();
        let name = ServerName::try_from(name).unwrap();
        let now = UnixTime::since_unix_epoch(NOW);
        verifier.verify_server_cert(shown, &[], &name, &[], now).map(|_| ())
    }

    fn accepts_client(trusted: &CertificateDer<'static>, shown: &CertificateDer<'static>) -> bool {
        let now = UnixTime::since_unix_epoch(NOW);
        TrustedCertificates::from_iter([trusted]).accept(shown, now, KeyUsage::client_auth())
    }

    #[test]
    fn a_trusted_certificate_is_accepted_for_its_names_and_dates() {
        for is_authority in [true, false] {
            let ours = certificate(is_authority, 2026, 2027);
            assert_eq!(verify_server(&ours, &ours, "localhost"), Ok(()));
            assert!(accepts_client(&ours, &ours));
            let error = verify_server(&ours, &ours, "gateway.example").unwrap_err();
            assert!(format!("{error:?}").contains("NotValidForName"), "{error:?}");
            for (first, last, wrong) in [(2020, 2026, "Expired"), (2027, 2030, "NotValidYet")] {
                let other = certificate(is_authority, first, last);
                let error = verify_server(&other, &other, "localhost").unwrap_err();
                assert!(format!("{error:?}").contains(wrong), "{error:?}");
                assert!(!accepts_client(&other, &other), "{wrong}");
            }
            // Another with the same names.
            let other = certificate(is_authority, 2026, 2027);
            assert!(verify_server(&ours, &other, "localhost").is_err());
            assert!(!accepts_client(&ours, &other));
        }
    }
}
