//! E-mail addresses: their syntax, and the forms by which they are compared.

use super::{MAX_EMAIL, plain};
use crate::error::{Error, Result};
use email_address::{EmailAddress, Options};
use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization;

const FIELD: &str = "email";

/// An address in its two forms. In both the domain is in the form that the DNS has (IDNA, UTS 46), in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Email {
    /// With the local part in lower case: what is indexed, and what must be unique.
    pub(crate) found: String,
    /// With the local part as it was given, in NFC (RFC 6532, section 3.1).
    pub(crate) exact: String,
}

/// Checks an address (RFC 5321, section 4.1.2; RFC 6531, section 3.3) and brings it into its forms.
///
/// Of the syntax, quoted local parts, address literals and encoded words are refused: mailboxes should not need the first
/// (RFC 5321 says so itself), no account lives at the second, and programs that read the third as something else have
/// been tricked with it into sending a message elsewhere.
pub(crate) fn email(address: &str) -> Result<Email> {
    plain(FIELD, address, MAX_EMAIL)?;
    let no_address = || Error::invalid(FIELD, "is not an e-mail address, such as ada@example.org");
    if address.chars().any(char::is_whitespace) {
        return Err(no_address());
    }
    let options = Options::default().without_display_text().without_domain_literal();
    EmailAddress::parse_with_options(address, options).map_err(|_| no_address())?;
    let (local, domain) = address.rsplit_once('@').ok_or_else(no_address)?;
    if local.starts_with('"') {
        return Err(Error::invalid(FIELD, "has a quoted part before the @; use an address without quotes"));
    }
    if local.contains("=?") {
        return Err(Error::invalid(FIELD, "has an encoded word before the @; write its characters plainly"));
    }
    let domain = Uts46::new()
        .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
        .map_err(|_| Error::invalid(FIELD, "has no domain name behind the @"))?;
    let exact: String = local.nfc().collect();
    // Character by character, and both sigmas as one letter: the case of a letter must not depend on those beside it.
    let lower: String =
        exact.chars().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c }).nfc().collect();
    let email = Email { found: format!("{lower}@{domain}"), exact: format!("{exact}@{domain}") };
    let longest = email.found.len().max(email.exact.len());
    if longest > MAX_EMAIL {
        return Err(Error::invalid(FIELD, format!("has {longest} bytes; at most {MAX_EMAIL} are taken")));
    }
    Ok(email)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(address: &str) -> String {
        email(address).unwrap().found
    }

    #[test]
    fn addresses_have_one_form_whatever_their_case_and_spelling() {
        for (address, due) in [
            ("Ada@Example.ORG", "ada@example.org"),
            ("ada+tag@x", "ada+tag@x"),
            ("o'hara!#$%&*/?=^_`{|}~-@x.org", "o'hara!#$%&*/?=^_`{|}~-@x.org"),
            ("Ada@MÜNCHEN.de", "ada@xn--mnchen-3ya.de"),
            ("ada@mu\u{308}nchen.DE", "ada@xn--mnchen-3ya.de"),
            ("ada@xn--MNCHEN-3ya.de", "ada@xn--mnchen-3ya.de"),
            ("ada@example。org", "ada@example.org"),
            ("ada@ｅxample.org", "ada@example.org"),
            ("ΟΔΥΣΣΕΥΣ@x.org", "οδυσσευσ@x.org"),
            ("οδυσσευς@x.org", "οδυσσευσ@x.org"),
            ("用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v"),
            ("e\u{301}@x.org", "é@x.org"),
        ] {
            assert_eq!(found(address), due, "{address:?}");
        }
        assert_eq!(email("Ada@Example.ORG").unwrap().exact, "Ada@example.org");
        assert_ne!(found("ada@straße.de"), found("ada@strasse.de"), "two domains since IDNA 2008");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = [
            format!("{}@x.org", "a".repeat(65)),
            format!("a@{}.org", "b".repeat(64)),
            format!("{}@x.org", "a".repeat(250)),
            format!("a@{}org", "b.".repeat(126)),
        ];
        for bad in [
            "",
            "ada",
            "@x",
            "ada@",
            "a b@x.org",
            "ada@.org",
            "ada@x.",
            "ada@x..org",
            ".ada@x.org",
            "ada.@x.org",
            "a..b@x.org",
            "a@b@x.org",
            "ada@-x.org",
            "ada@x-.org",
            "ada@x_y.org",
            "ada@x,org",
            "ada@x.org\n",
            "ada@x.org\0",
            "<ada@x.org>",
            "Ada <ada@x.org>",
            "(ada)ada@x.org",
            "ada@[127.0.0.1]",
            "ada@[IPv6:::1]",
            "\"ada\"@x.org",
            "\"a@b\"@x.org",
            "=?utf-8?q?ada?=@x.org",
            "ada@xn--0.org",
            "ada@xn--a\u{308}.org",
            "a\u{A0}b@x.org",
            "a\u{200B}@x.org",
            "\u{202E}a@x.org",
            "a@x\u{AD}y.org",
        ]
        .into_iter()
        .chain(long.iter().map(String::as_str))
        {
            assert_eq!(email(bad).unwrap_err().field(), Some(FIELD), "{bad:?}");
        }
        assert!(email(&"x".repeat(1 << 20)).unwrap_err().to_string().len() < 100);
        email(&format!("{}@x.org", "a".repeat(64))).unwrap();
    }

    proptest! {
        #[test]
        fn the_forms_of_an_address_are_their_own(local in "\\PC{1,20}", domain in "[a-zA-Zäß日ς.-]{1,20}") {
            if let Ok(once) = email(&format!("{local}@{domain}")) {
                let twice = email(&once.found).unwrap();
                prop_assert_eq!(&twice.found, &once.found);
                prop_assert_eq!(email(&once.exact).unwrap(), once);
            }
        }

        #[test]
        fn no_text_is_taken_that_is_not_plain(text in any::<String>()) {
            if let Ok(once) = email(&text) {
                prop_assert!(once.found.len() <= MAX_EMAIL && once.found.contains('@'));
            }
        }
    }
}
