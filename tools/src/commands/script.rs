//! Several console commands in one text, separated by `;`.

/// The commands in `text`, as they are to be sent. A `;` within quotes or after a backslash separates
/// nothing, and `#` at the beginning of a word makes a comment of the rest of the line. Quotes and
/// backslashes stay, for the guest's console reads them again.
#[must_use]
pub fn split(text: &str) -> Vec<String> {
    let mut commands = vec![String::new()];
    let mut quote = None;
    let (mut escaped, mut comment, mut in_word) = (false, false, false);
    for character in text.chars() {
        comment |= character == '#' && quote.is_none() && !in_word;
        if comment && character != '\n' {
            continue;
        }
        comment = false;
        in_word = quote.is_some() || escaped || !(character.is_whitespace() || character == ';');
        let separates = quote.is_none() && !escaped && matches!(character, ';' | '\n');
        if separates {
            commands.push(String::new());
            continue;
        }
        match (quote, character) {
            _ if escaped => {}
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
        escaped = character == '\\' && !escaped && quote != Some('\'');
        if let Some(command) = commands.last_mut() {
            command.push(character);
        }
    }
    commands
        .iter()
        .map(|command| command.trim().to_owned())
        .filter(|c| !c.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn semicolons_and_lines_separate_but_not_within_quotes() {
        assert_eq!(
            split("format; mount ;ls -l /;"),
            ["format", "mount", "ls -l /"]
        );
        assert_eq!(
            split("write /a 'x; y'; cat /a"),
            ["write /a 'x; y'", "cat /a"]
        );
        assert_eq!(
            split(r#"write /a "it's; fine"; ls"#),
            [r#"write /a "it's; fine""#, "ls"]
        );
        assert_eq!(split(r"write /a x\;y; ls"), [r"write /a x\;y", "ls"]);
        assert_eq!(split("ls\nps\n"), ["ls", "ps"]);
        assert_eq!(
            split("ls # it's; all\nwrite /a b#c;# d"),
            ["ls", "write /a b#c"]
        );
        assert!(split(" ; ;").is_empty());
    }
}
