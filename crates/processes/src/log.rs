use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The file that receives what a child writes to stdout and stderr. Earlier runs stay in it; reading starts at this
/// run.
#[derive(Clone, Debug)]
pub struct Log {
    path: PathBuf,
    start: LogMark,
}

/// A place in a [`Log`]: lines written later come after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogMark(u64);

impl Log {
    /// Opens `path` for appending, with its folder, and marks its end as the start of this run.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, File)> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let start = LogMark(file.metadata()?.len());
        Ok((
            Self {
                path: path.to_owned(),
                start,
            },
            file,
        ))
    }

    /// Where the log is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The start of this run.
    #[must_use]
    pub fn start(&self) -> LogMark {
        self.start
    }

    /// The end as it is now.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn mark(&self) -> io::Result<LogMark> {
        Ok(LogMark(fs::metadata(&self.path)?.len()))
    }

    /// What was written since `mark`; bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn since(&self, mark: LogMark) -> io::Result<String> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(mark.0))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The first whole line since `mark` that contains `pattern`.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn find_since(&self, mark: LogMark, pattern: &str) -> io::Result<Option<String>> {
        let text = self.since(mark)?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Ok(whole
            .lines()
            .find(|line| line.contains(pattern))
            .map(str::to_owned))
    }

    /// The last `count` lines of this run, for error messages: a log that can't be read says so in its place.
    #[must_use]
    pub fn tail(&self, count: usize) -> String {
        match self.since(self.start) {
            Ok(text) => {
                let lines: Vec<&str> = text.lines().collect();
                lines[lines.len().saturating_sub(count)..].join("\n")
            }
            Err(error) => format!("(the log can't be read: {error})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn only_this_run_and_whole_lines_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs").join("child.log");
        let (_, mut earlier) = Log::open(&path).unwrap();
        writeln!(earlier, "ready, said the earlier run").unwrap();

        let (log, mut file) = Log::open(&path).unwrap();
        assert_eq!(log.find_since(log.start(), "ready").unwrap(), None);
        write!(file, "rea").unwrap();
        write!(file, "dy on port 1").unwrap();
        assert_eq!(log.find_since(log.start(), "ready").unwrap(), None);
        write!(file, "2\nnext\n").unwrap();
        let found = log.find_since(log.start(), "ready").unwrap();
        assert_eq!(found.as_deref(), Some("ready on port 12"));

        let mark = log.mark().unwrap();
        assert!(mark > log.start());
        assert_eq!(log.find_since(mark, "ready").unwrap(), None);
        assert_eq!(log.tail(1), "next");
        assert_eq!(log.tail(9), "ready on port 12\nnext");
    }
}
