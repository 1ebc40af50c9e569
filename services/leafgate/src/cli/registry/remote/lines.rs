use crate::cli::error::{CliError, Exit};

/// Longer than any event, device or result.
const MAX_LINE_BYTES: usize = 4 << 20;

/// Puts the lines of a stream together.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// The lines that these bytes complete, without their ends.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, CliError> {
        let mut complete = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.rest.len() + part.len() > MAX_LINE_BYTES {
                let error = "the registry answers with a line of more than 4 MiB";
                return Err(CliError::new(Exit::Wrong, error));
            }
            self.rest.extend_from_slice(part);
            if self.rest.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.rest);
                let line = String::from_utf8_lossy(&line);
                complete.push(line.trim_end_matches(['\r', '\n']).to_owned());
            }
        }
        Ok(complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_the_stream_is_cut() {
        let text = "one\r\n\ntwo ä\nthree\nfour";
        for size in 1..=text.len() {
            let mut lines = Lines::default();
            let chunks = text.as_bytes().chunks(size);
            let found: Vec<String> = chunks.flat_map(|it| lines.push(it).unwrap()).collect();
            assert_eq!(found, ["one", "", "two ä", "three"], "{size}");
        }
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let mut lines = Lines::default();
        let chunk = vec![b'a'; 1 << 20];
        let failed = (0..5).find_map(|_| lines.push(&chunk).err());
        assert!(failed.is_some());
    }
}
