//! What TLS proves itself with, and its renewal while the server runs.
//!
//! Certificates last for weeks and miners for months: the files are looked at whenever somebody
//! connects, and read anew when they changed. A pair that cannot be used changes nothing:
//! the old one stays, and the log says so.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing::{info, warn};

use super::ServeError;
use crate::settings::TlsFiles;

/// When each of the two files was written last.
type Written = [Option<SystemTime>; 2];

/// What one port speaks TLS with.
pub struct Tls {
    files: TlsFiles,
    acceptor: TlsAcceptor,
    written: Written,
}

impl core::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads both files.
    pub fn load(files: TlsFiles) -> Result<Self, ServeError> {
        let written = written(&files);
        let acceptor = acceptor(&files).map_err(|cause| {
            let certificate = files.certificate.display().to_string();
            ServeError::Tls { certificate, cause }
        })?;
        Ok(Self { files, acceptor, written })
    }

    /// What the next connection is spoken to with.
    pub(super) fn acceptor(&mut self) -> TlsAcceptor {
        self.look();
        self.acceptor.clone()
    }

    fn look(&mut self) {
        let written = written(&self.files);
        if written == self.written {
            return;
        }
        let certificate = self.files.certificate.display();
        match acceptor(&self.files) {
            Ok(acceptor) => {
                info!(%certificate, "the certificate was read anew");
                self.acceptor = acceptor;
                self.written = written;
            }
            // It may be half written: looked at again with the next miner.
            Err(cause) => warn!(
                %certificate,
                "the new certificate cannot be used: {cause}; the old one stays until it can"
            ),
        }
    }
}

fn written(files: &TlsFiles) -> Written {
    let modified = |path: &Path| fs::metadata(path).and_then(|known| known.modified()).ok();
    [modified(&files.certificate), modified(&files.key)]
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, String> {
    let shown =
        |what: &Path, error: &dyn core::fmt::Display| format!("{}: {error}", what.display());
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| shown(&files.certificate, &error))?;
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| shown(&files.key, &error))?;
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| error.to_string())?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
