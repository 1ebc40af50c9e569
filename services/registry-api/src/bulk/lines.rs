//! Lines of a body, read as they come.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header;
use bytes::{Buf, BytesMut};
use futures::{Stream, StreamExt, stream};
use leafgate_api::ProblemType;

use crate::app::App;
use crate::authenticate::Caller;
use crate::extract::{Nothing, query_pairs};
use crate::problem::Problem;

/// The longest line, in bytes, its end not counted.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// A request whose body is read line by line.
pub(super) struct LineRequest {
    pub(super) caller: Caller,
    pub(super) lines: Lines,
}

impl FromRequest<Arc<App>> for LineRequest {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let caller = Caller::from_request_parts(&mut parts, app).await?;
        query_pairs::<Nothing>(&parts.uri)?;
        let media_type = parts.headers.get(header::CONTENT_TYPE);
        let media_type = media_type.and_then(|value| value.to_str().ok());
        if !media_type.is_some_and(is_ndjson) {
            let detail = "send one JSON object on each line, as application/x-ndjson";
            return Err(Problem::new(ProblemType::MediaTypeUnsupported, detail));
        }
        let lines = Lines::new(body, app.limits.body_timeout());
        Ok(Self { caller, lines })
    }
}

fn is_ndjson(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    ["application/x-ndjson", "application/ndjson"]
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

/// The lines of a body.
pub(super) struct Lines {
    body: BodyDataStream,
    patience: Duration,
    /// What has come and is not given yet; never more than the longest line and one piece of the body.
    buffer: BytesMut,
    /// How much of the buffer is known to hold no end of a line.
    searched: usize,
    number: u64,
    /// In a line that is too long, whose rest is read and dropped.
    skipping: bool,
    at_end: bool,
}

/// The body broke off: nobody is there to be answered.
#[derive(Debug)]
pub(super) struct BodyBroken;

/// A line with its number, or why it can't be taken.
pub(super) type Line = (u64, Result<Bytes, Problem>);

impl Lines {
    fn new(body: Body, patience: Duration) -> Self {
        Self {
            body: body.into_data_stream(),
            patience,
            buffer: BytesMut::new(),
            searched: 0,
            number: 0,
            skipping: false,
            at_end: false,
        }
    }

    /// The lines, but for empty ones.
    pub(super) fn stream(self) -> impl Stream<Item = Result<Line, BodyBroken>> + Send {
        stream::unfold(self, |mut lines| async {
            let next = lines.next().await?;
            if next.is_err() {
                lines.drop_rest();
            }
            Some((next, lines))
        })
    }

    async fn next(&mut self) -> Option<Result<Line, BodyBroken>> {
        loop {
            if let Some(line) = self.buffered() {
                return Some(Ok(line));
            }
            if self.at_end {
                return self.rest().map(Ok);
            }
            match tokio::time::timeout(self.patience, self.body.next()).await {
                Ok(Some(Ok(piece))) => self.buffer.extend_from_slice(&piece),
                Ok(Some(Err(_))) => return Some(Err(BodyBroken)),
                Ok(None) => self.at_end = true,
                Err(_) => {
                    self.drop_rest();
                    let detail = format!("nothing more came within {:?}", self.patience);
                    let problem = Problem::new(ProblemType::RequestTimeout, detail);
                    return Some(Ok((self.number + 1, Err(problem))));
                }
            }
        }
    }

    fn drop_rest(&mut self) {
        self.at_end = true;
        self.skipping = false;
        self.buffer.clear();
        self.searched = 0;
    }

    /// The next whole line of the buffer.
    fn buffered(&mut self) -> Option<Line> {
        loop {
            let unseen = &self.buffer[self.searched..];
            let Some(found) = unseen.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                if self.searched > MAX_LINE_BYTES || self.skipping {
                    self.skipping = true;
                    self.buffer.clear();
                    self.searched = 0;
                }
                return None;
            };
            let line = self.buffer.split_to(self.searched + found);
            self.buffer.advance(1);
            self.searched = 0;
            if let Some(line) = self.take(line) {
                return Some(line);
            }
        }
    }

    /// What follows the last end of a line.
    fn rest(&mut self) -> Option<Line> {
        let line = self.buffer.split();
        self.searched = 0;
        if line.is_empty() && !self.skipping {
            return None;
        }
        self.take(line)
    }

    /// Counts a line; gives nothing if it is empty.
    fn take(&mut self, line: BytesMut) -> Option<Line> {
        self.number += 1;
        if std::mem::take(&mut self.skipping) || line.len() > MAX_LINE_BYTES {
            let detail = format!("a line has at most {MAX_LINE_BYTES} bytes");
            let problem = Problem::new(ProblemType::BodyTooLarge, detail);
            return Some((self.number, Err(problem)));
        }
        let empty = line.iter().all(u8::is_ascii_whitespace);
        (!empty).then(|| (self.number, Ok(line.freeze())))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// The lines of a body that comes in these pieces: each with its text, or nothing if it is too long.
    fn lines_of(pieces: Vec<Vec<u8>>) -> Vec<(u64, Option<Vec<u8>>)> {
        let pieces = pieces.into_iter().map(Ok::<_, Infallible>);
        let body = Body::from_stream(stream::iter(pieces));
        let lines = Lines::new(body, Duration::from_secs(60)).stream();
        run(lines.collect::<Vec<_>>())
            .into_iter()
            .map(|line| line.unwrap())
            .map(|(number, line)| (number, line.ok().map(|line| line.to_vec())))
            .collect()
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(future)
    }

    fn cut(text: &[u8], size: usize) -> Vec<Vec<u8>> {
        text.chunks(size).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn empty_lines_count_and_are_not_given() {
        let lines = lines_of(cut(b"\na\r\n \n\nb", 3));
        assert_eq!(
            lines,
            [(2, Some(b"a\r".to_vec())), (5, Some(b"b".to_vec()))]
        );
        assert_eq!(lines_of(vec![]), []);
        assert_eq!(lines_of(cut(b"\n\n", 1)), []);
    }

    #[test]
    fn a_line_that_is_too_long_is_told_and_the_next_one_read() {
        for size in [1000, MAX_LINE_BYTES, 10 * MAX_LINE_BYTES] {
            let longest = vec![b'x'; MAX_LINE_BYTES];
            let longer = vec![b'y'; 3 * MAX_LINE_BYTES + 1];
            let text = [&longest[..], &longer, b"a", &longer].join(&b'\n');
            let expected = [
                (1, Some(longest)),
                (2, None),
                (3, Some(b"a".to_vec())),
                (4, None),
            ];
            assert!(lines_of(cut(&text, size)) == expected, "{size}");
        }
    }

    #[test]
    fn a_body_that_breaks_off_gives_no_part_of_a_line() {
        let pieces = [
            Ok(Bytes::from_static(b"a\nb")),
            Err(std::io::Error::other("gone")),
        ];
        let body = Body::from_stream(stream::iter(pieces));
        let lines = Lines::new(body, Duration::from_secs(60)).stream();
        let mut lines: Vec<_> = run(lines.collect());
        assert!(lines.pop().unwrap().is_err());
        let (number, line) = lines.pop().unwrap().unwrap();
        assert_eq!((number, &*line.unwrap()), (1, &b"a"[..]));
        assert!(lines.is_empty());
    }

    proptest! {
        #[test]
        fn how_a_body_is_cut_does_not_matter(text in "[ab\n]{0,60}", size in 1_usize..20) {
            let whole = lines_of(vec![text.clone().into_bytes()]);
            prop_assert_eq!(&lines_of(cut(text.as_bytes(), size)), &whole);
            let expected: Vec<_> = text
                .split('\n')
                .zip(1_u64..)
                .filter(|(line, _)| !line.is_empty())
                .map(|(line, number)| (number, Some(line.as_bytes().to_vec())))
                .collect();
            prop_assert_eq!(whole, expected);
        }
    }
}
