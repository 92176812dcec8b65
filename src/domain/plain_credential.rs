//! Credentials in plain where none belongs: in what is signed, shown on pages and kept in the ledger for good.

/// Beginnings of credentials that their issuers publish so that scanners can find them.
const CREDENTIAL_PREFIXES: [&str; 17] = [
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "sk-",
    "sk_live_",
    "rk_live_",
    "SG.",
    "GOCSPX-",
];

/// Words in a variable's name that announce a credential.
const CREDENTIAL_WORDS: [&str; 12] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "APIKEY",
    "API_KEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "CREDENTIAL",
    "CREDENTIALS",
    "ENCRYPTION_KEY",
];

/// Whether a value is one, by its own form or by what its name announces.
pub(super) fn looks_like_credential(name: &str, value: &str) -> bool {
    let value = value.trim();
    if value.is_empty() {
        return false;
    }
    let name = name.to_uppercase().replace('-', "_");
    // A number, a switch or a short word beside such a name is a setting: TOKEN_LIFETIME=300.
    let is_setting = value.len() < 6
        || value.parse::<f64>().is_ok()
        || name.ends_with("_FILE")
        || name.ends_with("_PATH");
    let announced = CREDENTIAL_WORDS.iter().any(|word| name.contains(word)) && !is_setting;
    let known_form =
        CREDENTIAL_PREFIXES.iter().any(|prefix| value.starts_with(prefix) && value.len() >= 16);
    let is_token = value.starts_with("eyJ") && value.split('.').count() == 3;
    let has_password = value.split_once("://").is_some_and(|(_, rest)| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    });
    announced
        || known_form
        || is_token
        || has_password
        || value.contains("PRIVATE KEY-----")
        || is_random(value)
}

/// Whether a command line gives a credential: `--password=VALUE`, or `--password` and then its value.
pub(super) fn words_hold_credential<'a>(words: impl Iterator<Item = &'a str>) -> bool {
    let mut option = "";
    for word in words {
        let pair = word.split_once('=');
        let (name, value) = pair.unwrap_or((option, word));
        if looks_like_credential(name, value) {
            return true;
        }
        option = if word.starts_with('-') && pair.is_none() { word } else { "" };
    }
    false
}

/// Long, without spaces, of mixed letters and digits, and with the entropy of random bytes.
/// Hexadecimal digests are not: they are of one case and name public things.
fn is_random(value: &str) -> bool {
    let classes = [
        value.bytes().any(|byte| byte.is_ascii_uppercase()),
        value.bytes().any(|byte| byte.is_ascii_lowercase()),
        value.bytes().any(|byte| byte.is_ascii_digit()),
    ];
    let alphabet =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-');
    if value.len() < 32 || classes.contains(&false) || !value.bytes().all(alphabet) {
        return false;
    }
    let mut counts = [0_u32; 256];
    value.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let length = value.len() as f64;
    let entropy: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / length)
        .map(|share| -share * share.log2())
        .sum();
    entropy > 4.4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_told_from_settings() {
        for (name, value) in [
            ("DB_PASSWORD", "hunter2-hunter2"),
            ("STRIPE", "sk_live_4242424242424242"),
            ("AWS", "AKIAIOSFODNN7EXAMPLE"),
            ("DATABASE_URL", "postgres://app:s3cret@db/app"),
            ("X", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"),
            ("PEM", "-----BEGIN PRIVATE KEY-----\nMIIE"),
            ("SEED", "q8Zr2Lw9Xc7Vb5Nm3Kj1Hg4Fd6Sa0PoIuYtReWq"),
            ("api-key", "0123456789abcdef"),
        ] {
            assert!(looks_like_credential(name, value), "{name}={value}");
        }
        for (name, value) in [
            ("TOKEN_LIFETIME", "300"),
            ("GREETING", "hello"),
            ("COMMIT", "146d0db03cb88e69a8f6f0c3c168221abe73504b"),
            ("DATABASE_URL", "postgres://db/app"),
            ("PASSWORD_FILE", "/secrets/password"),
            ("SECRET", ""),
            ("REPOSITORY", "europe-docker.pkg.dev/demo/app/web"),
        ] {
            assert!(!looks_like_credential(name, value), "{name}={value}");
        }
    }

    #[test]
    fn a_command_line_is_read_word_by_word() {
        let holds = |line: &str| words_hold_credential(line.split(' '));
        for line in [
            "--password=hunter2-hunter2",
            "run --api-key 0123456789abcdef",
            "push ghp_0123456789abcdef",
        ] {
            assert!(holds(line), "{line}");
        }
        for line in
            ["--token-file /run/token", "--set A=b", "get secret my-secret", "--secret -q", ""]
        {
            assert!(!holds(line), "{line}");
        }
    }
}
