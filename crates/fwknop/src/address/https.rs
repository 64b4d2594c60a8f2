//! Asking over HTTPS, by ourselves.
//!
//! Certificates are held against the roots of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others). A redirection may lead to another
//! https page, never to plain http. However much is answered, only its beginning is read. A proxy is used if the environment names one, as
//! wget does.
//!
//! ```text
//! https://icanhazip.com ─▶ 200 OK … "203.0.113.50\n" ─▶ 203.0.113.50
//! ```

use std::{io::Read as _, net::IpAddr, sync::Arc, time::Duration};

use ureq::{
    Agent,
    config::IpFamily,
    tls::{Certificate, RootCerts, TlsConfig},
};

use super::address_in;
use crate::plan::Family;

/// The beginning of an answer that is read, in bytes; an address takes 45 at most.
const BEGINNING: u64 = 256;

/// Pages may move, but not in circles.
const REDIRECTIONS: u32 = 3;

/// One who can ask https pages.
pub(super) struct Browser(TlsConfig);

impl Browser {
    /// One who believes the roots of the system.
    pub(super) fn new() -> Result<Self, String> {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            let why = found.errors.first().map_or(String::new(), |error| format!(": {error}"));
            return Err(format!("this system has no certificates to believe{why}"));
        }
        let roots: Vec<_> = found.certs.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        Ok(Self(tls))
    }

    /// Asks one page, over this family, within this time.
    pub(super) fn ask(&self, url: &str, agent: &str, family: Family, within: Duration) -> Result<IpAddr, String> {
        let config = Agent::config_builder()
            .tls_config(self.0.clone())
            .https_only(true)
            .max_redirects(REDIRECTIONS)
            .ip_family(match family {
                Family::V4 => IpFamily::Ipv4Only,
                Family::V6 => IpFamily::Ipv6Only,
            })
            .timeout_global(Some(within))
            .user_agent(agent)
            .build();
        let answer = config.new_agent().get(url).call().map_err(|error| error.to_string())?;
        let mut beginning = Vec::new();
        answer
            .into_body()
            .into_reader()
            .take(BEGINNING)
            .read_to_end(&mut beginning)
            .map_err(|error| error.to_string())?;
        address_in(&String::from_utf8_lossy(&beginning)).ok_or_else(|| "the answer is no address".into())
    }
}
