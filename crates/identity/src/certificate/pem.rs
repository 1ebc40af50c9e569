use super::ReadPemError;
use crate::Excerpt;
use data_encoding::BASE64;

/// Longest text that is read; a certificate with a P-256 key has about 1 KB.
const MAX_TEXT_BYTES: usize = 64 * 1024;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
pub(super) const END: &str = "-----END CERTIFICATE-----";

/// Characters of a full line of base64, and the bytes that they encode.
const LINE_LEN: usize = 64;
const LINE_BYTES: usize = 48;

/// Reads a text that is exactly one `CERTIFICATE` block in the strict form of RFC 7468,
/// section 3, which Go's PEM encoder writes: no headers, no text before or after, all lines but
/// the last of 64 characters, canonical base64. The last line end may be missing; line ends are
/// LF or CRLF.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, ReadPemError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(ReadPemError::TooLong { len: text.len() });
    }
    let mut lines = Lines::of(text);
    match lines.next() {
        Some((_, BEGIN)) => {}
        Some((line, first)) => return Err(first_line_error(line, first)),
        None => return Err(ReadPemError::BeginMissing),
    }

    let mut der = Vec::with_capacity(text.len() / LINE_LEN * LINE_BYTES);
    let mut ended_early = false;
    for (line, content) in &mut lines {
        if content == END {
            return match lines.next() {
                None if der.is_empty() => Err(ReadPemError::Empty),
                None => Ok(der),
                Some((line, _)) => Err(ReadPemError::TextAfter { line }),
            };
        }
        if ended_early {
            return Err(ReadPemError::Line { line });
        }
        let decoded = decode_line(content, &mut der).ok_or(ReadPemError::Line { line })?;
        ended_early = decoded < LINE_BYTES;
    }
    Err(ReadPemError::EndMissing)
}

fn first_line_error(line: usize, content: &str) -> ReadPemError {
    // The label alone is shown: what follows it may be a private key.
    let label = content
        .strip_prefix("-----BEGIN ")
        .and_then(|rest| rest.split_once("-----"));
    match label {
        None => ReadPemError::BeginMissing,
        Some(("CERTIFICATE", _)) => ReadPemError::Line { line },
        Some((label, _)) => ReadPemError::Label {
            label: Excerpt::of(label),
        },
    }
}

/// Appends what a line encodes and returns how many bytes that were, at least one.
fn decode_line(line: &str, der: &mut Vec<u8>) -> Option<usize> {
    let mut bytes = [0; LINE_BYTES];
    // The decoder takes padding also inside, as the end of one of several encodings.
    let padded_inside = line.trim_end_matches('=').contains('=');
    if line.is_empty() || !line.len().is_multiple_of(4) || padded_inside {
        return None;
    }
    let room = bytes.get_mut(..line.len() / 4 * 3)?;
    let decoded = BASE64.decode_mut(line.as_bytes(), room).ok()?;
    der.extend_from_slice(&bytes[..decoded]);
    Some(decoded)
}

/// Numbered lines without their ends. Unlike `str::lines`, a bare CR at the end of the text stays
/// part of its line.
struct Lines<'a> {
    rest: Option<&'a str>,
    number: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            rest: Some(text),
            number: 0,
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.filter(|rest| !rest.is_empty())?;
        self.number += 1;
        let line = match rest.split_once('\n') {
            Some((line, rest)) => {
                self.rest = Some(rest);
                line.strip_suffix('\r').unwrap_or(line)
            }
            None => self.rest.take()?,
        };
        Some((self.number, line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As Go's `pem.Encode` writes it.
    fn encode(der: &[u8]) -> String {
        let mut text = format!("{BEGIN}\n");
        for line in der.chunks(LINE_BYTES) {
            text.extend([&BASE64.encode(line), "\n"]);
        }
        text + END + "\n"
    }

    #[test]
    fn reads_one_block() {
        let der: Vec<u8> = (0..=255).collect();
        let text = encode(&der);
        assert_eq!(decode(&text), Ok(der.clone()));
        assert_eq!(decode(text.trim_end()), Ok(der.clone()));
        assert_eq!(decode(&text.replace('\n', "\r\n")), Ok(der));
    }

    #[test]
    fn refuses_everything_around_and_inside() {
        let block = encode(&[7; 100]);
        let lines: Vec<&str> = block.lines().collect();
        let (full, last) = (lines[1], lines[3]);
        let body = |body: &str| format!("{BEGIN}\n{body}\n{END}\n");
        let label = |label| ReadPemError::Label {
            label: Excerpt::of(label),
        };
        for (text, error) in [
            (String::new(), ReadPemError::BeginMissing),
            ("\0".into(), ReadPemError::BeginMissing),
            (
                format!("subject=device\n{block}"),
                ReadPemError::BeginMissing,
            ),
            (format!("\n{block}"), ReadPemError::BeginMissing),
            (format!(" {block}"), ReadPemError::BeginMissing),
            (format!("\u{feff}{block}"), ReadPemError::BeginMissing),
            (
                block.replace("BEGIN ", "BEGIN TRUSTED "),
                label("TRUSTED CERTIFICATE"),
            ),
            (
                "-----BEGIN PRIVATE KEY-----MIGH".into(),
                label("PRIVATE KEY"),
            ),
            ("-----BEGIN CERTIFICATE".into(), ReadPemError::BeginMissing),
            (block.replace(END, ""), ReadPemError::Line { line: 5 }),
            (
                block.replace(&format!("{END}\n"), ""),
                ReadPemError::EndMissing,
            ),
            (
                block.replace("END CERT", "END TRUSTED CERT"),
                ReadPemError::Line { line: 5 },
            ),
            (format!("{BEGIN}{END}\n"), ReadPemError::Line { line: 1 }),
            (format!("{BEGIN}\n{END}\n"), ReadPemError::Empty),
            (format!("{block}\n"), ReadPemError::TextAfter { line: 6 }),
            (format!("{block}x"), ReadPemError::TextAfter { line: 6 }),
            (format!("{block}\r"), ReadPemError::TextAfter { line: 6 }),
            (
                format!("{block}{block}"),
                ReadPemError::TextAfter { line: 6 },
            ),
            (
                block.trim_end().to_owned() + " ",
                ReadPemError::Line { line: 5 },
            ),
            (
                block.trim_end().to_owned() + "\r",
                ReadPemError::Line { line: 5 },
            ),
            (
                body(&format!("Proc-Type: 4,ENCRYPTED\n\n{full}")),
                ReadPemError::Line { line: 2 },
            ),
            (body(""), ReadPemError::Line { line: 2 }),
            (
                body(&format!("{full}\n\n{last}")),
                ReadPemError::Line { line: 3 },
            ),
            (
                body(&format!("{last}\n{full}")),
                ReadPemError::Line { line: 3 },
            ),
            (
                body(&format!("{full}{full}")),
                ReadPemError::Line { line: 2 },
            ),
            (body(&full[..63]), ReadPemError::Line { line: 2 }),
            (body("AB=="), ReadPemError::Line { line: 2 }),
            (body("A==="), ReadPemError::Line { line: 2 }),
            (body("AA==AAAA"), ReadPemError::Line { line: 2 }),
            (body("AA A"), ReadPemError::Line { line: 2 }),
            (body("AA-_"), ReadPemError::Line { line: 2 }),
            (body("é€A"), ReadPemError::Line { line: 2 }),
            (
                "x".repeat(MAX_TEXT_BYTES + 1),
                ReadPemError::TooLong {
                    len: MAX_TEXT_BYTES + 1,
                },
            ),
        ] {
            assert_eq!(decode(&text), Err(error), "{text}");
        }
        assert_eq!(decode(&body("AA==")), Ok(vec![0]));
    }

    proptest! {
        #[test]
        fn reads_what_it_writes_and_nothing_else(der in proptest::collection::vec(any::<u8>(), 1..300)) {
            prop_assert_eq!(decode(&encode(&der)), Ok(der));
        }

        #[test]
        fn what_it_reads_has_one_spelling(body in "([A-Za-z0-9+/]{64}\n){0,2}[A-Za-z0-9+/=]{0,68}") {
            let text = format!("{BEGIN}\n{body}\n{END}\n");
            if let Ok(der) = decode(&text) {
                prop_assert_eq!(encode(&der), text);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = decode(&text);
            let _ = decode(&format!("{BEGIN}\n{text}\n{END}\n"));
        }
    }
}
