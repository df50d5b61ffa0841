//! From a stream of bytes to lines.
//!
//! Lines end in `\n`; a `\r` before it, leading white space and blank lines are ignored. A line
//! that grows past the limit ends the connection: there is no way to find the next one safely.

use std::borrow::Cow;

use memchr::memchr;

/// A line longer than the limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LineTooLong;

/// The start of a line whose end has not arrived.
#[derive(Debug)]
pub struct Framing {
    rest: Vec<u8>,
    line_bytes_max: usize,
}

/// What one read brought, behind what was kept before. What is left of it goes back to
/// [`Framing::keep`].
#[derive(Debug)]
pub struct Lines<'a> {
    bytes: Cow<'a, [u8]>,
    /// Where the next line starts.
    at: usize,
    /// No line ends before this.
    searched: usize,
    line_bytes_max: usize,
}

impl Framing {
    /// Nothing has arrived yet.
    pub fn new(line_bytes_max: usize) -> Self {
        Self { rest: Vec::new(), line_bytes_max }
    }

    /// Takes what one read brought. Whole lines are not copied: most reads bring nothing else.
    pub fn push<'a>(&mut self, bytes: &'a [u8]) -> Lines<'a> {
        let mut rest = core::mem::take(&mut self.rest);
        let (searched, line_bytes_max) = (rest.len(), self.line_bytes_max);
        let bytes = if rest.is_empty() {
            Cow::Borrowed(bytes)
        } else {
            rest.extend_from_slice(bytes);
            Cow::Owned(rest)
        };
        Lines { bytes, at: 0, searched, line_bytes_max }
    }

    /// Keeps the line that is not whole, if there is one: a connection at rest has no buffer.
    pub fn keep(&mut self, lines: Lines<'_>) {
        let Lines { bytes, at, .. } = lines;
        self.rest = match bytes {
            Cow::Owned(mut bytes) if at < bytes.len() => {
                bytes.drain(..at);
                bytes
            }
            Cow::Owned(_) => Vec::new(),
            Cow::Borrowed(bytes) => bytes[at..].to_vec(),
        };
    }
}

impl Lines<'_> {
    /// The next line that is not blank, without its end; `None` until one is whole.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, LineTooLong> {
        let line = loop {
            let Some(end) = memchr(b'\n', &self.bytes[self.searched..]) else {
                self.searched = self.bytes.len();
                let over = self.searched - self.at > self.line_bytes_max;
                return if over { Err(LineTooLong) } else { Ok(None) };
            };
            let line = self.at..self.searched + end;
            if line.len() > self.line_bytes_max {
                return Err(LineTooLong);
            }
            self.at = line.end + 1;
            self.searched = self.at;
            if !self.bytes[line.clone()].trim_ascii().is_empty() {
                break line;
            }
        };
        Ok(Some(self.bytes[line].trim_ascii()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&[u8]], max: usize) -> Vec<Result<String, LineTooLong>> {
        let mut framing = Framing::new(max);
        let mut found = Vec::new();
        for chunk in chunks {
            let mut lines = framing.push(chunk);
            while let Some(line) = lines.next_line().transpose() {
                let text = |line: &[u8]| String::from_utf8(line.to_vec()).expect("ASCII");
                found.push(line.map(text));
                if found.last().is_some_and(Result::is_err) {
                    return found;
                }
            }
            framing.keep(lines);
        }
        found
    }

    #[test]
    fn ends_blanks_and_limits() {
        let line = |text: &str| Ok(text.to_owned());
        assert_eq!(
            lines(&[b"one\r\n\n  two\nthr", b"ee\n"], 9),
            [line("one"), line("two"), line("three")]
        );
        assert_eq!(lines(&[b"123456789\n"], 9), [line("123456789")]);
        assert_eq!(lines(&[b"1234567890\n"], 9), [Err(LineTooLong)]);
        assert_eq!(lines(&[b"12345", b"67890"], 9), [Err(LineTooLong)]);
    }

    proptest! {
        #[test]
        fn how_bytes_are_cut_makes_no_difference(
            text in "([a-z]{0,9}\n){0,9}[a-z]{0,4}",
            cuts: Vec<proptest::sample::Index>,
        ) {
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            places.extend([0, text.len()]);
            places.sort_unstable();
            let chunks: Vec<&[u8]> =
                places.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(lines(&chunks, 64), lines(&[text.as_bytes()], 64));
        }
    }
}
