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
        for piece in inert(&self.0) {
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
        Ok(())
    }
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
}
