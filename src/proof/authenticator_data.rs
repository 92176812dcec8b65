//! Authenticator data: the bytes an authenticator signs first (WebAuthn Level 3, section 6.1).

/// RP ID hash (32), flags (1) and signature counter (4): every authenticator data starts so.
pub const HEADER_LENGTH: usize = 37;

/// The flags byte. Bit 0 is UP, 2 UV, 3 BE, 4 BS, 6 AT, 7 ED; bits 1 and 5 are reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// UP: somebody touched the authenticator.
    pub fn user_present(self) -> bool {
        self.0 & 0x01 != 0
    }

    /// UV: the authenticator recognised its owner, by PIN or biometry.
    pub fn user_verified(self) -> bool {
        self.0 & 0x04 != 0
    }

    /// BE: the key may be copied to other devices.
    pub fn backup_eligible(self) -> bool {
        self.0 & 0x08 != 0
    }

    /// BS: the key is backed up now.
    pub fn backed_up(self) -> bool {
        self.0 & 0x10 != 0
    }

    /// AT: attested credential data follows the header.
    pub fn has_attested_credential(self) -> bool {
        self.0 & 0x40 != 0
    }

    /// ED: extension data follows.
    pub fn has_extensions(self) -> bool {
        self.0 & 0x80 != 0
    }

    /// Whether a bit is set that the specification reserves.
    pub fn has_reserved_bits(self) -> bool {
        self.0 & 0x22 != 0
    }
}

/// Authenticator data cut into its parts; nothing in it is judged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthenticatorData<'a> {
    pub rp_id_hash: [u8; 32],
    pub flags: Flags,
    pub sign_count: u32,
    /// What follows the header: attested credential data and extensions, or nothing.
    pub rest: &'a [u8],
}

impl<'a> AuthenticatorData<'a> {
    /// Cuts `bytes` into parts; nothing when they are shorter than the header.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (rp_id_hash, bytes) = bytes.split_first_chunk::<32>()?;
        let (flags, bytes) = bytes.split_first()?;
        let (sign_count, rest) = bytes.split_first_chunk::<4>()?;
        Some(Self {
            rp_id_hash: *rp_id_hash,
            flags: Flags(*flags),
            sign_count: u32::from_be_bytes(*sign_count),
            rest,
        })
    }
}
