//! Comma-separated values (RFC 4180) that a spreadsheet shows and does not carry out.

/// One line with its line end. A cell that a spreadsheet would take for a formula begins with an
/// apostrophe, which spreadsheets show as nothing.
pub fn line<T: AsRef<str>>(cells: &[T]) -> String {
    let cells: Vec<String> = cells.iter().map(|text| cell(text.as_ref())).collect();
    cells.join(",") + "\r\n"
}

fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_formulas_are_texts() {
        let cells =
            ["a", "b,c", "say \"no\"", "two\nlines", "=HYPERLINK(1)", "+1", "-1", "@x", "1-2"];
        assert_eq!(
            line(&cells),
            "a,\"b,c\",\"say \"\"no\"\"\",\"two\nlines\",'=HYPERLINK(1),'+1,'-1,'@x,1-2\r\n"
        );
    }
}
