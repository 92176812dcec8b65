//! Randomness: the one place that asks the system for unpredictable bytes.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// `N` unpredictable bytes from the operating system's generator.
///
/// # Panics
/// If the operating system cannot give randomness. Nothing safe can be done without it,
/// so the process stops rather than go on with guessable nonces.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(clippy::expect_used, reason = "no nonce may ever be made without randomness")]
    SystemRandom::new().fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// `N` unpredictable bytes as unpadded base64url text, for nonces, states and session secrets.
pub fn token<const N: usize>() -> String {
    data_encoding::BASE64URL_NOPAD.encode(&bytes::<N>())
}
