//! Certificates and keys from files, with errors that name the file and the remedy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::certificate::{MalformedCertificate, parse};
use super::trust::TrustStore;

/// Why TLS cannot be set up. All of it is known before the first connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("cannot read the {what} {path}: {source}", path = path.display())]
    Read {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file without a certificate.
    #[error("there is no certificate in the {what} {path}: it has to be PEM text (-----BEGIN CERTIFICATE-----)", path = path.display())]
    NoCertificate {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file with something else in it.
    #[error("the {what} {path} cannot be used: {reason}", path = path.display())]
    Malformed {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong, never the content.
        reason: String,
    },
    /// A key that would have to be decrypted.
    #[error(
        "the key {path} is encrypted with a passphrase, which is not supported: write it without one \
         (openssl pkey -in {path} -out plain.key) and protect the file instead",
        path = path.display()
    )]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key of different pairs.
    #[error("the key {key} does not belong to the certificate {certificate}", key = key.display(), certificate = certificate.display())]
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// `verify-ca` or `verify-full` without anything to verify against.
    #[error(
        "there are no root certificates to verify the server with ({path} does not exist): name the file in \
         sslrootcert, or write sslrootcert=system to trust what the operating system trusts",
        path = path.display()
    )]
    NoRootCertificates {
        /// Where they were looked for.
        path: PathBuf,
    },
    /// The same with no place to look.
    #[error(
        "sslmode={mode} needs root certificates: name their file in sslrootcert, or write sslrootcert=system"
    )]
    NoRootCertificatesNamed {
        /// The mode.
        mode: crate::config::url::SslMode,
    },
    /// `sslrootcert=system` on a system that trusts nobody.
    #[error(
        "the operating system has no root certificates ({reason}): install ca-certificates or name a file in sslrootcert"
    )]
    NoSystemCertificates {
        /// What was found wrong.
        reason: String,
    },
    /// `verify-full` for an address given only as `hostaddr`.
    #[error("sslmode=verify-full needs the server's name: write host=NAME beside hostaddr={address}")]
    NoNameToVerify {
        /// The host.
        address: String,
    },
    /// rustls refused the settings.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// Reads the certificates of a PEM file, in their order. At least one.
pub(super) fn read_certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let malformed = |reason: String| TlsError::Malformed {
        what,
        path: path.to_owned(),
        reason,
    };
    let content = read(what, path)?;
    let certificates = CertificateDer::pem_slice_iter(&content)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| malformed(error.to_string()))?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate {
            what,
            path: path.to_owned(),
        });
    }
    for certificate in &certificates {
        parse(certificate).map_err(|error| malformed(error.to_string()))?;
    }
    Ok(certificates)
}

/// Reads the trusted certificates of a file.
pub(super) fn read_trust_store(what: &'static str, path: &Path) -> Result<TrustStore, TlsError> {
    TrustStore::new(read_certificates(what, path)?).map_err(|error: MalformedCertificate| {
        TlsError::Malformed {
            what,
            path: path.to_owned(),
            reason: error.to_string(),
        }
    })
}

/// Reads what the operating system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` count, as for OpenSSL.
pub(super) fn system_trust_store() -> Result<TrustStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let reason = if reasons.is_empty() {
            "none found".to_owned()
        } else {
            reasons.join("; ")
        };
        return Err(TlsError::NoSystemCertificates { reason });
    }
    // Of a hundred certificates that others chose, one that cannot be read shall not end it.
    let readable = found
        .certs
        .into_iter()
        .filter(|certificate| parse(certificate).is_ok());
    TrustStore::new(readable).map_err(|error| TlsError::NoSystemCertificates {
        reason: error.to_string(),
    })
}

/// Reads a certificate, those above it, and its key.
pub(super) fn read_certified_key(
    certificate_path: &Path,
    key_path: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = read_certificates("certificate", certificate_path)?;
    let key = provider
        .key_provider
        .load_private_key(read_key(key_path)?)
        .map_err(|error| TlsError::Malformed {
            what: "key",
            path: key_path.to_owned(),
            reason: error.to_string(),
        })?;
    let mismatch = || TlsError::KeyMismatch {
        certificate: certificate_path.to_owned(),
        key: key_path.to_owned(),
    };
    let first = chain.first().ok_or_else(mismatch)?;
    // rustls could compare as well, but not for a certificate of version 1.
    let certified = parse(first).map_err(|_| mismatch())?;
    if key
        .public_key()
        .is_some_and(|public| public.as_ref() != certified.public_key().raw)
    {
        return Err(mismatch());
    }
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

/// PEM with a key of any of the three kinds (PKCS#8, PKCS#1, SEC1), or DER as libpq takes it.
fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let content = read("key", path)?;
    let contains = |marker: &str| {
        content
            .windows(marker.len())
            .any(|window| window == marker.as_bytes())
    };
    if contains("BEGIN ENCRYPTED PRIVATE KEY") || contains("Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::EncryptedKey {
            path: path.to_owned(),
        });
    }
    let from_pem = PrivateKeyDer::from_pem_slice(&content);
    from_pem
        .or_else(|_| PrivateKeyDer::try_from(content))
        .map_err(|_| TlsError::Malformed {
            what: "key",
            path: path.to_owned(),
            reason: "there is no private key in it (PKCS#8, PKCS#1 or SEC1)".to_owned(),
        })
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read {
        what,
        path: path.to_owned(),
        source,
    })
}
