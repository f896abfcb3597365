//! A file line by line in bounded memory.

use super::MAX_LINE;
use crate::error::{Error, ErrorKind, Result};
use std::io::{BufRead, ErrorKind as IoKind, Read};
use zeroize::Zeroizing;

/// The lines of a source, counted from 1. The buffer holds passwords, so it is allocated once and wiped at the end.
pub(super) struct Lines<R> {
    source: R,
    number: u64,
    line: Zeroizing<Vec<u8>>,
}

/// A line without what ends it.
pub(super) enum Line<'l> {
    Text(&'l [u8]),
    TooLong,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn of(source: R) -> Self {
        // Never grown, so that no copy stays behind: a line, its end, and the mark of UTF-8 before the first one.
        Self { source, number: 0, line: Zeroizing::new(Vec::with_capacity(MAX_LINE + 8)) }
    }

    /// The next line and its number; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Line<'_>)>> {
        self.line.clear();
        let most = u64::try_from(MAX_LINE + 5).unwrap_or(u64::MAX);
        let read =
            self.source.by_ref().take(most).read_until(b'\n', &mut self.line).map_err(|e| failed(&e))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let ended = self.line.ends_with(b"\n");
        if !ended && read as u64 == most {
            self.skip()?;
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = if self.number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        let line = if line.len() > MAX_LINE { Line::TooLong } else { Line::Text(line) };
        Ok(Some((self.number, line)))
    }

    /// Passes over the rest of a line.
    fn skip(&mut self) -> Result<()> {
        loop {
            let (passed, ended) = match self.source.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(buffer) => match buffer.iter().position(|byte| *byte == b'\n') {
                    Some(end) => (end + 1, true),
                    None => (buffer.len(), false),
                },
                Err(error) if error.kind() == IoKind::Interrupted => continue,
                Err(error) => return Err(failed(&error)),
            };
            self.source.consume(passed);
            if ended {
                return Ok(());
            }
        }
    }
}

fn failed(error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Storage, "the lines to import could not be read").caused_by(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of the lines, none for one that is too long.
    fn lengths(text: &[u8], buffer: usize) -> Vec<Option<usize>> {
        let mut lines = Lines::of(std::io::BufReader::with_capacity(buffer, text));
        let mut found = Vec::new();
        while let Some((number, line)) = lines.next().unwrap() {
            found.push(match line {
                Line::Text(text) => Some(text.len()),
                Line::TooLong => None,
            });
            assert_eq!(number, found.len() as u64);
        }
        found
    }

    #[test]
    fn lines_end_as_they_do_everywhere() {
        for buffer in [1, 2, 7, 8192] {
            assert_eq!(lengths(b"", buffer), []);
            assert_eq!(lengths(b"a\n\nbb\r\nccc", buffer), [Some(1), Some(0), Some(2), Some(3)]);
            assert_eq!(lengths(b"\xef\xbb\xbf{}\n{}\n", buffer), [Some(2), Some(2)]);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_whole() {
        for (over, expected) in
            [(0, Some(MAX_LINE)), (1, None), (4, None), (5, None), (6, None), (MAX_LINE * 3, None)]
        {
            let long = vec![b'x'; MAX_LINE + over];
            for end in [b"\n".as_slice(), b"\r\n"] {
                let text = [b"a\n".as_slice(), &long, end, b"b"].concat();
                assert_eq!(lengths(&text, 4096), [Some(1), expected, Some(1)], "{over}");
            }
            assert_eq!(lengths(&long, 4096), [expected]);
        }
    }

    #[test]
    fn the_buffer_is_never_moved() {
        let text =
            [vec![b'x'; MAX_LINE + 100], b"\n".to_vec(), vec![b'y'; MAX_LINE], b"\r\n".to_vec()].concat();
        let mut lines = Lines::of(text.as_slice());
        let before = (lines.line.as_ptr(), lines.line.capacity());
        while lines.next().unwrap().is_some() {}
        assert_eq!((lines.line.as_ptr(), lines.line.capacity()), before);
    }
}
