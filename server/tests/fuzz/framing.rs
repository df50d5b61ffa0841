//! Lines out of bytes, however the bytes were cut: the same as a plain reading of the whole.

use server::stratum::framing::{Framing, LineTooLong};

/// The first byte is the longest line allowed, the second how many bytes come at a time; the rest
/// is what comes.
pub(crate) fn run(input: &[u8]) {
    let [line_bytes_max, step, stream @ ..] = input else { return };
    let line_bytes_max = usize::from(*line_bytes_max);
    let mut framing = Framing::new(line_bytes_max);
    let mut found = Vec::new();
    let mut is_over = false;
    for bytes in stream.chunks(usize::from(*step).max(1)) {
        let mut lines = framing.push(bytes);
        loop {
            match lines.next_line() {
                Ok(None) => break,
                Ok(Some(line)) => found.push(line.to_vec()),
                Err(LineTooLong) => {
                    is_over = true;
                    break;
                }
            }
        }
        if is_over {
            break;
        }
        framing.keep(lines);
    }
    let (expected, should_be_over) = read_whole(stream, line_bytes_max);
    assert_eq!(found, expected);
    assert_eq!(is_over, should_be_over, "what is too long is too long however it comes");
}

/// All lines up to the first that is too long, and whether there is one.
fn read_whole(stream: &[u8], line_bytes_max: usize) -> (Vec<Vec<u8>>, bool) {
    let mut lines = Vec::new();
    for piece in stream.split_inclusive(|byte| *byte == b'\n') {
        let line = piece.strip_suffix(b"\n");
        if line.unwrap_or(piece).len() > line_bytes_max {
            return (lines, true);
        }
        if let Some(text) = line.map(<[u8]>::trim_ascii).filter(|text| !text.is_empty()) {
            lines.push(text.to_vec());
        }
    }
    (lines, false)
}
