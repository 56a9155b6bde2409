//! Which servers, and how they are spoken to, as the command line says it.

use std::path::PathBuf;

use clap::Args;

use super::{Credentials, Endpoint, Target, TlsFiles};
use crate::error::{Error, Result};

/// In the help text.
const HEADING: &str = "Server";

/// The flags of everything that speaks to servers.
#[derive(Args, Clone, Debug)]
pub(crate) struct Servers {
    /// Client addresses of the servers; connections go to each in turn.
    #[arg(long, value_name = "URL,...", value_delimiter = ',', default_value = "127.0.0.1:2379", help_heading = HEADING)]
    endpoints: Vec<String>,
    /// The authority that signed the servers' certificates.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    cacert: Option<PathBuf>,
    /// A certificate to show to the servers.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    cert: Option<PathBuf>,
    /// The key of that certificate.
    #[arg(long = "key", alias = "key-file", value_name = "FILE", help_heading = HEADING)]
    key_file: Option<PathBuf>,
    /// Use TLS, but take any certificate.
    #[arg(long, conflicts_with = "cacert", help_heading = HEADING)]
    insecure_skip_tls_verify: bool,
    /// Who asks, and the password.
    #[arg(long, value_name = "NAME:PASSWORD", help_heading = HEADING)]
    user: Option<String>,
}

impl Servers {
    /// Where they are; nothing is asked of them yet.
    ///
    /// # Errors
    /// [`Error::Usage`] when an address is none, the flags contradict each other, or a file can't be used.
    pub(crate) fn target(&self) -> Result<Target> {
        let endpoints = self.endpoints.iter().map(|text| text.parse()).collect::<Result<Vec<Endpoint>>>()?;
        let files = TlsFiles {
            cacert: self.cacert.clone(),
            cert: self.cert.clone(),
            key: self.key_file.clone(),
            skip_verify: self.insecure_skip_tls_verify,
        };
        let plain = endpoints.iter().any(|endpoint| endpoint.tls == Some(false));
        let secure = endpoints.iter().any(|endpoint| endpoint.tls == Some(true)) || files.any();
        if plain && secure {
            let what = "http:// is without TLS, but an https:// endpoint or a flag asks for it; leave one of them out";
            return Err(Error::Usage(what.to_owned()));
        }
        let tls = if secure { Some(files.config()?) } else { None };
        Ok(Target { endpoints, tls, token: None })
    }

    /// Who asks, if that was said.
    ///
    /// # Errors
    /// [`Error::Usage`] when it is no name with a password.
    pub(crate) fn credentials(&self) -> Result<Option<Credentials>> {
        let Some(user) = &self.user else { return Ok(None) };
        match user.split_once(':') {
            Some((name, password)) if !name.is_empty() => {
                Ok(Some(Credentials { name: name.to_owned(), password: password.to_owned() }))
            }
            _ => Err(Error::Usage("--user wants NAME:PASSWORD".to_owned())),
        }
    }
}
