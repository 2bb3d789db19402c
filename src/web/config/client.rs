//! Verification of client certificates.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use webpki::{EndEntityCert, KeyUsage};

use crate::tls::TrustedCertificates;

/// The policy for client certificates. The names are those of Go's `tls.ClientAuthType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthPolicy {
    /// No certificate is requested.
    NoClientCert,
    /// A certificate is requested and not verified.
    RequestClientCert,
    /// Any certificate is required.
    RequireAnyClientCert,
    /// A certificate is optional, and verified if there is one.
    VerifyClientCertIfGiven,
    /// A verified certificate is required.
    RequireAndVerifyClientCert,
}

impl ClientAuthPolicy {
    /// The accepted values. The fifth is an older name for the third.
    pub const NAMES: [(&str, Self); 6] = [
        ("NoClientCert", Self::NoClientCert),
        ("RequestClientCert", Self::RequestClientCert),
        ("RequireAnyClientCert", Self::RequireAnyClientCert),
        ("VerifyClientCertIfGiven", Self::VerifyClientCertIfGiven),
        ("RequireClientCert", Self::RequireAnyClientCert),
        ("RequireAndVerifyClientCert", Self::RequireAndVerifyClientCert),
    ];

    /// Reports whether certificates are verified against authorities.
    pub const fn verifies(self) -> bool {
        matches!(self, Self::VerifyClientCertIfGiven | Self::RequireAndVerifyClientCert)
    }
}

/// Builds the verifier of the policy.
///
/// If the policy verifies certificates, a certificate must be signed by one of the `authorities` or be
/// one of the `trusted`, and if names are `allowed`, it must have one of them.
///
/// # Errors
/// There are no authorities to verify certificates with.
pub fn verifier(
    policy: ClientAuthPolicy,
    authorities: RootCertStore,
    trusted: TrustedCertificates,
    allowed: Vec<String>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let anybody = |mandatory| AnyCertificate {
        mandatory,
        hints: authorities.subjects(),
        provider: Arc::clone(provider),
    };
    let verifier: Arc<dyn ClientCertVerifier> = match policy {
        ClientAuthPolicy::NoClientCert => WebPkiClientVerifier::no_client_auth(),
        ClientAuthPolicy::RequestClientCert => Arc::new(anybody(false)),
        ClientAuthPolicy::RequireAnyClientCert => Arc::new(anybody(true)),
        ClientAuthPolicy::VerifyClientCertIfGiven
        | ClientAuthPolicy::RequireAndVerifyClientCert => {
            let builder = WebPkiClientVerifier::builder_with_provider(
                Arc::new(authorities),
                Arc::clone(provider),
            );
            let builder = match policy {
                ClientAuthPolicy::VerifyClientCertIfGiven => builder.allow_unauthenticated(),
                _ => builder,
            };
            let chains = builder.build().map_err(|error| error.to_string())?;
            Arc::new(KnownCertificates { chains, trusted, allowed })
        }
    };
    Ok(verifier)
}

/// A verifier that accepts any certificate whose key the client has.
#[derive(Debug)]
struct AnyCertificate {
    mandatory: bool,
    hints: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A verifier that accepts certificates of authorities, and trusted ones, that have an allowed name.
#[derive(Debug)]
struct KnownCertificates {
    chains: Arc<dyn ClientCertVerifier>,
    trusted: TrustedCertificates,
    /// The allowed names; if there are none, a certificate can have any.
    allowed: Vec<String>,
}

/// Reports whether a certificate has one of the allowed names, compared literally: a wildcard in the
/// certificate matches nothing but the same wildcard.
fn has_name(certificate: &EndEntityCert<'_>, allowed: &[String]) -> bool {
    let mut names = certificate.valid_dns_names().chain(certificate.valid_uri_names());
    names.any(|name| allowed.iter().any(|allowed| allowed == name))
        || allowed.iter().filter_map(|allowed| allowed.parse::<IpAddr>().ok()).any(|address| {
            let address = ServerName::IpAddress(address.into());
            certificate.verify_is_valid_for_subject_name(&address).is_ok()
        })
}

impl ClientCertVerifier for KnownCertificates {
    fn client_auth_mandatory(&self) -> bool {
        self.chains.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = match self.chains.verify_client_cert(end_entity, intermediates, now) {
            Err(_) if self.trusted.accept(end_entity, now, KeyUsage::client_auth()) => {
                ClientCertVerified::assertion()
            }
            verified => verified?,
        };
        let is_allowed = self.allowed.is_empty()
            || EndEntityCert::try_from(end_entity)
                .is_ok_and(|certificate| has_name(&certificate, &self.allowed));
        match is_allowed {
            true => Ok(verified),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
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
