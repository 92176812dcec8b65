//! The page of a recovery: what the log lost, what is left, and what the signature brings about.

use askama::Template;
use askama_web::WebTemplate;
use jiff::Timestamp;

use crate::domain::approval::Approval;
use crate::domain::recovery::{FrozenRecovery, Signer};
use crate::web::paths;

use super::approval::StatusView;
use super::{Frame, Inert, Moment, Surroundings};

/// What the gate says beside the statement.
#[derive(Clone, PartialEq, Debug)]
pub struct Lost {
    /// When the last entry that is left was written.
    pub last_entry_at: Option<Timestamp>,
    /// The approvals whose rollout was under way then.
    pub open: Vec<Approval>,
    /// Who has signed.
    pub signed: Vec<Signer>,
    /// How many people must.
    pub needed: usize,
    /// `PublicKeyCredentialRequestOptions` in its JSON form.
    pub request_options: String,
}

/// `GET /recovery`.
#[derive(Template, WebTemplate)]
#[template(path = "recovery.html")]
pub struct RecoveryPage {
    frame: Frame,
    is_done: bool,
    facts: Option<Facts>,
}

struct Facts {
    lead: String,
    lost: String,
    since: Option<Moment>,
    outside_name: Inert,
    outside_size: u64,
    outside_root: String,
    database_size: u64,
    database_root: String,
    new_name: Inert,
    revoked: Vec<Inert>,
    open: Vec<OpenView>,
    signers: Vec<SignerView>,
    needed: String,
    expires: Moment,
    statement: Inert,
    request_options: String,
}

struct OpenView {
    href: String,
    id: String,
    service: Inert,
    status: &'static str,
}

struct SignerView {
    subject: Inert,
    has_signed: bool,
}

impl RecoveryPage {
    /// For whoever has no link that is still good.
    pub fn without_link(around: Surroundings<'_>) -> Self {
        let frame = Frame::new("Recover the log", paths::RECOVERY, around);
        Self { frame, is_done: false, facts: None }
    }

    /// After the last signature.
    pub fn done(around: Surroundings<'_>) -> Self {
        Self { is_done: true, ..Self::without_link(around) }
    }

    /// Draws one statement.
    pub fn new(statement: &FrozenRecovery, lost: &Lost, around: Surroundings<'_>) -> Self {
        let recovery = statement.predicate();
        let (seen, left) = (recovery.outside.size, recovery.database.size);
        let has_signed =
            |signer: &Signer| lost.signed.iter().any(|one| one.person == signer.person);
        let mut signers: Vec<SignerView> = Vec::new();
        for signer in &recovery.signers {
            let subject = Inert::new(&signer.person.subject);
            if signers.iter().all(|known| known.subject != subject) {
                signers.push(SignerView { subject, has_signed: has_signed(signer) });
            }
        }
        let lost_count = match recovery.lost() {
            Some(1) => "1 entry at the end of the log is gone.".to_owned(),
            Some(count) => format!("{count} entries at the end of the log are gone."),
            None => format!(
                "The first {seen} entries are not those that were seen: how many differ cannot be told."
            ),
        };
        let open = lost.open.iter().map(|approval| OpenView {
            href: paths::approval(approval.id()),
            id: approval.id().to_string(),
            service: Inert::new(approval.subject.subject().target_name()),
            status: StatusView::new(approval.status()).words,
        });
        let facts = Facts {
            lead: format!(
                "The log had {seen} entries when it was last seen, and the database has {left}. Until people with pinned keys sign for going on without the rest, this gate decides nothing and rolls nothing out."
            ),
            lost: lost_count,
            since: lost.last_entry_at.map(|at| Moment::new(at, around.now)),
            outside_name: Inert::new(&recovery.outside.name),
            outside_size: seen,
            outside_root: recovery.outside.root.to_string(),
            database_size: left,
            database_root: recovery.database.root.to_string(),
            new_name: Inert::new(&recovery.new_name),
            revoked: recovery.revoked.iter().map(|one| Inert::new(one)).collect(),
            open: open.collect(),
            needed: match lost.needed {
                1 => "One of these people signs.".to_owned(),
                count => format!("{count} of these people sign, each through a link of their own."),
            },
            signers,
            expires: Moment::new(recovery.expires_at, around.now),
            statement: Inert::new(statement.text()),
            request_options: lost.request_options.clone(),
        };
        Self { facts: Some(facts), ..Self::without_link(around) }
    }
}
