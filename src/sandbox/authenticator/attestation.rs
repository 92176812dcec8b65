//! What the software authenticator says of its maker: nothing, or what a test lets it say.

use std::sync::Arc;

use ciborium::Value as Cbor;

use super::certificates::Issuer;
use super::{AuthenticatorError, Credential};

/// What an authenticator says of its maker.
#[derive(Clone, Default)]
pub enum Attestation {
    /// Nothing.
    #[default]
    None,
    /// That the new key is what it is, signed by that key alone.
    OfItself,
    /// What its maker certified: a key signs, and a chain of certificates says whose key it is.
    Certified {
        /// The key that signs. In a good attestation, that of the first certificate.
        key: Arc<Issuer>,
        /// The certificates, as DER.
        chain: Vec<Vec<u8>>,
    },
    /// The statement of an attestation that was made before, under this format.
    Replayed(&'static str, Vec<(Cbor, Cbor)>),
}

/// The name and the members of a statement.
type Statement = (&'static str, Vec<(Cbor, Cbor)>);

impl Attestation {
    /// What a maker's authenticator says whose certificate ends at no certificate but its own and these.
    pub fn by(key: Issuer, above: &[&Issuer]) -> Self {
        let above = above.iter().map(|one| one.certificate.clone());
        let chain = std::iter::once(key.certificate.clone()).chain(above).collect();
        Self::Certified { key: Arc::new(key), chain }
    }

    /// The statement over authenticator data and the hash of the client data, about the new credential.
    pub(super) fn statement(
        &self,
        signed: &[u8],
        credential: &Credential,
    ) -> Result<Statement, AuthenticatorError> {
        let member = |name: &str, value: Cbor| (Cbor::from(name), value);
        Ok(match self {
            Self::None => ("none", Vec::new()),
            Self::OfItself => {
                let signature = credential.key.sign(signed)?;
                let algorithm = Cbor::from(credential.algorithm.cose());
                ("packed", vec![member("alg", algorithm), member("sig", signature.into())])
            }
            Self::Certified { key, chain } => {
                let chain = chain.iter().map(|one| Cbor::Bytes(one.clone())).collect();
                let members = vec![
                    member("alg", Cbor::from(key.algorithm().cose())),
                    member("sig", key.sign(signed)?.into()),
                    member("x5c", Cbor::Array(chain)),
                ];
                ("packed", members)
            }
            Self::Replayed(format, members) => (format, members.clone()),
        })
    }
}
