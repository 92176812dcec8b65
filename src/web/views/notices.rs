//! The page that shows how the receivers of notices stand.

use askama::Template;
use askama_web::WebTemplate;
use jiff::Timestamp;

use crate::domain::notice::{Event, UNDELIVERED};
use crate::storage::NoticeStanding;
use crate::web::paths;

use super::moment::Moment;
use super::{Frame, Inert, Surroundings};

/// A receiver, and what stands in the outbox for it.
pub struct ReceiverListing {
    /// Its name.
    pub name: String,
    /// Scheme and host; none for one that the configuration does not name any more.
    pub place: Option<String>,
    /// The events that it is told of.
    pub events: Vec<&'static str>,
    /// What it was not told, if there is something.
    pub standing: Option<NoticeStanding>,
}

/// `GET /notices`.
#[derive(Template, WebTemplate)]
#[template(path = "notices.html")]
pub struct NoticesPage {
    frame: Frame,
    receivers: Vec<ReceiverView>,
    /// The entries about notices that were given up.
    undelivered: String,
}

struct ReceiverView {
    name: Inert,
    place: Option<String>,
    told_of: String,
    waiting: u64,
    oldest: Option<Moment>,
    given_up: u64,
    fault: Option<Inert>,
    status: &'static str,
    tone: &'static str,
}

impl NoticesPage {
    /// Draws these receivers.
    pub fn new(listings: &[ReceiverListing], around: Surroundings<'_>) -> Self {
        let receivers = listings.iter().map(|listing| view(listing, around.now)).collect();
        let undelivered = paths::with_query(paths::AUDIT, &[("kind", UNDELIVERED)]);
        let frame = Frame::new("Notices", paths::NOTICES, around);
        Self { frame, receivers, undelivered }
    }
}

fn view(listing: &ReceiverListing, now: Timestamp) -> ReceiverView {
    let standing = listing.standing.clone().unwrap_or_default();
    let (status, tone) = match (&listing.place, standing.given_up, &standing.last_error) {
        (None, ..) => ("Not configured any more", "bad"),
        (Some(_), 1.., _) => ("Was not told everything", "bad"),
        (Some(_), 0, Some(_)) => ("Tried again", "neutral"),
        (Some(_), 0, None) if standing.waiting > 0 => ("Being told", "neutral"),
        (Some(_), 0, None) => ("Told everything", "good"),
    };
    let told_of = match listing.events.len() {
        0 => "Approvals whose requester named it".to_owned(),
        count if count == Event::names().count() => "Everything".to_owned(),
        _ => listing.events.join(", "),
    };
    ReceiverView {
        name: Inert::new(&listing.name),
        place: listing.place.clone(),
        told_of,
        waiting: standing.waiting,
        oldest: standing.oldest.map(|at| Moment::new(at, now)),
        given_up: standing.given_up,
        fault: standing.last_error.as_deref().map(Inert::new),
        status,
        tone,
    }
}
