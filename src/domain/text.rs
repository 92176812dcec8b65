//! Text that a requester wrote: kept as it is, shown inert, never believed.

/// A piece of a requester's text, ready to be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Characters that show as what they are.
    Plain(String),
    /// A character that would be invisible or change how others are shown, named instead:
    /// `U+202E`, for example.
    Marked(String),
}

/// Splits a text into what may be shown as it is and what must be shown by name.
///
/// Bidirectional overrides can make a line read backwards (CVE-2021-42574), invisible characters
/// can hide words or make two different names look the same. They are kept, since they are part
/// of the signed bytes, and shown by their code points.
pub fn inert(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    for character in text.chars() {
        if is_deceptive(character) {
            if !plain.is_empty() {
                pieces.push(Piece::Plain(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Marked(format!("U+{:04X}", u32::from(character))));
        } else {
            plain.push(character);
        }
    }
    if !plain.is_empty() {
        pieces.push(Piece::Plain(plain));
    }
    pieces
}

/// Whether a character is invisible or changes how its neighbours are shown.
///
/// Control characters but line feed and tab; bidirectional formatting (Unicode Standard Annex 9);
/// zero-width and other default-ignorable characters; private use, tags and interlinear marks.
pub fn is_deceptive(character: char) -> bool {
    if matches!(character, '\n' | '\t') {
        return false;
    }
    character.is_control()
        || matches!(u32::from(character),
            0x00AD | 0x034F | 0x061C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F
            | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0x2800 | 0x3164
            | 0xE000..=0xF8FF | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFC
            | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0x10FFFF)
}

/// A text that others wrote, fit for a terminal: on one line, what is invisible or changes the
/// direction named by its code point.
pub fn one_line(text: &str) -> String {
    let mut shown = String::new();
    for piece in inert(text) {
        match piece {
            Piece::Plain(plain) => {
                shown.push_str(&plain.replace('\n', "[U+000A]").replace('\t', "[U+0009]"));
            }
            Piece::Marked(code) => shown.push_str(&format!("[{code}]")),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deceptive_characters_are_named() {
        assert_eq!(
            inert("a\u{202e}b\u{0}\u{200b}"),
            [
                Piece::Plain("a".into()),
                Piece::Marked("U+202E".into()),
                Piece::Plain("b".into()),
                Piece::Marked("U+0000".into()),
                Piece::Marked("U+200B".into()),
            ]
        );
        assert_eq!(inert("<b>é 東京\n</b>"), [Piece::Plain("<b>é 東京\n</b>".into())]);
    }
}
