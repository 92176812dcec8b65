//! Whether the directory can be reached, asked at this very moment.

use http::{Request, StatusCode};
use jiff::Timestamp;

use super::{FIRST_INTERVAL, LoginProvider};

/// The directory cannot be reached: a request of this gate failed just now. Only [`LoginProvider::outage`] makes one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectoryOutage {
    since: Timestamp,
}

impl DirectoryOutage {
    /// When a request failed first, since when none succeeded.
    pub fn since(&self) -> Timestamp {
        self.since
    }
}

impl LoginProvider {
    /// Asks the directory now, by requests of the gate's own, whether it can be reached: for its discovery document
    /// and its keys, and whether its token endpoint answers at all. What failed a few seconds ago is not asked again.
    pub async fn outage(&self, now: Timestamp) -> Option<DirectoryOutage> {
        let mut discovered = self.discovered.lock().await;
        let before = discovered.unreachable_since;
        let just_asked = discovered
            .last_attempt
            .is_some_and(|last| now.duration_since(last).abs() < FIRST_INTERVAL);
        if before.is_none() || !just_asked {
            self.renew(&mut discovered, now).await;
            if discovered.unreachable_since.is_none() && !self.gives_tokens(&discovered).await {
                discovered.unreachable_since = before.or(Some(now));
            }
        }
        discovered.unreachable_since.map(|since| DirectoryOutage { since })
    }

    /// Whether the token endpoint answers. That it refuses a request without a code is an answer.
    async fn gives_tokens(&self, discovered: &super::Discovered) -> bool {
        let endpoint = discovered.metadata.as_ref().and_then(|metadata| metadata.token_endpoint());
        let request = endpoint.and_then(|url| Request::get(url.as_str()).body(Vec::new()).ok());
        // Without such an endpoint nobody ever signed in: that is no outage.
        let Some(request) = request else { return true };
        match self.sender()(request).await {
            Ok(answer) => answer.status() < StatusCode::INTERNAL_SERVER_ERROR,
            Err(error) => {
                tracing::warn!(%error, "the token endpoint of the directory gave no answer");
                false
            }
        }
    }
}
