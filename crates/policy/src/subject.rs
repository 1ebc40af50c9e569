//! Plain NATS subject patterns: tokens, `*` for one token, `>` last for one or more.

/// Whether `wide` matches every subject that `narrow` matches. With a concrete subject as
/// `narrow` this is nats-server's own matching (server/sublist.go, `matchLiteral`).
pub(crate) fn covers(wide: &str, narrow: &str) -> bool {
    let mut narrow = narrow.split('.');
    for token in wide.split('.') {
        match (token, narrow.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(">")) => return false,
            ("*", Some(_)) => {}
            (token, Some(other)) if token == other => {}
            _ => return false,
        }
    }
    narrow.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn covers_follows_nats_matching() {
        for (wide, narrow) in [
            ("a.b", "a.b"),
            ("a.*", "a.b"),
            ("a.*", "a.*"),
            ("a.>", "a.b"),
            ("a.>", "a.*.c"),
            ("a.>", "a.>"),
            (">", "a"),
            ("*.>", "a.>"),
        ] {
            assert!(covers(wide, narrow), "{wide} covers {narrow}");
        }
        for (wide, narrow) in [
            ("a.b", "a"),
            ("a", "a.b"),
            ("a.b", "a.*"),
            ("a.*", "a.>"),
            ("a.*", "a"),
            ("a.*", "a.b.c"),
            ("a.>", "a"),
            ("*", ">"),
            ("a.*.>", "a.>"),
        ] {
            assert!(!covers(wide, narrow), "{wide} does not cover {narrow}");
        }
    }
}
