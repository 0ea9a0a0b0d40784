//! TLS in both directions: certificates read once, checked when the settings are loaded.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme};

use crate::settings::{CredentialPart, ServerTlsPart, TargetTlsPart, TlsMode};

/// A listener's TLS.
#[derive(Clone)]
pub(crate) struct ServerTls {
    pub config: Arc<ServerConfig>,
    /// The leaf certificate in DER, for channel binding. Kept beside the configuration that presents it.
    pub leaf: Bytes,
}

/// The one provider of cryptography.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())).clone()
}

/// Makes the provider the process's default, so that a second one in the tree cannot make rustls stop.
pub(crate) fn install() {
    // An error says that a default is installed already, which is what is wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// All certificates of a PEM text.
fn certificates(pem: &str, what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let found = read.map_err(|error| format!("{what} is not PEM: {error}"))?;
    if found.is_empty() { Err(format!("{what} holds no certificate")) } else { Ok(found) }
}

/// The private key of a PEM text.
fn private_key(pem: &str, what: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| format!("{what} is no private key in PEM: {error}"))
}

impl ServerTls {
    /// Reads a listener's certificate and key.
    pub fn new(part: &ServerTlsPart, alpn: &[&[u8]]) -> Result<Self, String> {
        let chain = certificates(&part.cert, "cert")?;
        let leaf = chain.first().map(|leaf| Bytes::copy_from_slice(leaf)).unwrap_or_default();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(chain, private_key(&part.key, "key")?)
            .map_err(|error| format!("certificate and key do not fit: {error}"))?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Self { config: Arc::new(config), leaf })
    }
}

/// TLS towards a target, with the client certificate of `credential` or else the target's.
pub(crate) fn towards(part: &TargetTlsPart, credential: &CredentialPart) -> Result<Arc<ClientConfig>, String> {
    let verifier = Arc::new(Verifier::new(part)?);
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let cert = credential.cert.as_ref().or(part.cert.as_ref());
    let key = credential.key.as_ref().or(part.key.as_ref());
    let config = match (cert, key) {
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(certificates(cert, "cert")?, private_key(key, "key")?)
            .map_err(|error| format!("certificate and key do not fit: {error}"))?,
        (None, None) => builder.with_no_client_auth(),
        _ => return Err("a client certificate needs both cert and key".to_owned()),
    };
    Ok(Arc::new(config))
}

/// Checks a target's certificate as far as the mode asks for.
#[derive(Debug)]
struct Verifier {
    /// Whether the chain is checked, and against what. `require` checks it when a CA is given, as libpq does.
    roots: Option<RootCertStore>,
    /// The CA file's certificates themselves. A target may present one of them as its own, which is common for
    /// PostgreSQL and which path building alone would refuse.
    pinned: HashSet<CertificateDer<'static>>,
    /// Whether the host must be the certificate's.
    name: bool,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(part: &TargetTlsPart) -> Result<Self, String> {
        let verifies = matches!(part.mode, TlsMode::VerifyCa | TlsMode::VerifyFull);
        let mut pinned = HashSet::new();
        let roots = match &part.ca {
            Some(pem) if verifies || part.mode == TlsMode::Require => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(pem, "ca")? {
                    roots.add(certificate.clone()).map_err(|error| format!("ca: {error}"))?;
                    pinned.insert(certificate);
                }
                Some(roots)
            }
            None if verifies => return Err("this mode needs ca, the certificates to verify the target by".to_owned()),
            _ => None,
        };
        Ok(Self { roots, pinned, name: part.mode == TlsMode::VerifyFull, provider: provider() })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else { return Ok(ServerCertVerified::assertion()) };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        if !self.pinned.contains(end_entity) {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)?;
        }
        if self.name {
            verify_server_name(&parsed, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
