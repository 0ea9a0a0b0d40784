//! Channel binding: `tls-server-end-point`, a hash of the server's certificate (RFC 5929, section 4).

use aws_lc_rs::digest::{self, Algorithm};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Channel binding data of a certificate in DER. `None` when the certificate cannot be read, or its signature names no
/// single hash (Ed25519, RSA-PSS): then no binding can be offered or asked for.
#[must_use]
pub fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let hash = hash_of(&parsed.signature_algorithm.algorithm.to_id_string())?;
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

/// The hash to use with a signature algorithm: its own, except that MD5 and SHA-1 are replaced by SHA-256.
fn hash_of(signature: &str) -> Option<&'static Algorithm> {
    Some(match signature {
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" | "1.2.840.10040.4.3" => &digest::SHA256,
        "1.2.840.113549.1.1.11" | "1.2.840.10045.4.3.2" | "2.16.840.1.101.3.4.3.2" => &digest::SHA256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &digest::SHA384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &digest::SHA512,
        "1.2.840.113549.1.1.14" | "1.2.840.10045.4.3.1" => &digest::SHA224,
        _ => return None,
    })
}
