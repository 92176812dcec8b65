//! Text that somebody else wrote, on its way into a page.

use std::fmt;

use askama::filters::{Escaper, Html, HtmlSafe};

use crate::domain::text::{Piece, inert};

/// A text that shows as what it is and does nothing: markup is escaped, and characters that would
/// be invisible or turn their neighbours around are shown by name.
///
/// This is the only type of the crate whose [`fmt::Display`] writes markup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inert(String);

impl Inert {
    /// Takes the text as it was written.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text as it was written.
    pub fn as_written(&self) -> &str {
        &self.0
    }

    /// The text for places that hold no markup, a page's title for example.
    pub fn without_markup(&self) -> String {
        let texts = inert(&self.0).into_iter().map(|piece| match piece {
            Piece::Plain(text) | Piece::Marked(text) => text,
        });
        texts.collect()
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl HtmlSafe for Inert {}

impl fmt::Display for Inert {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, digest) = split_digest(&self.0);
        for piece in inert(text) {
            match piece {
                Piece::Plain(text) => Html.write_escaped_str(&mut *formatter, &text)?,
                // The code point is ours: `U+` and hexadecimal digits.
                Piece::Marked(code) => {
                    write!(
                        formatter,
                        "<span class=\"mark\" data-code=\"{}\">{code}</span>",
                        &code["U+".len()..]
                    )?;
                }
            }
        }
        if digest.is_empty() { Ok(()) } else { write_digest(formatter, digest) }
    }
}

/// How many characters a SHA-256 has in hexadecimal digits, and how many of them make a group.
const DIGEST_LENGTH: usize = 64;
const GROUP_LENGTH: usize = 8;

/// The text and the SHA-256 that it is or that it ends with, as an image's name does.
fn split_digest(text: &str) -> (&str, &str) {
    let start = text.len().checked_sub(DIGEST_LENGTH).filter(|start| text.is_char_boundary(*start));
    let (before, digest) = text.split_at(start.unwrap_or(text.len()));
    let is_hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if (before.is_empty() || before.ends_with("sha256:")) && digest.bytes().all(is_hexadecimal) {
        (before, digest)
    } else {
        (text, "")
    }
}

/// A digest in groups, which people can compare; copied, it is one word again.
fn write_digest(formatter: &mut fmt::Formatter<'_>, digest: &str) -> fmt::Result {
    formatter.write_str("<span class=\"digest\">")?;
    for start in (0..digest.len()).step_by(GROUP_LENGTH) {
        let separator = if start == 0 { "" } else { "<wbr>" };
        write!(formatter, "{separator}<span>{}</span>", &digest[start..start + GROUP_LENGTH])?;
    }
    formatter.write_str("</span>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_deceptive_characters_do_nothing() {
        assert_eq!(
            Inert::new("<b onclick='x'>&\"\u{202e}").to_string(),
            "&#60;b onclick=&#39;x&#39;&#62;&#38;&#34;\
             <span class=\"mark\" data-code=\"202E\">U+202E</span>"
        );
    }

    #[test]
    fn digests_are_written_in_groups() {
        let digest = "0123456789abcdef".repeat(4);
        let grouped = format!(
            "<span class=\"digest\">{}</span>",
            ["<span>01234567</span>", "<span>89abcdef</span>"].repeat(4).join("<wbr>")
        );
        assert_eq!(Inert::new(&digest).to_string(), grouped);
        let image = format!("example.com/<web>@sha256:{digest}");
        let shown = format!("example.com/&#60;web&#62;@sha256:{grouped}");
        assert_eq!(Inert::new(&image).to_string(), shown);
        for other in [&digest[1..], &format!("f{digest}"), &format!("sha256:{digest} ")] {
            assert_eq!(Inert::new(other).to_string(), other);
        }
    }
}
