//! Device ids as people type them.

use leafgate_identity::{CnPattern, DeviceId, Excerpt, TokenProblem, is_token};

use crate::cli::error::CliError;

/// Reads an id, or says what is wrong with it and what it could have been meant to be.
pub(in crate::cli) fn parse(text: &str) -> Result<DeviceId, CliError> {
    let longest = CnPattern::default().max_id_len();
    DeviceId::parse(text).map_err(|error| {
        let shown = Excerpt::of(text);
        let problem = explain(text, &error.problem);
        let error = CliError::usage(format!("{shown} can't be a device id: {problem}")).hint(format!(
            "a device id has 1 to {longest} of A–Z a–z 0–9 _ -, and begins and ends with a letter or digit"
        ));
        match suggestion(text, longest) {
            Some(id) => error.hint(format!("did you mean \"{id}\"?")),
            None => error,
        }
    })
}

fn explain(text: &str, problem: &TokenProblem) -> String {
    match problem {
        TokenProblem::Empty => "it is empty".to_owned(),
        TokenProblem::TooLong { len } => format!("it has {len} characters"),
        TokenProblem::Edge { .. } => "it begins or ends with something else".to_owned(),
        TokenProblem::Character { found, at } => match text[*at..].chars().next() {
            Some('.') => "'.' separates NATS subject tokens".to_owned(),
            Some(wildcard @ ('*' | '>')) => format!("'{wildcard}' is a wildcard of NATS subjects"),
            Some(blank) if blank.is_whitespace() => "it holds a blank".to_owned(),
            _ => format!("{found} is not allowed"),
        },
    }
}

/// The nearest id, if a person would recognise it.
fn suggestion(text: &str, longest: usize) -> Option<String> {
    let replaced: String = text
        .chars()
        .map(|character| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => character,
            _ => '-',
        })
        .collect();
    let trimmed = replaced.trim_matches(['-', '_']);
    (is_token(trimmed) && trimmed.len() <= longest).then(|| trimmed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::error::Exit;

    #[test]
    fn what_is_wrong_comes_with_the_rule_and_a_way_out() {
        let error = parse("pump.7").unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert_eq!(
            error.message(),
            "\"pump.7\" can't be a device id: '.' separates NATS subject tokens"
        );
        assert_eq!(
            error.hints(),
            [
                "a device id has 1 to 36 of A–Z a–z 0–9 _ -, and begins and ends with a letter or digit",
                "did you mean \"pump-7\"?"
            ]
        );
    }

    #[test]
    fn every_problem_has_words() {
        for (text, words) in [
            ("", "it is empty"),
            ("pump.>", "'.' separates"),
            (">", "'>' is a wildcard"),
            ("a b", "it holds a blank"),
            ("a\u{a0}b", "it holds a blank"),
            ("pümp", "\"\\u{fc}\" is not allowed"),
            ("-a", "it begins or ends"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message().contains(words), "{}", error.message());
        }
        let long = parse(&"a".repeat(65)).unwrap_err();
        assert!(long.message().contains("it has 65 characters"));
    }

    #[test]
    fn nothing_is_suggested_where_nothing_is_left() {
        for text in ["", ">", "...", &"a.".repeat(30)] {
            assert_eq!(suggestion(text, 36), None, "{text}");
        }
    }
}
