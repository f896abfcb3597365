//! Signed notes: a text, and who vouches for it.

use super::encoding::{self, LONGEST, malformed};
use super::key::{SigningKey, VerifierKey};
use crate::error::{Error, ProofFault, Result};
use std::fmt;

const WHAT: &str = "note";
/// What a line with a signature begins with: an em dash and a space.
const MARK: &str = "\u{2014} ";
/// The specification asks for 16 at least; each one of a known key costs a verification.
const MOST_SIGNATURES: usize = 100;

/// A text with signatures in the [C2SP signed-note](https://c2sp.org/signed-note) format.
///
/// The text of a note that was read is nobody's word before [`verify`](Self::verify), so that it is not to be had
/// otherwise.
///
/// ```
/// use portcullis::ProofFault;
/// use portcullis::proof::{Note, SigningKey};
///
/// let key = SigningKey::from_seed("example.com/audit", &[7; 32])?;
/// let written = Note::sign("Nothing happened today.\n", &key)?.to_string();
///
/// assert_eq!(Note::parse(&written)?.verify(&[key.verifier()])?, "Nothing happened today.\n");
/// let forged = Note::parse(written.replace("Nothing", "Something"))?;
/// let refused = forged.verify(&[key.verifier()]).unwrap_err();
/// assert_eq!(refused.proof_fault(), Some(ProofFault::WrongSignature));
/// # Ok::<(), portcullis::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature of a note.
#[derive(Clone, PartialEq, Eq)]
struct NoteSignature {
    name: String,
    id: u32,
    bytes: Vec<u8>,
}

impl Note {
    /// Signs a text, which is whole lines: it ends with a newline and has no other control characters.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with [`ProofFault::Malformed`] or [`ProofFault::TooLong`]
    /// where the text can not be that of a note.
    pub fn sign(text: impl Into<String>, key: &SigningKey) -> Result<Self> {
        let text = text.into();
        encoding::text(WHAT, text.as_bytes())?;
        let mut note = Self { text, signatures: Vec::new() };
        note.add_signature(key)?;
        Ok(note)
    }

    /// Signs it with one more key.
    ///
    /// # Errors
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) where a note would have more than 100 signatures or
    /// be too long to be read again.
    pub fn add_signature(&mut self, key: &SigningKey) -> Result<()> {
        let signature =
            NoteSignature { name: key.name().to_owned(), id: key.id(), bytes: key.sign(&self.text) };
        self.signatures.push(signature);
        if self.signatures.len() > MOST_SIGNATURES || self.to_string().len() > LONGEST {
            self.signatures.pop();
            return Err(Error::limit(
                WHAT,
                format!("a note has at most {MOST_SIGNATURES} signatures and {LONGEST} bytes"),
            ));
        }
        Ok(())
    }

    /// Reads a note, and does not verify it yet.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with [`ProofFault::Malformed`], which says in which line, or
    /// [`ProofFault::TooLong`].
    pub fn parse(bytes: impl AsRef<[u8]>) -> Result<Self> {
        let whole = encoding::text(WHAT, bytes.as_ref())?;
        let ends = whole.bytes().filter(|byte| *byte == b'\n').count();
        // The last empty line; one before it, and the end of the text is part of the text.
        let Some(split) = whole.rfind("\n\n") else { return Err(malformed(WHAT, ends)) };
        let (text, rest) =
            (whole.get(..=split).unwrap_or_default(), whole.get(split + 2..).unwrap_or_default());
        let before = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let mut signatures = Vec::new();
        for (number, line) in encoding::lines(rest) {
            let read = NoteSignature::parse(line).filter(|_| signatures.len() < MOST_SIGNATURES);
            signatures.push(read.ok_or_else(|| malformed(WHAT, before + number))?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The text, if a key of these signed it. Signatures of other keys are passed over, as the specification asks; one
    /// that claims to be of these and is not good refuses the note, even where another one is good.
    ///
    /// # Errors
    /// [`ErrorKind::Unproved`](crate::ErrorKind::Unproved) with [`ProofFault::WrongSignature`] or
    /// [`ProofFault::UnknownSigner`].
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<&str> {
        let mut good = false;
        for signature in &self.signatures {
            for key in keys.iter().filter(|key| signature.is_of(key)) {
                key.verify(&self.text, &signature.bytes)?;
                good = true;
            }
        }
        if good { Ok(&self.text) } else { Err(Error::proof(WHAT, ProofFault::UnknownSigner)) }
    }

    /// The names that the signatures claim, in their order. Nothing vouches for them.
    pub fn claimed_names(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|signature| signature.name.as_str())
    }
}

impl NoteSignature {
    fn parse(line: &str) -> Option<Self> {
        let (name, signature) = line.strip_prefix(MARK)?.split_once(' ')?;
        let decoded = encoding::from_base64(signature)?;
        let (id, bytes) = decoded.split_first_chunk()?;
        let shaped = encoding::is_name(name) && !bytes.is_empty();
        shaped.then(|| Self { name: name.to_owned(), id: u32::from_be_bytes(*id), bytes: bytes.to_owned() })
    }

    fn is_of(&self, key: &VerifierKey) -> bool {
        self.id == key.id() && self.name == key.name()
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signature = [self.id.to_be_bytes().as_slice(), &self.bytes].concat();
        write!(f, "{MARK}{} {}", self.name, encoding::to_base64(&signature))
    }
}

/// The note as it is stored and sent; [`Note::parse`] reads it.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// Without the text, for which nothing vouches.
impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.claimed_names().collect();
        f.debug_struct("Note").field("bytes", &self.text.len()).field("claimed_names", &names).finish()
    }
}
