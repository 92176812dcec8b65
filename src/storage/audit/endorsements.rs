//! Endorsements: whether what is kept of each is what the ledger saw, and nothing beside it.

use std::collections::BTreeMap;

use crate::domain::digest::Digest;
use crate::domain::endorsement::RecordedEndorsement;
use crate::domain::ledger::Record;
use crate::domain::person::Person;
use crate::storage::audit::Audit;
use crate::storage::endorsements::{EndorsementRow, KeptEndorsement, endorsement_columns};
use crate::storage::error::Result;

/// What the entries tell about endorsements, by the key and the person who endorsed it.
#[derive(Default)]
pub(super) struct Endorsements(BTreeMap<(String, Person), Told>);

/// What the ledger tells of one.
struct Told {
    index: u64,
    said: RecordedEndorsement,
    /// Whether the key that signed had been revoked before.
    by_revoked_key: bool,
}

impl Endorsements {
    /// Takes in an entry about one. What cannot be read leaves a row that nobody recorded.
    pub(super) fn learn(&mut self, index: u64, record: &Record, is_revoked: impl Fn(&str) -> bool) {
        if let Ok(said) = serde_json::from_value::<RecordedEndorsement>(record.data.clone()) {
            let place = (said.credential.clone(), said.endorser.clone());
            let by_revoked_key = is_revoked(&said.signed_with);
            self.0.insert(place, Told { index, said, by_revoked_key });
        }
    }
}

impl Audit {
    /// Compares every endorsement with its entry.
    pub(super) async fn check_endorsements(&mut self) -> Result<()> {
        const SQL: &str = endorsement_columns!("");
        let rows: Vec<EndorsementRow> = sqlx::query_as(SQL).fetch_all(&mut *self.snapshot).await?;
        let mut told = std::mem::take(&mut self.people.endorsements).0;
        for row in rows {
            let Some(kept) = self.findings.readable(KeptEndorsement::try_from(row))? else {
                continue;
            };
            let credential = data_encoding::BASE64URL_NOPAD.encode(&kept.credential_id);
            let name = format!("{credential} by {}", kept.endorser.subject);
            match told.remove(&(credential, kept.endorser.clone())) {
                None => {
                    let wrong = "is an endorsement that the ledger tells nothing of";
                    self.findings.row("endorsement_unrecorded", "endorsements", name, wrong);
                }
                Some(Told { index, said, by_revoked_key }) => {
                    if by_revoked_key {
                        let wrong = "was signed with a key that had been revoked before";
                        self.findings.row(
                            "endorsement_by_revoked_key",
                            "endorsements",
                            &name,
                            wrong,
                        );
                    }
                    for column in differences(&kept, index, &said) {
                        let wrong = format!("has another {column} than was recorded");
                        self.findings.row("endorsement_mismatch", "endorsements", &name, wrong);
                    }
                }
            }
        }
        for (credential, endorser) in told.into_keys() {
            let name = format!("{credential} by {}", endorser.subject);
            let wrong = "is gone, and with it the proof of an endorsement that was recorded";
            self.findings.row("endorsement_missing", "endorsements", name, wrong);
        }
        Ok(())
    }
}

/// The columns of a kept endorsement that do not prove the recorded one.
fn differences(
    kept: &KeptEndorsement,
    index: u64,
    said: &RecordedEndorsement,
) -> Vec<&'static str> {
    let signed = &kept.signed;
    let signed_with = data_encoding::BASE64URL_NOPAD.encode(&signed.credential_id);
    let assertion = signed.assertion_digest().is_ok_and(|own| own == said.assertion_digest);
    let columns = [
        ("entry_index", kept.entry == index),
        ("statement", Digest::of(&signed.statement) == said.statement_digest),
        ("signed_with", signed_with == said.signed_with),
        ("signature", assertion),
    ];
    columns.into_iter().filter(|(_, same)| !same).map(|(column, _)| column).collect()
}
