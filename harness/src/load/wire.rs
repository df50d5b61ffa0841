//! A connection, line by line, with as little work for each as there can be.
//!
//! Why not a JSON reader: the generator shares the machine with what it measures. All that it has
//! to know of an answer is whether it is one and whether it says yes.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Room for what one read may bring.
const READ_BYTES: usize = 4 * 1024;

/// Line by line over TCP.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    /// What came and is no whole line yet.
    rest: Vec<u8>,
}

impl Wire {
    pub(super) const fn new(stream: TcpStream) -> Self {
        Self { stream, rest: Vec::new() }
    }

    /// Waits for bytes and hands over each line that they complete, without its end.
    pub(super) async fn read(&mut self, mut on_line: impl FnMut(&[u8])) -> io::Result<()> {
        self.rest.reserve(READ_BYTES);
        if self.stream.read_buf(&mut self.rest).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        while let Some(length) = self.rest[done..].iter().position(|byte| *byte == b'\n') {
            on_line(&self.rest[done..done + length]);
            done += length + 1;
        }
        self.rest.drain(..done);
        Ok(())
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }
}

/// What a line is to the generator.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Line {
    /// An answer that says yes.
    Yes,
    /// An answer that does not.
    No,
    /// A job that voids all before it.
    CleanJob,
    /// A job beside those before it.
    Job,
    /// Whatever else the server had to say.
    Other,
}

/// Looks at a line no further than it has to.
pub(super) fn classify(line: &[u8]) -> Line {
    if let Some(after) = after(line, b"\"method\"") {
        let method = value(after);
        if !method.starts_with(b"\"mining.notify\"") {
            return Line::Other;
        }
        // The last parameter says whether the jobs before it are void.
        return if contains(line, b"true]") || contains(line, b"true ]") {
            Line::CleanJob
        } else {
            Line::Job
        };
    }
    match after(line, b"\"result\"") {
        Some(after) if value(after).starts_with(b"true") => Line::Yes,
        Some(_) => Line::No,
        None => Line::Other,
    }
}

/// Whether a job has transactions beside its coinbase.
pub(super) fn has_branch(line: &[u8]) -> bool {
    !contains(line, b",[],") && !contains(line, b", [], ")
}

/// What stands behind a name, without colon and blanks.
fn value(after: &[u8]) -> &[u8] {
    let start = after.iter().position(|byte| !matches!(byte, b' ' | b':'));
    start.map_or(&[], |start| &after[start..])
}

fn after<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let start = line.windows(name.len()).position(|part| part == name)?;
    Some(&line[start + name.len()..])
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    after(line, part).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_many_servers_are_told_apart() {
        for (line, expected) in [
            (r#"{"id":1,"result":true,"error":null}"#, Line::Yes),
            (r#"{"error": null, "id": 1, "result" : true}"#, Line::Yes),
            (r#"{"id":1,"result":false,"error":null}"#, Line::No),
            (r#"{"id":1,"result":null,"error":[23,"low difficulty share",null]}"#, Line::No),
            (r#"{"id":null,"method":"mining.notify","params":["1",[],true]}"#, Line::CleanJob),
            (r#"{"method": "mining.notify", "params": ["1", [], false]}"#, Line::Job),
            (r#"{"params":["1",true],"id":null,"method":"mining.notify"}"#, Line::CleanJob),
            (r#"{"id":null,"method":"mining.set_difficulty","params":[1]}"#, Line::Other),
            ("", Line::Other),
        ] {
            assert_eq!(classify(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn a_branch_is_seen_in_either_spelling() {
        for (branch, expected) in [("[]", false), ("[\"00\"]", true)] {
            let dense = format!(r#"{{"params":["1","p","c","c",{branch},"v","b","t",true]}}"#);
            let wide = dense.replace(',', ", ");
            let found = [&dense, &wide].map(|line| has_branch(line.as_bytes()));
            assert_eq!(found, [expected; 2], "{dense}");
        }
    }
}
