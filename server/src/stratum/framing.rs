//! From a stream of bytes to lines.
//!
//! Lines end in `\n`; a `\r` before it, leading white space and blank lines are ignored. A line
//! that grows past the limit ends the connection: there is no way to find the next one safely.

use bytes::{Bytes, BytesMut};

/// A line longer than the limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LineTooLong;

/// Bytes that arrived and are not yet a whole line.
#[derive(Debug)]
pub struct Framing {
    buffer: BytesMut,
    searched: usize,
    line_bytes_max: usize,
}

impl Framing {
    /// Nothing has arrived yet.
    pub fn new(line_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, line_bytes_max }
    }

    /// Takes what one read brought.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line that is not blank, without its end; `None` until one is whole.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, LineTooLong> {
        loop {
            let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            let Some(end) = end.map(|place| place + self.searched) else {
                self.searched = self.buffer.len();
                let over = self.searched > self.line_bytes_max;
                return if over { Err(LineTooLong) } else { Ok(None) };
            };
            if end > self.line_bytes_max {
                return Err(LineTooLong);
            }
            self.searched = 0;
            let line = self.buffer.split_to(end + 1).freeze();
            let text = line.trim_ascii();
            if !text.is_empty() {
                return Ok(Some(line.slice_ref(text)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&[u8]], max: usize) -> Vec<Result<Option<Bytes>, LineTooLong>> {
        let mut framing = Framing::new(max);
        let mut found = Vec::new();
        for chunk in chunks {
            framing.push(chunk);
            loop {
                let line = framing.next_line();
                let more = matches!(line, Ok(Some(_)));
                found.extend((line != Ok(None)).then_some(line));
                if !more {
                    break;
                }
            }
        }
        found
    }

    #[test]
    fn ends_blanks_and_limits() {
        let line = |text: &'static str| Ok(Some(Bytes::from_static(text.as_bytes())));
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
