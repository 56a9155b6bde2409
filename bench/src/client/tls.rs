//! TLS as asked for by flags.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Error, Result};

/// Where distributions keep the authorities they trust.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Whom to trust, and who one is.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFiles {
    /// The authority that signed the server's certificate.
    pub(crate) cacert: Option<PathBuf>,
    /// A certificate of one's own, and its key.
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// Trust any server.
    pub(crate) skip_verify: bool,
}

impl TlsFiles {
    /// Whether any flag was given.
    pub(crate) fn any(&self) -> bool {
        self.cacert.is_some() || self.cert.is_some() || self.key.is_some() || self.skip_verify
    }

    /// # Errors
    /// When a file can't be read or holds something else.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider knows the default versions");
        let builder = if self.skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let mut config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let chain = certificates("--cert", cert)?;
                let secret =
                    PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("--key", key, &error))?;
                builder.with_client_auth_cert(chain, secret).map_err(|error| {
                    Error::Usage(format!("--cert {} does not go with --key: {error}", cert.display()))
                })?
            }
            (None, None) => builder.with_no_client_auth(),
            _ => return Err(Error::Usage("--cert and --key go together; give both or neither".to_owned())),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let (flag, path) = match &self.cacert {
            Some(path) => ("--cacert", path.as_path()),
            None => (
                "",
                SYSTEM_ROOTS.map(Path::new).into_iter().find(|path| path.exists()).ok_or_else(|| {
                    Error::Usage(
                        "this system has no list of trusted authorities; give the server's by --cacert"
                            .to_owned(),
                    )
                })?,
            ),
        };
        for certificate in certificates(flag, path)? {
            let added = roots.add(certificate);
            // A system's list may hold what this library does not know; one's own may not.
            if let (Err(error), Some(_)) = (added, &self.cacert) {
                return Err(unreadable(flag, path, &error));
            }
        }
        Ok(roots)
    }
}

fn certificates(flag: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let failed = |error: &dyn std::fmt::Display| unreadable(flag, path, error);
    let list = CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))?;
    let list: Vec<_> = list.collect::<std::result::Result<_, _>>().map_err(|error| failed(&error))?;
    if list.is_empty() { Err(failed(&"it holds no certificate in PEM form")) } else { Ok(list) }
}

fn unreadable(flag: &str, path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Usage(format!("cannot use {flag} {}: {error}", path.display()))
}

/// Takes every certificate; signatures must still be right.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
