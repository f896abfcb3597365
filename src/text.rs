//! Rules for text that comes from outside: how long, which characters, and the form that must be unique.

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

/// The form of a login name that is unique and compared: lower case in NFC.
///
/// Letters and digits of any script and printable ASCII without the space are taken. Characters with a
/// compatibility form (full-width letters, ligatures), combining marks that NFC does not compose, and invisible ones
/// are refused, because they make twins that look alike.
pub(crate) fn canonical_login(login: &str) -> Result<String> {
    const FIELD: &str = "login";
    if login.is_empty() {
        return Err(Error::invalid(FIELD, "is empty"));
    }
    if login.len() > MAX_LOGIN * 4 {
        return Err(Error::invalid(
            FIELD,
            format!("has {} bytes; at most {MAX_LOGIN} are taken", login.len()),
        ));
    }
    // Lower case first and character by character: `str::to_lowercase` treats a final sigma by its context, and a
    // canonical form must not depend on that. Composing last makes the result its own canonical form.
    // A final sigma is the same letter, so it is folded too.
    let fold = |c| if c == 'ς' { 'σ' } else { c };
    let canonical: String = login.nfc().flat_map(char::to_lowercase).map(fold).nfc().collect();
    if let Some(bad) =
        canonical.chars().find(|c| is_hidden(*c) || !(c.is_alphanumeric() || c.is_ascii_graphic()))
    {
        return Err(Error::invalid(
            FIELD,
            format!("has the character U+{:04X}; letters, digits and printable ASCII are taken", bad as u32),
        ));
    }
    if !canonical.nfkc().eq(canonical.chars()) {
        return Err(Error::invalid(
            FIELD,
            "has a compatibility character, such as a full-width letter; use plain ones",
        ));
    }
    if canonical.len() > MAX_LOGIN {
        return Err(Error::invalid(
            FIELD,
            format!("has {} bytes; at most {MAX_LOGIN} are taken", canonical.len()),
        ));
    }
    Ok(canonical)
}

/// The form of an e-mail address by which it is found: lower case throughout.
pub(crate) fn canonical_email(address: &str) -> Result<String> {
    const FIELD: &str = "email";
    plain(FIELD, address, MAX_EMAIL)?;
    let shaped = address.rsplit_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.starts_with('.') && !domain.ends_with('.')
    });
    if !shaped || address.chars().any(char::is_whitespace) {
        return Err(Error::invalid(FIELD, "is not an e-mail address, such as ada@example.org"));
    }
    let canonical = address.nfc().flat_map(char::to_lowercase).nfc().collect::<String>();
    if canonical.len() > MAX_EMAIL {
        return Err(Error::invalid(
            FIELD,
            format!("has {} bytes; at most {MAX_EMAIL} are taken", canonical.len()),
        ));
    }
    Ok(canonical)
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
    use proptest::prelude::*;

    #[test]
    fn logins_have_one_canonical_form() {
        for (login, canonical) in [
            ("Ada", "ada"),
            ("STRASSE", "strasse"),
            ("Σίσυφος", "σίσυφοσ"),
            ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
            ("A\u{30A}", "å"),
        ] {
            assert_eq!(canonical_login(login).unwrap(), canonical);
        }
        for bad in [
            "",
            "a b",
            "a\0",
            "a\n",
            "\u{202E}ada",
            "\u{301}\u{301}",
            "ａda",
            "a\u{200B}",
            "ada\u{1160}",
            "ﬁ",
            &"x".repeat(129),
        ] {
            assert_eq!(canonical_login(bad).unwrap_err().field(), Some("login"), "{bad:?}");
        }
        assert!(canonical_login(&"x".repeat(1 << 20)).is_err());
    }

    #[test]
    fn names_and_texts_refuse_what_breaks_a_line() {
        for bad in ["", " a", "a ", "a\u{7}", "a\nb", "a\u{3164}", "a\u{FE0F}", "e\u{301}", &"x".repeat(129)]
        {
            assert_eq!(name("name", bad).unwrap_err().field(), Some("name"), "{bad:?}");
        }
        assert!(name("name", "report:read").is_ok());
        assert!(plain("detail", "", 4).is_ok() && plain("detail", "\u{2028}", 4).is_err());
    }

    #[test]
    fn emails_are_found_whatever_their_case() {
        assert_eq!(canonical_email("Ada@Example.ORG").unwrap(), "ada@example.org");
        for bad in [
            "",
            "ada",
            "@x",
            "ada@",
            "a b@x.org",
            "ada@.org",
            "ada@x.",
            &format!("{}@x.org", "a".repeat(250)),
        ] {
            assert_eq!(canonical_email(bad).unwrap_err().field(), Some("email"), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn the_canonical_login_is_its_own_canonical_form(login in "\\PC{0,40}") {
            if let Ok(once) = canonical_login(&login) {
                prop_assert_eq!(canonical_login(&once).unwrap(), once);
            }
        }
    }
}
