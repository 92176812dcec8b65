//! The witnesses' part: who else saw the log grow up to the tree head.

use jiff::Timestamp;

use super::count;
use super::failure::{Code, Failure};
use crate::proof::checkpoint::Checkpoint;
use crate::proof::cosignature::Witness;
use crate::proof::evidence::{Cosignature, Trust};

/// A cosignature that verifies. It means something where the witness is pinned: anybody can make keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cosigned {
    /// What the witness is called.
    pub witness: String,
    /// When it signed, by its own clock.
    pub at: Timestamp,
    /// Whether the trust anchors name it.
    pub is_pinned: bool,
}

/// Verifies the cosignatures of a tree head, and that as many pinned witnesses made one as are asked for.
///
/// # Errors
/// The first check that fails.
pub fn verify_cosignatures(
    cosignatures: &[Cosignature],
    checkpoint: &Checkpoint,
    trust: &Trust,
) -> Result<Vec<Cosigned>, Failure> {
    let cosigned = check_cosignatures(cosignatures, checkpoint, trust)?;
    check_required(&cosigned, trust)?;
    Ok(cosigned)
}

pub(super) fn check_cosignatures(
    cosignatures: &[Cosignature],
    checkpoint: &Checkpoint,
    trust: &Trust,
) -> Result<Vec<Cosigned>, Failure> {
    let invalid = |sentence| Code::CosignatureInvalid.because(sentence);
    if !cosignatures.is_sorted_by(|one, next| one.witness < next.witness) {
        return Err(invalid("the witnesses are not in order, each once".to_owned()));
    }
    let mut cosigned = Vec::with_capacity(cosignatures.len());
    for found in cosignatures {
        let witness = Witness::parse(&found.witness)
            .ok_or_else(|| invalid("what should name a witness is no verifier key".to_owned()))?;
        let at = witness.verify(checkpoint.text(), &found.cosignature).ok_or_else(|| {
            let name = witness.name();
            invalid(format!("the witness {name} did not sign this tree head"))
        })?;
        let is_pinned = trust.witnesses.contains(&found.witness);
        cosigned.push(Cosigned { witness: witness.name().to_owned(), at, is_pinned });
    }
    Ok(cosigned)
}

pub(super) fn check_required(cosigned: &[Cosigned], trust: &Trust) -> Result<(), Failure> {
    let (pinned, required) = (pinned(cosigned), usize::from(trust.witnesses_required));
    if pinned >= required {
        return Ok(());
    }
    Err(Code::NotWitnessed.because(format!(
        "{} cosigned the tree head, and {required} must have",
        count(pinned, "pinned witness")
    )))
}

fn pinned(cosigned: &[Cosigned]) -> usize {
    cosigned.iter().filter(|one| one.is_pinned).count()
}

/// What it came to, for whoever reads it.
pub(super) fn held(cosigned: &[Cosigned], trust: &Trust) -> String {
    let (pinned, required) = (pinned(cosigned), trust.witnesses_required);
    match (pinned, cosigned.len() - pinned) {
        (0, 0) => "No witness is asked for and none cosigned the tree head: that everybody was shown the same log rests on the log key alone.".to_owned(),
        (0, others) => format!("{} cosigned the tree head, and none of them is pinned, which proves nothing; none is asked for.", count(others, "witness")),
        (pinned, _) => format!("{} saw the log grow up to this tree head, and cosigned it ({required} asked for).", count(pinned, "pinned witness")),
    }
}
