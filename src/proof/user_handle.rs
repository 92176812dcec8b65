//! The WebAuthn user handle of a person of the directory.

use aws_lc_rs::digest::{Context, SHA256};

/// Keeps this hash apart from every other SHA-256 of the product: the same bytes hashed for
/// another purpose can never come out as a user handle.
const DOMAIN: &[u8] = b"countersign user handle v1\0";

/// The user handle of the person whom the issuer `issuer` calls `subject`.
///
/// WebAuthn asks that a handle holds no personal data (Level 3, section 14.6.1), since an
/// authenticator may show it before the person is verified: so it is a hash. The issuer's
/// length is hashed before it, so that no two pairs run together into the same bytes.
pub fn user_handle(issuer: &str, subject: &str) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(DOMAIN);
    context.update(&(issuer.len() as u64).to_be_bytes());
    context.update(issuer.as_bytes());
    context.update(subject.as_bytes());
    let mut handle = [0; 32];
    handle.copy_from_slice(context.finish().as_ref());
    handle
}

#[cfg(test)]
mod tests {
    use super::user_handle;

    #[test]
    fn a_handle_is_stable_and_belongs_to_one_pair() {
        let alice = user_handle("https://login.example", "alice");
        assert_eq!(alice, user_handle("https://login.example", "alice"));
        assert_ne!(alice, user_handle("https://login.example", "bob"));
        assert_ne!(alice, user_handle("https://other.example", "alice"));
        assert_ne!(alice, user_handle("https://login.examplea", "lice"));
    }
}
