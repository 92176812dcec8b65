//! The page on which somebody signs in with a key alone.

use askama::Template;
use askama_web::WebTemplate;
use jiff::Timestamp;

use super::{Frame, Moment, Surroundings};

/// `GET /sign-in/key`.
#[derive(Template, WebTemplate)]
#[template(path = "key_sign_in.html")]
pub struct KeySignInPage {
    frame: Frame,
    return_to: String,
    since: Moment,
}

impl KeySignInPage {
    /// `return_to` is a path of this gate; the directory cannot be reached since `since`.
    pub fn new(return_to: &str, since: Timestamp, around: Surroundings<'_>) -> Self {
        Self {
            frame: Frame::new("Sign in with your key", return_to, around),
            return_to: return_to.to_owned(),
            since: Moment::new(since, around.now),
        }
    }
}
