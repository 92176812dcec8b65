//! Rows of the key that signed, changed before the worker looks at them.

use countersign::proof::verify::Code::{
    EnrolmentInvalid, IssuerKeyNotPinned, TokenSignatureInvalid,
};

use super::Bite::{Elsewhere, Without};
use super::{Act, Attack, Bite, Place};

fn attack(
    name: &'static str,
    wrote: &'static str,
    code: &'static str,
    bite: Bite,
    sql: fn(&Place<'_>) -> Vec<String>,
) -> Attack {
    Attack { name, wrote, act: Act::Sql(sql), code, bite }
}

/// An update of the row of the key that signed the approval.
fn key(place: &Place<'_>, change: &str) -> Vec<String> {
    let own = format!("(SELECT credential_id FROM decisions WHERE approval_id = '{}')", place.id);
    vec![format!("UPDATE credentials SET {change} WHERE id = {own}")]
}

pub fn attacks() -> Vec<Attack> {
    vec![
        attack(
            "another person's registration",
            "credentials.registration",
            "enrolment_invalid",
            Elsewhere("it is another key's, and did not sign"),
            |place| {
                key(
                    place,
                    "registration = (SELECT registration FROM credentials WHERE subject = 'u-bob' LIMIT 1)",
                )
            },
        ),
        attack(
            "no registration",
            "credentials.registration",
            "enrolment_invalid",
            Elsewhere("there is nothing to verify"),
            |place| key(place, "registration = '{}'"),
        ),
        attack(
            "a sign-in that does not vouch for the key",
            "credentials.id_token",
            "enrolment_invalid",
            Without(&[EnrolmentInvalid]),
            |place| {
                key(
                    place,
                    "id_token = (SELECT s.id_token FROM sessions s WHERE s.profile LIKE '%u-alice%' AND s.id_token <> credentials.id_token LIMIT 1)",
                )
            },
        ),
        attack(
            "another key of the directory at enrolment",
            "credentials.issuer_key",
            "enrolment_invalid",
            Without(&[EnrolmentInvalid, IssuerKeyNotPinned, TokenSignatureInvalid]),
            |place| {
                key(
                    place,
                    &format!(
                        "issuer_key = (SELECT token_key FROM approvals WHERE id = '{}')",
                        place.donor
                    ),
                )
            },
        ),
        attack(
            "another key's enrolment entry",
            "credentials.enrolment_entry",
            "enrolment_invalid",
            Without(&[EnrolmentInvalid]),
            |place| {
                key(
                    place,
                    "enrolment_entry = (SELECT MIN(enrolment_entry) FROM credentials WHERE subject = 'u-bob')",
                )
            },
        ),
        attack(
            "the key deleted",
            "credentials",
            "evidence_incomplete",
            Elsewhere("a row that the evidence needs is gone"),
            |place| {
                let own = format!(
                    "(SELECT credential_id FROM decisions WHERE approval_id = '{}')",
                    place.id
                );
                vec![format!("DELETE FROM credentials WHERE id = {own}")]
            },
        ),
    ]
}
