//! Rules for text that comes from outside: how long, which characters, and the form that must be unique.

mod email;
mod login;

pub(crate) use email::{Email, email};
pub(crate) use login::{canonical_login, looks_of_login};

use crate::error::{Error, Result};
use unicode_normalization::UnicodeNormalization;

/// Longest login name in bytes, in its canonical form.
pub(crate) const MAX_LOGIN: usize = 128;
/// Longest name of a role or permission, in bytes.
pub(crate) const MAX_NAME: usize = 128;
/// Longest description, reason or detail, in bytes.
pub(crate) const MAX_TEXT: usize = 512;
/// Longest e-mail address, in bytes (RFC 5321, section 4.5.3.1.3, without the angle brackets).
pub(crate) const MAX_EMAIL: usize = 254;

/// Free text: any printable characters, perhaps none; no control characters, so that it can not break a log line.
pub(crate) fn plain(field: &'static str, text: &str, max: usize) -> Result<()> {
    if text.len() > max {
        return Err(Error::invalid(field, format!("has {} bytes; at most {max} are taken", text.len())));
    }
    if let Some(bad) = text.chars().find(|c| is_hidden(*c)) {
        return Err(Error::invalid(
            field,
            format!("has the control or invisible character U+{:04X}", bad as u32),
        ));
    }
    Ok(())
}

/// A name of a role, permission, attribute or label: printable, not empty, no white space at its ends, in NFC.
pub(crate) fn name(field: &'static str, text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid(field, "is empty"));
    }
    plain(field, text, MAX_NAME)?;
    if text.trim() != text {
        return Err(Error::invalid(field, "begins or ends with white space"));
    }
    if !text.nfc().eq(text.chars()) {
        return Err(Error::invalid(field, "is not in Unicode normal form C; normalise it first"));
    }
    Ok(())
}

/// Control characters, and those that show nothing (Unicode's Default_Ignorable_Code_Point) or turn the line around.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_refuse_what_breaks_a_line() {
        for bad in ["", " a", "a ", "a\u{7}", "a\nb", "a\u{3164}", "a\u{FE0F}", "e\u{301}", &"x".repeat(129)]
        {
            assert_eq!(name("name", bad).unwrap_err().field(), Some("name"), "{bad:?}");
        }
        assert!(name("name", "report:read").is_ok());
        assert!(plain("detail", "", 4).is_ok() && plain("detail", "\u{2028}", 4).is_err());
    }
}
