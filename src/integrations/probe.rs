//! Asks a new revision at the address that its tag gives it, as anybody on the internet would.

use std::time::Duration;

use reqwest::redirect;
use url::{Host, Url};

use crate::domain::check::{Answered, HttpCheck, Reading};
use crate::integrations::outbound::chain;
use crate::integrations::public_address::{CheckedNames, Reach};

/// Long enough for a handshake across the world.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// As much of a body as is looked at. Whoever looks for a text in more looks for the wrong one.
const MOST_BODY: usize = 64 * 1024;

/// Asks revisions over HTTP.
#[derive(Clone, Debug)]
pub struct Probe {
    client: reqwest::Client,
    reach: Reach,
}

impl Probe {
    /// Over connections that follow no redirect, use no proxy and end at addresses within `reach` alone.
    ///
    /// # Errors
    /// If TLS cannot be set up at all.
    pub fn new(reach: Reach) -> Result<Self, String> {
        let builder = || {
            reqwest::Client::builder()
                .redirect(redirect::Policy::none())
                // A proxy would look names up by itself, and connect to what it finds.
                .no_proxy()
                .dns_resolver(CheckedNames(reach))
                .connect_timeout(CONNECT_TIMEOUT)
                .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
        };
        // Without any certificates (a bare container) plain HTTP on loopback works all the same.
        let client = builder().build().or_else(|_| builder().tls_certs_only([]).build());
        Ok(Self { client: client.map_err(|error| chain(&error))?, reach })
    }

    /// One GET of the check's path at this address, which Cloud Run shows.
    pub async fn ask(&self, address: &str, check: &HttpCheck) -> Reading {
        match self.answer(address, check).await {
            Ok(answer) => Reading::Http(answer),
            Err(why) => Reading::Nothing(why),
        }
    }

    async fn answer(&self, address: &str, check: &HttpCheck) -> Result<Answered, String> {
        let url = self.url(address, &check.path)?;
        let limit = Duration::from_secs(check.timeout_seconds.into());
        let no_answer = |error: reqwest::Error| match error.is_timeout() {
            true => format!("no answer within {} seconds", check.timeout_seconds),
            false => format!("no answer: {}", chain(&error.without_url())),
        };
        let mut answer = self.client.get(url).timeout(limit).send().await.map_err(no_answer)?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        // The status alone is no answer: it stands before whatever the body makes of it.
        while let Some(part) = answer.chunk().await.map_err(no_answer)? {
            let room = MOST_BODY.saturating_sub(body.len());
            body.extend_from_slice(&part[..part.len().min(room)]);
            if body.len() == MOST_BODY {
                break;
            }
        }
        Ok(Answered { status, body: String::from_utf8_lossy(&body).into_owned() })
    }

    fn url(&self, address: &str, path: &str) -> Result<Url, String> {
        let text = format!("{}{path}", address.trim_end_matches('/'));
        let url = Url::parse(&text).map_err(|_| format!("{address:?} is no address"))?;
        let is_near = self.reach == Reach::WithLoopback && url.scheme() == "http";
        if url.scheme() != "https" && !is_near {
            return Err(format!("{address:?} is no https address"));
        }
        // Names are checked when they are looked up; addresses are looked up by nobody.
        let number = match url.host() {
            Some(Host::Ipv4(number)) => Some(number.into()),
            Some(Host::Ipv6(number)) => Some(number.into()),
            Some(Host::Domain(_)) | None => None,
        };
        match number.filter(|number| !self.reach.admits(*number)) {
            Some(number) => Err(format!("{number} is no public address: nothing is sent there")),
            None => Ok(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str) -> HttpCheck {
        HttpCheck {
            path: path.into(),
            lowest_status: 200,
            highest_status: 299,
            contains: None,
            attempts: 1,
            timeout_seconds: 2,
            patience_seconds: 0,
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_where_a_revision_cannot_be() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        for (reach, address) in [
            (Reach::Public, "http://web.a.run.app"),
            (Reach::Public, "https://127.0.0.1"),
            (Reach::Public, "https://169.254.169.254"),
            (Reach::Public, "https://[::1]"),
            (Reach::Public, "https://localhost"),
            (Reach::Public, "file:///etc/passwd"),
            (Reach::Public, ""),
            (Reach::WithLoopback, "http://10.0.0.1"),
            (Reach::WithLoopback, "ftp://127.0.0.1"),
        ] {
            let found = Probe::new(reach).unwrap().ask(address, &check("/health")).await;
            assert!(matches!(found, Reading::Nothing(_)), "{reach:?} {address}: {found:?}");
        }
        let url = Probe::new(Reach::Public).unwrap().url("https://t---web.a.run.app/", "/a/b");
        assert_eq!(url.unwrap().as_str(), "https://t---web.a.run.app/a/b");
    }
}
