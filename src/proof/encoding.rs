//! The pieces of the text formats: base64, decimals, names and lines, each with one way to write it.

use crate::error::{Error, ProofFault, Result};
use base64_simd::STANDARD;

/// The most bytes of a note, or of what has one in it, that are read: 16 signatures of a post-quantum algorithm, and
/// some, take a tenth of it.
pub(super) const LONGEST: usize = 1_000_000;

pub(super) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode_to_string(bytes)
}

/// The bytes of a text in base64 with padding (RFC 4648, section 4), if it is how [`to_base64`] writes them: bits that
/// mean nothing could otherwise be changed unseen.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode_to_vec(text).ok()?;
    (to_base64(&bytes) == text).then_some(bytes)
}

/// A number in ASCII digits without zeros before it.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = digits && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

/// Whether a text may be the name of a key in a note.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c == '+' || c.is_whitespace() || is_control(c))
}

/// Whether a text may be a line of a note, and not an empty one.
pub(super) fn is_line(text: &str) -> bool {
    !text.is_empty() && !text.contains(is_control)
}

/// A control character as notes forbid them: below U+0020.
fn is_control(c: char) -> bool {
    c < ' '
}

/// The text of some bytes, which must be UTF-8, not too long, whole lines, and without control characters but for the
/// ends of lines.
pub(super) fn text<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a str> {
    if bytes.len() > LONGEST {
        return Err(Error::proof(what, ProofFault::TooLong { limit: LONGEST }));
    }
    let line_at = |place: usize| 1 + bytes.iter().take(place).filter(|byte| **byte == b'\n').count();
    let text = std::str::from_utf8(bytes).map_err(|error| malformed(what, line_at(error.valid_up_to())))?;
    if let Some(place) = text.find(|c| c != '\n' && is_control(c)) {
        return Err(malformed(what, line_at(place)));
    }
    if !text.ends_with('\n') {
        return Err(malformed(what, line_at(text.len())));
    }
    Ok(text)
}

/// The lines of a text whose last line is ended too, with their numbers.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.strip_suffix('\n').unwrap_or(text).split('\n'))
}

pub(super) fn malformed(what: &'static str, line: usize) -> Error {
    Error::proof(what, ProofFault::Malformed { line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_way_to_write_it() {
        for text in ["AA==", "AAA=", "AAAA", "", "/+8="] {
            assert_eq!(from_base64(text).map(|bytes| to_base64(&bytes)).as_deref(), Some(text));
        }
        for text in ["AA", "AB==", "AAB=", "AA=", "A", "AA==AA==", " AAAA", "AAAA\n", "_-8=", "AA==="] {
            assert_eq!(from_base64(text), None, "{text}");
        }
        for (text, number) in
            [("0", Some(0)), ("10", Some(10)), ("18446744073709551615", Some(u64::MAX)), ("", None)]
        {
            assert_eq!(decimal(text), number);
        }
        for text in ["00", "01", "+1", "-1", " 1", "1 ", "18446744073709551616", "١"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn a_text_is_whole_lines() {
        let fault = |bytes: &[u8]| text("note", bytes).unwrap_err().proof_fault();
        assert_eq!(text("note", "a\n\u{7f}é\n".as_bytes()).unwrap(), "a\n\u{7f}é\n");
        assert_eq!(fault(b""), Some(ProofFault::Malformed { line: 1 }));
        assert_eq!(fault(b"a\nb"), Some(ProofFault::Malformed { line: 2 }));
        assert_eq!(fault(b"a\nb\r\n"), Some(ProofFault::Malformed { line: 2 }));
        assert_eq!(fault(b"a\n\n\xff\n"), Some(ProofFault::Malformed { line: 3 }));
        assert_eq!(fault(&vec![b'\n'; LONGEST + 1]), Some(ProofFault::TooLong { limit: LONGEST }));
        assert_eq!(lines("a\n\nb\n").collect::<Vec<_>>(), [(1, "a"), (2, ""), (3, "b")]);
    }
}
