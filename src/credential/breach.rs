//! Passwords that were made public by breaches elsewhere (OWASP ASVS 5.0, 6.2.12): who knows them, and a local copy of
//! the published corpus.

use crate::error::{Error, ErrorKind, Result};
use sha1::{Digest, Sha1};
use std::cmp::Ordering;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Why a check could not be made.
pub type BreachError = Box<dyn std::error::Error + Send + Sync>;

/// Knows which passwords were made public; hand one in with
/// [`Builder::breach_check`](crate::Builder::breach_check).
///
/// It is asked exactly once for each password that is to be set, after everything that is cheaper to find out and before
/// the password is hashed. It may wait for a disk or a network; bound that yourself. No lock is held meanwhile.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{BreachCheck, BreachError, BreachQuery, NewUser, PasswordProblem, Portcullis};
///
/// #[derive(Debug)]
/// struct Known;
/// impl BreachCheck for Known {
///     fn times_seen(&self, password: &BreachQuery<'_>) -> Result<u64, BreachError> {
///         Ok(u64::from(password.password() == "hunter2 hunter2 hunter2"))
///     }
/// }
/// let gate = Portcullis::builder().breach_check(Known).in_memory()?;
/// let error = gate.users().create(NewUser::new("ada").password("hunter2 hunter2 hunter2")).unwrap_err();
/// assert_eq!(error.password_problem(), Some(PasswordProblem::Breached));
/// # Ok(())
/// # }
/// ```
pub trait BreachCheck: Send + Sync + fmt::Debug {
    /// How often the password was seen in breaches; 0 for never.
    ///
    /// # Errors
    /// Anything that kept it from finding out. The password is then refused, unless
    /// [`danger_accept_unchecked_passwords`](crate::Builder::danger_accept_unchecked_passwords) is set.
    fn times_seen(&self, password: &BreachQuery<'_>) -> Result<u64, BreachError>;
}

/// A password that a [`BreachCheck`] is asked about. `Debug` shows nothing of it.
pub struct BreachQuery<'p> {
    password: &'p str,
}

impl<'p> BreachQuery<'p> {
    pub(crate) fn of(password: &'p str) -> Self {
        Self { password }
    }

    /// The password in Unicode's form NFC, as it will be hashed. Do not send it anywhere.
    #[must_use]
    pub fn password(&self) -> &str {
        self.password
    }

    /// Its SHA-1 digest in upper-case hexadecimal, 40 characters: how the published corpus names it. Services that answer
    /// for the first five characters need no more than those.
    #[must_use]
    pub fn sha1(&self) -> String {
        let digest = Sha1::digest(self.password.as_bytes());
        let digit =
            |nibble: u8| char::from_digit(u32::from(nibble), 16).map_or('0', |c| c.to_ascii_uppercase());
        digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}

impl fmt::Debug for BreachQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BreachQuery(<secret>)")
    }
}

/// A local copy of the published corpus of breached passwords: nothing leaves the machine, and it needs no network.
///
/// It is either one file with a line `SHA1:COUNT` for each password, sorted, or a folder with a file for each of the first
/// five characters, whose lines have the other 35. Lines end with LF or CRLF, digests are in upper case. A check of one
/// file takes some 35 reads of 128 bytes for the whole corpus of a billion lines; one of a folder reads a file of some 40
/// KiB. The memory of a check does not depend on the size of either. The file is opened anew for each check, so that a
/// newer copy can be renamed into its place at any time.
#[derive(Clone, Debug)]
pub struct BreachFile {
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Sorted(PathBuf),
    Ranges(PathBuf),
}

/// Characters of a digest, and of what names a range.
const DIGEST: usize = 40;
const PREFIX: usize = 5;
/// Longest line: a digest, a colon, a count of 20 digits, CR and LF.
const LINE: usize = DIGEST + 1 + 20 + 2;
/// Largest file of a range; those of the corpus have some 40 KiB.
const LARGEST_RANGE: u64 = 16 << 20;

impl BreachFile {
    /// One file that is sorted by digest.
    ///
    /// # Errors
    /// `InvalidInput` where it is no file, is empty, or does not begin with such a line; `Storage` where it can not be
    /// read.
    pub fn sorted(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let metadata = std::fs::metadata(&path).map_err(|error| unreadable(&path, error))?;
        if !metadata.is_file() {
            return Err(Error::invalid("breach_file", format!("{} is no file", path.display())));
        }
        let file = File::open(&path).map_err(|error| unreadable(&path, error))?;
        Window::read(&file, 0, metadata.len())
            .and_then(|window| window.line(0, DIGEST).map(drop))
            .map_err(|error| Error::invalid("breach_file", format!("{}: {error}", path.display())))?;
        Ok(Self { place: Place::Sorted(path) })
    }

    /// A folder of files named `00000` to `FFFFF`, or `00000.txt` to `FFFFF.txt`.
    ///
    /// # Errors
    /// `InvalidInput` where it is no folder or has neither `00000` nor `00000.txt`; `Storage` where it can not be read.
    pub fn ranges(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        let metadata = std::fs::metadata(&folder).map_err(|error| unreadable(&folder, error))?;
        if !metadata.is_dir() {
            return Err(Error::invalid("breach_file", format!("{} is no folder", folder.display())));
        }
        if range_file(&folder, "00000").is_none() {
            return Err(Error::invalid(
                "breach_file",
                format!("{} has no file 00000 or 00000.txt", folder.display()),
            ));
        }
        Ok(Self { place: Place::Ranges(folder) })
    }
}

impl BreachCheck for BreachFile {
    fn times_seen(&self, password: &BreachQuery<'_>) -> Result<u64, BreachError> {
        let digest = password.sha1();
        match &self.place {
            Place::Sorted(path) => {
                search(path, digest.as_bytes()).map_err(|error| format!("{}: {error}", path.display()).into())
            }
            Place::Ranges(folder) => {
                let Some((prefix, suffix)) = digest.split_at_checked(PREFIX) else { return Ok(0) };
                let Some(path) = range_file(folder, prefix) else {
                    return Err(format!("{} has no file {prefix} or {prefix}.txt", folder.display()).into());
                };
                look_through(&path, suffix.as_bytes())
                    .map_err(|error| format!("{}: {error}", path.display()).into())
            }
        }
    }
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("{} can not be read", path.display()))
        .with_field("breach_file")
        .caused_by(error)
}

fn range_file(folder: &Path, prefix: &str) -> Option<PathBuf> {
    [folder.join(prefix), folder.join(format!("{prefix}.txt"))].into_iter().find(|path| path.is_file())
}

/// Some bytes of a file.
struct Window {
    /// Where in the file they begin.
    from: u64,
    bytes: Vec<u8>,
    reaches_end: bool,
}

/// A line of the corpus.
#[derive(Debug, PartialEq, Eq)]
struct Line<'w> {
    digest: &'w [u8],
    count: u64,
}

impl Window {
    /// The bytes around a place: whatever line is there begins and ends in them.
    fn read(mut file: &File, around: u64, length: u64) -> Result<Self, BreachError> {
        let from = around.saturating_sub(LINE as u64);
        let mut bytes = Vec::with_capacity(2 * LINE);
        file.seek(SeekFrom::Start(from))?;
        file.take(2 * LINE as u64).read_to_end(&mut bytes)?;
        let reaches_end = from + bytes.len() as u64 >= length;
        Ok(Self { from, bytes, reaches_end })
    }

    /// Where the line that has this place begins, and where the next one does.
    fn bounds(&self, place: u64) -> Result<(u64, u64), BreachError> {
        let at = usize::try_from(place.saturating_sub(self.from))?;
        let is_end = |byte: &u8| *byte == b'\n';
        let before = self.bytes.get(..at).unwrap_or_default().iter().rposition(is_end).map(|end| end + 1);
        let start = match before {
            Some(start) => start,
            None if self.from == 0 => 0,
            None => return Err(format!("the line at byte {place} is longer than {LINE} bytes").into()),
        };
        let end = match self.bytes.get(at..).unwrap_or_default().iter().position(is_end) {
            Some(end) => at + end + 1,
            None if self.reaches_end => self.bytes.len(),
            None => return Err(format!("the line at byte {place} is longer than {LINE} bytes").into()),
        };
        Ok((self.from + start as u64, self.from + end as u64))
    }

    /// The line that begins at a place.
    fn line(&self, start: u64, digits: usize) -> Result<Line<'_>, BreachError> {
        let (_, end) = self.bounds(start)?;
        let (first, last) = (usize::try_from(start - self.from)?, usize::try_from(end - self.from)?);
        parse(self.bytes.get(first..last).unwrap_or_default(), digits)
            .map_err(|error| format!("the line at byte {start}: {error}").into())
    }
}

/// A line with its end.
fn parse(line: &[u8], digits: usize) -> Result<Line<'_>, BreachError> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some((digest, rest)) = line.split_at_checked(digits) else {
        return Err(format!("has {} bytes, too few for {digits} digits and a count", line.len()).into());
    };
    if !digest.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F')) {
        return Err(format!("does not begin with {digits} upper-case hexadecimal digits").into());
    }
    let count = match rest.split_first() {
        Some((b':', count)) if count.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(count)?.parse().ok()
        }
        _ => None,
    };
    match count {
        Some(count) => Ok(Line { digest, count }),
        None => Err("has no colon and count after the digest".into()),
    }
}

/// Binary search in a sorted file. Lines that begin before `low` are smaller than the digest, and those that begin at
/// `high` or after it are greater.
fn search(path: &Path, digest: &[u8]) -> Result<u64, BreachError> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let (mut low, mut high) = (0, length);
    let (mut below, mut above): (Option<Vec<u8>>, Option<Vec<u8>>) = (None, None);
    while low < high {
        let middle = low + (high - low) / 2;
        let window = Window::read(&file, middle, length)?;
        let (start, end) = window.bounds(middle)?;
        let line = window.line(start, DIGEST)?;
        if below.as_deref().is_some_and(|below| line.digest <= below)
            || above.as_deref().is_some_and(|above| line.digest >= above)
        {
            return Err(format!("the line at byte {start} is not in order; sort the file by digest").into());
        }
        match line.digest.cmp(digest) {
            Ordering::Equal => return Ok(line.count),
            Ordering::Less => (low, below) = (end, Some(line.digest.to_vec())),
            Ordering::Greater => (high, above) = (start, Some(line.digest.to_vec())),
        }
    }
    if length == 0 {
        return Err("is empty".into());
    }
    Ok(0)
}

/// One line after the other.
fn look_through(path: &Path, suffix: &[u8]) -> Result<u64, BreachError> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length > LARGEST_RANGE {
        return Err(format!("has {length} bytes; a file of one range has {LARGEST_RANGE} at most").into());
    }
    let mut reader = BufReader::new(file);
    let (mut line, mut number) = (Vec::with_capacity(LINE), 0_u64);
    loop {
        line.clear();
        number += 1;
        let read = reader.by_ref().take(LINE as u64).read_until(b'\n', &mut line)?;
        if read == 0 {
            return if number == 1 { Err("is empty".into()) } else { Ok(0) };
        }
        let found = parse(&line, DIGEST - PREFIX).map_err(|error| format!("line {number}: {error}"))?;
        if found.digest == suffix {
            return Ok(found.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(file: &BreachFile, password: &str) -> Result<u64, String> {
        file.times_seen(&BreachQuery::of(password)).map_err(|error| error.to_string())
    }

    fn corpus(count: usize, end: &str) -> String {
        let mut lines: Vec<String> =
            (0..count).map(|n| format!("{}:{}", BreachQuery::of(&n.to_string()).sha1(), n + 1)).collect();
        lines.sort();
        lines.iter().flat_map(|line| [line.as_str(), end]).collect()
    }

    #[test]
    fn a_sorted_file_knows_exactly_what_is_in_it() {
        // NIST's example of FIPS 180: the digest of "abc".
        assert_eq!(BreachQuery::of("abc").sha1(), "A9993E364706816ABA3E25717850C26C9CD0D89D");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corpus.txt");
        for count in [1, 2, 3, 100, 1000] {
            for end in ["\n", "\r\n"] {
                for last_line_ends in [true, false] {
                    let mut text = corpus(count, end);
                    if !last_line_ends {
                        text.truncate(text.len() - end.len());
                    }
                    std::fs::write(&path, text).unwrap();
                    let file = BreachFile::sorted(&path).unwrap();
                    for n in 0..count {
                        assert_eq!(seen(&file, &n.to_string()).unwrap(), n as u64 + 1);
                    }
                    for n in count..count + 100 {
                        assert_eq!(seen(&file, &n.to_string()).unwrap(), 0);
                    }
                }
            }
        }
    }

    #[test]
    fn a_folder_knows_exactly_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        assert_eq!(BreachFile::ranges(folder.path()).unwrap_err().field(), Some("breach_file"));
        put("00000", "0005AD76BD555C1D6D771DE417A4B87E4B4:10\r\n");
        let file = BreachFile::ranges(folder.path()).unwrap();
        let digest = BreachQuery::of("abc").sha1();
        let (prefix, suffix) = digest.split_at(PREFIX);
        assert!(seen(&file, "abc").unwrap_err().contains("A9993"), "a range that is missing is no answer");
        for name in [prefix.to_owned(), format!("{prefix}.txt")] {
            put(&name, &format!("{}:1\r\n{suffix}:7\r\n", "0".repeat(35)));
            assert_eq!(seen(&file, "abc").unwrap(), 7);
            put(&name, &format!("{}:1\n{suffix}:0", "0".repeat(35)));
            assert_eq!(seen(&file, "abc").unwrap(), 0, "padding counts nothing");
            for (bad, told) in [
                ("", "is empty"),
                ("x:1\n", "line 1"),
                (&format!("{}:1\n{}\n", "0".repeat(35), "0".repeat(35)), "line 2"),
                (&"0".repeat(1000), "line 1"),
            ] {
                put(&name, bad);
                let error = seen(&file, "abc").unwrap_err();
                assert!(error.contains(told) && error.contains(prefix), "{error}");
            }
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
    }

    #[test]
    fn a_malformed_file_says_where() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corpus.txt");
        assert_eq!(BreachFile::sorted(&path).unwrap_err().kind(), ErrorKind::Storage);
        assert_eq!(BreachFile::sorted(folder.path()).unwrap_err().kind(), ErrorKind::InvalidInput);
        let good = corpus(100, "\n");
        let lower = good.to_lowercase();
        let bare: String = good.lines().map(|line| format!("{}\n", line.split_at(40).0)).collect();
        let signed = good.replace(':', ":+");
        let long = "A".repeat(10_000);
        for text in ["", "\n", "hello\n", "\u{feff}", &lower, &bare, &signed, &long] {
            std::fs::write(&path, text).unwrap();
            let error = BreachFile::sorted(&path).unwrap_err();
            assert_eq!(
                (error.kind(), error.field()),
                (ErrorKind::InvalidInput, Some("breach_file")),
                "{error}"
            );
        }
        // What is wrong further in is found when it is met, and never a "no".
        let mut reversed: Vec<&str> = good.lines().collect();
        reversed.reverse();
        let (first, second) = good.split_at(good.len() / 2);
        let gap = format!("{first}\n\n{second}");
        for text in [reversed.join("\n"), gap, format!("{}\n{long}", good.lines().next().unwrap())] {
            std::fs::write(&path, &text).unwrap();
            let file = BreachFile::sorted(&path).unwrap();
            let told: Vec<String> = (0..100).filter_map(|n| seen(&file, &n.to_string()).err()).collect();
            assert!(
                !told.is_empty()
                    && told.iter().all(|error| error.contains("byte") && error.contains("corpus.txt"))
            );
        }
    }
}
