//! Whether a chain of certificates leads to one that is trusted, with OpenSSL's verdicts.
//!
//! Problem: rustls' path validation (webpki) refuses what PostgreSQL's users have made after its manual for decades and libpq accepts: a
//! certificate that signs itself and is itself the `sslrootcert`, and certificates of version 1 (`openssl x509 -req`
//! without an extension file). It also accepts what libpq refuses: a chain that ends at an intermediate authority, an expired root.
//!
//! Mechanism: OpenSSL's rules (`x509_vfy.c`, `v3_purp.c`) in the depth that libpq asks for. From the peer's certificate
//! upwards, trusted issuers first, then those that the peer sent, until a trusted certificate that signs itself is
//! reached. On the way every certificate has to be valid now, fit for its purpose, without critical extensions that
//! nobody here understands; every issuer an authority within its path length; every signature right. The search goes
//! back from dead ends and is bounded, as the peer chooses what it sends.
//!
//! Differences from OpenSSL, all towards refusing: names are compared byte by byte, an issuer without basic constraints
//! is an authority only as a trusted root of version 1, signatures with MD5, SHA-1 or P-521 do not count. A chain with
//! name constraints is put before webpki as well, as nobody should write that comparison twice. Revocation lists are not read.
//!
//! Rejected: webpki first and special cases behind it. Two judges, each lenient in its own way, are harder to reason
//! about than one that can be read from top to bottom.

mod error;

#[cfg(test)]
mod tests;

pub use error::ChainError;

use rustls::crypto::WebPkiSupportedAlgorithms;
use x509_parser::extensions::{ExtendedKeyUsage, KeyUsage, ParsedExtension};
use x509_parser::prelude::X509Certificate;

use super::certificate::{CertificateTime, parse};
use super::signature::{SignatureError, check_certificate};
use super::trust::TrustStore;

/// How many authorities may stand above a certificate. Real chains have one to three.
const MAX_AUTHORITIES: usize = 8;

/// How many certificates of the peer are looked at.
const MAX_PRESENTED: usize = 16;

/// How many signatures one chain may cost; a peer could send many authorities of the same name.
const MAX_SIGNATURES: u32 = 64;

/// What the certificate at the chain's lower end is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// To prove a server.
    Server,
    /// To prove a client.
    Client,
}

/// What has to be known to judge a chain.
pub(super) struct Judge<'a> {
    pub(super) store: &'a TrustStore,
    pub(super) usage: Usage,
    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub(super) now: i64,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// The trusted end of a chain, for the one question that is left to webpki.
#[derive(Debug)]
pub(super) struct Accepted {
    /// The root that is trusted, in DER.
    pub(super) root: Vec<u8>,
    /// Whether an authority of the chain limits the names it may sign.
    pub(super) has_name_constraints: bool,
}

/// A chain as far as it is built: one link per certificate, the peer's own at the lower end.
struct Link<'l> {
    certificate: &'l X509Certificate<'l>,
    below: Option<&'l Link<'l>>,
}

struct Search<'s> {
    judge: &'s Judge<'s>,
    presented: Vec<X509Certificate<'s>>,
    signatures_left: u32,
    /// The failure at the longest chain so far: the one that came closest.
    failure: Option<(usize, ChainError)>,
}

impl Judge<'_> {
    /// Searches a chain from `certificate` (DER) to a trusted root; `presented` is what the peer sent along, in any order.
    ///
    /// # Errors
    /// The [`ChainError`] of the attempt that came furthest.
    pub(super) fn accept(
        &self,
        certificate: &[u8],
        presented: &[impl AsRef<[u8]>],
    ) -> Result<Accepted, ChainError> {
        let leaf = parse(certificate)?;
        self.check_leaf(&leaf)?;
        // One that cannot be read can still be needless.
        let presented = presented
            .iter()
            .take(MAX_PRESENTED)
            .filter_map(|der| parse(der.as_ref()).ok());
        let mut search = Search {
            judge: self,
            presented: presented.collect(),
            signatures_left: MAX_SIGNATURES,
            failure: None,
        };
        match search.extend(&Link {
            certificate: &leaf,
            below: None,
        }) {
            Some(accepted) => Ok(accepted),
            None => Err(search
                .failure
                .map_or_else(|| unknown_issuer(&leaf), |(_, failure)| failure)),
        }
    }

    fn check_leaf(&self, leaf: &X509Certificate<'_>) -> Result<(), ChainError> {
        self.check_validity(leaf)?;
        check_extensions(leaf)?;
        self.check_extended_usage(leaf)?;
        let usage = leaf
            .key_usage()
            .map_err(|_| wrong_usage(leaf, "its key usage cannot be read"))?;
        let fits = |usage: &KeyUsage| match self.usage {
            Usage::Server => usage.digital_signature() || usage.key_encipherment() || usage.key_agreement(),
            Usage::Client => usage.digital_signature() || usage.key_agreement(),
        };
        match usage {
            Some(usage) if !fits(usage.value) => Err(wrong_usage(leaf, "its key usage does not allow TLS")),
            _ => Ok(()),
        }
    }

    /// `authorities_below`: how many authorities, not counting those that issued to themselves, stand between this one
    /// and the peer's certificate.
    fn check_authority(
        &self,
        issuer: &X509Certificate<'_>,
        authorities_below: u32,
    ) -> Result<(), ChainError> {
        self.check_validity(issuer)?;
        check_extensions(issuer)?;
        self.check_extended_usage(issuer)?;
        let forbidden = |rule| {
            Err(ChainError::NoAuthority {
                subject: issuer.subject().to_string(),
                rule,
            })
        };
        let Ok(constraints) = issuer.basic_constraints() else {
            return forbidden("its basic constraints cannot be read");
        };
        match constraints.map(|extension| extension.value) {
            Some(constraints) if !constraints.ca => return forbidden("it is no authority (CA:FALSE)"),
            Some(constraints)
                if constraints
                    .path_len_constraint
                    .is_some_and(|most| authorities_below > most) =>
            {
                return forbidden("more authorities stand below it than it allows (pathlen)");
            }
            None if !(issuer.version().0 == 0 && self.is_root(issuer)) => {
                return forbidden("it does not say that it is an authority (CA:TRUE)");
            }
            Some(_) | None => {}
        }
        match issuer.key_usage() {
            Ok(Some(usage)) if !usage.value.key_cert_sign() => {
                forbidden("its key usage does not allow to sign certificates")
            }
            Ok(_) => Ok(()),
            Err(_) => forbidden("its key usage cannot be read"),
        }
    }

    fn check_validity(&self, certificate: &X509Certificate<'_>) -> Result<(), ChainError> {
        let subject = || certificate.subject().to_string();
        let not_before = CertificateTime::of(certificate.validity().not_before);
        let not_after = CertificateTime::of(certificate.validity().not_after);
        if self.now < not_before.unix_seconds() {
            Err(ChainError::NotYetValid {
                subject: subject(),
                not_before,
            })
        } else if self.now > not_after.unix_seconds() {
            Err(ChainError::Expired {
                subject: subject(),
                not_after,
            })
        } else {
            Ok(())
        }
    }

    /// As OpenSSL, of authorities as well; "any purpose" is not enough for it.
    fn check_extended_usage(&self, certificate: &X509Certificate<'_>) -> Result<(), ChainError> {
        let usage = certificate
            .extended_key_usage()
            .map_err(|_| wrong_usage(certificate, "its extended key usage cannot be read"))?;
        let fits = |usage: &ExtendedKeyUsage<'_>| match self.usage {
            Usage::Server => usage.server_auth,
            Usage::Client => usage.client_auth,
        };
        match usage {
            Some(usage) if !fits(usage.value) => Err(wrong_usage(
                certificate,
                match self.usage {
                    Usage::Server => "its extended key usage lacks serverAuth",
                    Usage::Client => "its extended key usage lacks clientAuth",
                },
            )),
            _ => Ok(()),
        }
    }

    /// A trusted certificate that signs itself: the only thing a chain may end with.
    fn is_root(&self, certificate: &X509Certificate<'_>) -> bool {
        issued_to_itself(certificate)
            && is_named_as_issuer(certificate, certificate)
            && self
                .store
                .contains(certificate.subject().as_raw(), certificate.as_raw())
    }
}

impl Search<'_> {
    fn extend(&mut self, link: &Link<'_>) -> Option<Accepted> {
        let certificate = link.certificate;
        if self.judge.is_root(certificate) {
            let has_name_constraints = link.any(|c| !matches!(c.name_constraints(), Ok(None)));
            return Some(Accepted {
                root: certificate.as_raw().to_vec(),
                has_name_constraints,
            });
        }
        if link.length() > MAX_AUTHORITIES {
            return self.fail(
                link,
                ChainError::TooLong {
                    subject: certificate.subject().to_string(),
                },
            );
        }
        let issuer = certificate.issuer().as_raw();
        let trusted = self
            .judge
            .store
            .named(issuer)
            .iter()
            .filter_map(|der| parse(der).ok());
        let presented = self
            .presented
            .iter()
            .filter(|candidate| candidate.subject().as_raw() == issuer);
        let candidates: Vec<X509Certificate<'_>> = trusted.chain(presented.cloned()).collect();
        for candidate in &candidates {
            let is_in_chain = link.any(|below| below.as_raw() == candidate.as_raw());
            if is_in_chain || !is_named_as_issuer(certificate, candidate) {
                continue;
            }
            match self.check_step(link, candidate) {
                Ok(()) => {
                    if let Some(accepted) = self.extend(&Link {
                        certificate: candidate,
                        below: Some(link),
                    }) {
                        return Some(accepted);
                    }
                }
                Err(failure) => _ = self.fail(link, failure),
            }
        }
        self.fail(link, unknown_issuer(certificate))
    }

    fn check_step(&mut self, link: &Link<'_>, issuer: &X509Certificate<'_>) -> Result<(), ChainError> {
        let certificate = link.certificate;
        let subject = || certificate.subject().to_string();
        self.signatures_left = self
            .signatures_left
            .checked_sub(1)
            .ok_or_else(|| ChainError::TooLong { subject: subject() })?;
        match check_certificate(certificate, issuer.public_key(), self.judge.algorithms) {
            Ok(()) => self.judge.check_authority(issuer, link.authorities()),
            Err(SignatureError::Invalid) => Err(ChainError::WrongSignature {
                subject: subject(),
                issuer: certificate.issuer().to_string(),
            }),
            Err(SignatureError::Unsupported) => Err(ChainError::UnsupportedSignature {
                subject: subject(),
                algorithm: certificate.signature_algorithm.algorithm.to_string(),
            }),
        }
    }

    /// Keeps the first failure of the longest chain. Always `None`, to end the attempt with.
    fn fail(&mut self, link: &Link<'_>, failure: ChainError) -> Option<Accepted> {
        let length = link.length();
        if self.failure.as_ref().is_none_or(|(longest, _)| length > *longest) {
            self.failure = Some((length, failure));
        }
        None
    }
}

impl Link<'_> {
    fn certificates(&self) -> impl Iterator<Item = &X509Certificate<'_>> {
        std::iter::successors(Some(self), |link| link.below).map(|link| link.certificate)
    }

    fn any(&self, predicate: impl FnMut(&X509Certificate<'_>) -> bool) -> bool {
        self.certificates().any(predicate)
    }

    fn length(&self) -> usize {
        self.certificates().count()
    }

    /// The authorities in the chain that count for a path length (RFC 5280, 4.2.1.9): neither the peer's certificate
    /// nor those that issued to themselves.
    fn authorities(&self) -> u32 {
        let above_leaf =
            std::iter::successors(Some(self), |link| link.below).filter(|link| link.below.is_some());
        above_leaf
            .map(|link| u32::from(!issued_to_itself(link.certificate)))
            .sum()
    }
}

fn issued_to_itself(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}

/// Where both say which key it was, it has to be the same. The names have been compared before.
fn is_named_as_issuer(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    let wanted = certificate
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(identifier) => identifier.key_identifier.as_ref(),
            _ => None,
        });
    let there = issuer
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier),
            _ => None,
        });
    match (wanted, there) {
        (Some(wanted), Some(there)) => wanted.0 == there.0,
        _ => true,
    }
}

/// Critical extensions have to be understood, all the others that matter here to be readable and there only once.
fn check_extensions(certificate: &X509Certificate<'_>) -> Result<(), ChainError> {
    for extension in certificate
        .iter_extensions()
        .filter(|extension| extension.critical)
    {
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(_)
            | ParsedExtension::KeyUsage(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::SubjectAlternativeName(_)
            | ParsedExtension::NameConstraints(_)
            // No policy is asked for, so that any will do.
            | ParsedExtension::CertificatePolicies(_)
            | ParsedExtension::PolicyConstraints(_)
            | ParsedExtension::PolicyMappings(_)
            | ParsedExtension::InhibitAnyPolicy(_)
            | ParsedExtension::CRLDistributionPoints(_)
            | ParsedExtension::AuthorityKeyIdentifier(_)
            | ParsedExtension::SubjectKeyIdentifier(_) => {}
            _ => {
                let subject = certificate.subject().to_string();
                return Err(ChainError::CriticalExtension { subject, oid: extension.oid.to_string() });
            }
        }
    }
    let readable = certificate.extensions_map().is_ok() && certificate.subject_alternative_name().is_ok();
    if readable {
        Ok(())
    } else {
        Err(wrong_usage(certificate, "its extensions cannot be read"))
    }
}

fn wrong_usage(certificate: &X509Certificate<'_>, rule: &'static str) -> ChainError {
    ChainError::WrongUsage {
        subject: certificate.subject().to_string(),
        rule,
    }
}

fn unknown_issuer(certificate: &X509Certificate<'_>) -> ChainError {
    let subject = certificate.subject().to_string();
    if issued_to_itself(certificate) {
        ChainError::SelfSigned { subject }
    } else {
        ChainError::UnknownIssuer {
            subject,
            issuer: certificate.issuer().to_string(),
        }
    }
}
