//! Login names: the form that must be unique, and what a name can be taken for.

use super::{MAX_LOGIN, is_hidden};
use crate::error::{Error, Result};
use precis_core::profile::{Profile, Rules};
use precis_core::{DerivedPropertyValue, Error as Unfit};
use precis_profiles::UsernameCaseMapped;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};
use unicode_security::MixedScript;

const FIELD: &str = "login";
/// How often a form may change before it is given up (RFC 8264, section 7: three times more than once).
const ROUNDS: usize = 4;
/// Combining marks in a row (UTS 39, section 5.4).
const MOST_MARKS: usize = 4;

/// The form of a login name that is unique and compared: the profile UsernameCaseMapped of PRECIS (RFC 8265, section
/// 3.3) with one mapping more, a final sigma to the other one.
///
/// Beyond the profile it refuses what shows nothing, also where a context rule would take it, and combining marks that
/// letters do without: see `check_marks`.
pub(crate) fn canonical_login(login: &str) -> Result<String> {
    if login.is_empty() {
        return Err(Error::invalid(FIELD, "is empty"));
    }
    if login.len() > MAX_LOGIN * 4 {
        return Err(too_long(login.len()));
    }
    // Spellings that are canonically equivalent are one name. The profile alone refuses some of them, such as the
    // Angstrom sign, because it looks at characters before it composes them.
    let mut form: String = login.nfc().collect();
    for _ in 0..ROUNDS {
        let enforced = enforce(&form).map_err(|unfit| explain(&form, &unfit))?;
        // A final sigma is the same letter. The mapping to lower case makes a sigma of every capital one, so that
        // without this ΣΊΣΥΦΟΣ would not find Σίσυφος.
        let folded = enforced.replace('ς', "σ");
        if folded == form {
            return check(form);
        }
        form = folded;
    }
    Err(Error::invalid(FIELD, "does not come to one form; use other characters"))
}

/// One round of the profile (RFC 8265, section 3.3.2): width, characters, case, normal form, direction.
fn enforce(form: &str) -> Result<String, Unfit> {
    let profile = UsernameCaseMapped::new();
    let form = profile.prepare(form)?;
    let form = profile.normalization_rule(profile.case_mapping_rule(form)?)?.into_owned();
    // Nonspacing marks may stand anywhere behind the first character (RFC 5893, section 2). The crate takes them at the
    // end only, which would refuse all of Thaana and every vowel of Arabic and Hebrew; so it judges what they stand on.
    // That no mark stands first is a rule of our own.
    let is_nonspacing = |c| is_combining_mark(c) && profile.directionality_rule(format!("א{c}")).is_ok();
    let bases: String = form.chars().filter(|c| !is_nonspacing(*c)).collect();
    profile.directionality_rule(bases)?;
    Ok(form)
}

fn too_long(bytes: usize) -> Error {
    Error::invalid(FIELD, format!("has {bytes} bytes; at most {MAX_LOGIN} are taken"))
}

fn character(bad: u32) -> Error {
    Error::invalid(
        FIELD,
        format!("has the character U+{bad:04X}; letters, digits and printable ASCII are taken"),
    )
}

fn explain(login: &str, unfit: &Unfit) -> Error {
    match unfit {
        Unfit::BadCodepoint(at) if at.property == DerivedPropertyValue::Unassigned => Error::invalid(
            FIELD,
            format!("has the character U+{:04X}; those are taken that Unicode 6.3 has", at.cp),
        ),
        Unfit::BadCodepoint(at) => character(at.cp),
        // Where a character may stand depends on those beside it, and there are none.
        Unfit::Unexpected(_) => login
            .chars()
            .find(|c| !c.is_alphanumeric() && !c.is_ascii())
            .map_or_else(|| Error::invalid(FIELD, "is no login name"), |bad| character(bad as u32)),
        Unfit::Invalid => Error::invalid(
            FIELD,
            "mixes right-to-left letters with others, or begins or ends with what has no direction",
        ),
    }
}

/// The rules that go further than the profile.
fn check(canonical: String) -> Result<String> {
    if let Some(hidden) = canonical.chars().find(|c| is_hidden(*c)) {
        return Err(character(hidden as u32));
    }
    if !canonical.nfkc().eq(canonical.chars()) {
        return Err(Error::invalid(FIELD, "has a compatibility character; use the plain one"));
    }
    check_marks(&canonical)?;
    if canonical.len() > MAX_LOGIN {
        return Err(too_long(canonical.len()));
    }
    Ok(canonical)
}

/// Combining marks that a script is written with are taken: those that count as letters, such as vowel signs, and
/// viramas, nuktas and tone marks on a letter of their own script. Marks that sit above or below any letter are taken
/// where they compose with it, and no mark stands first, twice in a row, or as the fifth in a row.
fn check_marks(canonical: &str) -> Result<()> {
    let (mut base, mut last, mut row) = (None, None, 0);
    for c in canonical.chars() {
        if !is_combining_mark(c) {
            (base, last, row) = (Some(c), None, 0);
            continue;
        }
        row += 1;
        // 7 and 9 are nuktas and viramas, 107 and 122 the tone marks of Thai and Lao; 0 are those that take a place of
        // their own.
        let written = c.is_alphabetic() || matches!(canonical_combining_class(c), 0 | 7 | 9 | 107 | 122);
        let fits =
            base.is_some_and(|base| c.is_alphabetic() || String::from_iter([base, c]).is_single_script());
        if !written || !fits || last == Some(c) || row > MOST_MARKS {
            return Err(character(c as u32));
        }
        last = Some(c);
    }
    Ok(())
}

/// Stands for what looks like a small L, a capital I and a one.
const UPRIGHT: char = '\u{1}';
/// Stands for what looks like an M, and so like RN.
const ARCHES: char = '\u{2}';

/// What a login name looks like, without the canonical form itself: the skeletons of UTS 39 (section 4), in which
/// characters of ASCII stand for themselves.
///
/// So a name in ASCII looks like nothing but itself, and another one like all that an ASCII name could be taken for. Both
/// the name as it was given and its canonical form are looked at: a Cyrillic В looks like a Latin B, its small letter
/// like nothing Latin.
pub(crate) fn looks_of_login(login: &str, canonical: &str) -> Vec<String> {
    let mut looks = Vec::new();
    for form in [canonical, login] {
        if form.is_ascii() {
            continue;
        }
        let skeleton = skeleton(form);
        let uprights: &[&str] = if skeleton.contains(UPRIGHT) { &["l", "i", "1"] } else { &["l"] };
        let arches: &[&str] = if skeleton.contains(ARCHES) { &["rn", "m"] } else { &["m"] };
        for upright in uprights {
            for arch in arches {
                let look = skeleton.replace(UPRIGHT, upright).replace(ARCHES, arch);
                if look != canonical && !looks.contains(&look) {
                    looks.push(look);
                }
            }
        }
    }
    looks
}

fn skeleton(form: &str) -> String {
    let mut found = String::new();
    for c in form.nfd() {
        if c.is_ascii() {
            found.push(c);
            continue;
        }
        let prototype: String = unicode_security::skeleton(c.encode_utf8(&mut [0; 4])).collect();
        match prototype.as_str() {
            "l" => found.push(UPRIGHT),
            "rn" => found.push(ARCHES),
            other => found.push_str(other),
        }
    }
    // Case is not what tells names apart.
    found.nfd().flat_map(char::to_lowercase).nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(login: &str) {
        assert_eq!(canonical_login(login).unwrap_err().field(), Some(FIELD), "{login:?}");
    }

    #[test]
    fn logins_have_one_canonical_form() {
        for (login, canonical) in [
            ("Ada", "ada"),
            ("STRASSE", "strasse"),
            ("Σίσυφος", "σίσυφοσ"),
            ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
            ("A\u{30A}", "å"),
            ("ａｄａ", "ada"),
            ("ｶﾞ", "ガ"),
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
            "a\u{200B}",
            "ada\u{1160}",
            "ﬁ",
            &"x".repeat(129),
            &"x".repeat(1 << 20),
        ] {
            refused(bad);
        }
    }

    /// RFC 8265, section 3.5, table 1 and 2, and what the section says of them. Of the Greek ones our further mapping
    /// makes one name.
    #[test]
    fn the_examples_of_rfc_8265_come_out_as_it_says() {
        for (login, canonical) in [
            ("juliet@example.com", "juliet@example.com"),
            ("fussball", "fussball"),
            ("fußball", "fußball"),
            ("π", "π"),
            ("Σ", "σ"),
            ("σ", "σ"),
            ("ς", "σ"),
        ] {
            assert_eq!(canonical_login(login).unwrap(), canonical);
        }
        for bad in ["foo bar", "", "henryⅣ", "♚", "∞"] {
            refused(bad);
        }
    }

    /// Facts that other implementations of the profile agree on.
    #[test]
    fn known_answers_of_the_profile() {
        for (login, canonical) in [
            ("I", "i"),
            ("\u{3B0}", "\u{3B0}"),
            ("~", "~"),
            ("!", "!"),
            ("\u{212B}", "å"),
            ("\u{C5}", "å"),
            ("c\u{327}", "ç"),
            ("R\u{30C}", "ř"),
            ("\u{1E61}", "\u{1E61}"),
            ("\u{410}", "\u{430}"),
            ("ＡＢ", "ab"),
            ("al·la", "al·la"),
            ("ש׳", "ש׳"),
            ("aヅc・def", "aヅc・def"),
            ("ا١٢٣", "ا١٢٣"),
        ] {
            assert_eq!(canonical_login(login).unwrap(), canonical, "{login:?}");
        }
        for bad in [
            "\u{3D2}",
            "²",
            "\t",
            "\u{26D6}",
            "\u{26FF}",
            "\u{FB00}",
            "\u{1680}",
            " ",
            "\u{1C5}",
            "\u{16EE}",
            "\u{488}",
            "שc",
            "ש\u{5B8}c",
            "1ש",
            "ש!",
            "ا1١",
            "cש\u{5B8}",
            "l·a",
            "·l",
            "l·",
            "׳ה",
            "abc・def",
            "ا١٢٣٤٥۶",
            "α͵",
        ] {
            refused(bad);
        }
    }

    #[test]
    fn letters_are_taken_with_the_marks_that_their_script_needs_and_no_others() {
        for login in ["नमस्ते", "ก้อง", "क़मर", "مُحَمَّد", "វណ្ណៈ", "ދިވެހި", "Nguyễn", "বাংলা"]
        {
            canonical_login(login).unwrap();
        }
        for bad in [
            "x\u{301}\u{302}",
            "\u{93E}क",
            "a\u{94D}",
            "x\u{E48}",
            "ก\u{E48}\u{E48}",
            "ק\u{591}",
            "e\u{329}",
            "क\u{93E}\u{93F}\u{93E}\u{93F}\u{93E}",
            "a\u{200D}b",
            "क\u{94D}\u{200D}",
            "نامه\u{200C}ای",
        ] {
            refused(bad);
        }
    }

    /// Cherokee has its small letters since Unicode 8; a profile with tables of 6.3 would give a capital name a form that
    /// it refuses itself.
    #[test]
    fn what_has_no_stable_form_is_refused() {
        for bad in ["\u{13A0}", "\u{AB70}", "\u{104B0}", "\u{1E900}"] {
            assert!(canonical_login(bad).unwrap_err().to_string().contains("Unicode 6.3"), "{bad:?}");
        }
    }

    #[test]
    fn names_look_like_what_they_can_be_taken_for() {
        let looks = |login: &str| looks_of_login(login, &canonical_login(login).unwrap());
        for plain in ["bam", "barn", "Ian", "user1", "O0l1|"] {
            assert!(looks(plain).is_empty(), "{plain}");
        }
        for (login, look) in [
            ("аdа", "ada"),
            ("Вob", "bob"),
            ("ΑΝΝΑ", "anna"),
            ("Ӏan", "ian"),
            ("Ӏan", "lan"),
            ("admin\u{4CF}", "admin1"),
            ("раура\u{4CF}", "paypal"),
            ("gооgle", "google"),
        ] {
            assert!(looks(login).iter().any(|found| found == look), "{login}: {:?}", looks(login));
        }
    }

    fn any_plane() -> impl Strategy<Value = String> {
        // Letters of many scripts beside all of Unicode, or hardly a string would pass.
        let letters = prop_oneof![
            Just("a-zA-Z0-9".to_owned()),
            Just("\u{370}-\u{52F}".to_owned()),
            Just("\u{590}-\u{6FF}".to_owned()),
            Just("\u{900}-\u{E7F}".to_owned()),
            Just("\u{1E00}-\u{1FFF}".to_owned()),
            Just("\u{3040}-\u{30FF}".to_owned()),
            Just("\u{FF01}-\u{FFDC}".to_owned()),
            Just("\u{10400}-\u{1044F}".to_owned()),
        ];
        prop_oneof![
            proptest::collection::vec(any::<char>(), 1..8).prop_map(String::from_iter),
            letters.prop_flat_map(|set| proptest::string::string_regex(&format!("[{set}]{{1,12}}")).unwrap()),
            "\\PC{1,40}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_canonical_login_is_its_own_canonical_form(login in any_plane()) {
            if let Ok(once) = canonical_login(&login) {
                prop_assert_eq!(&canonical_login(&once).unwrap(), &once);
                prop_assert!(once.len() <= MAX_LOGIN && !once.chars().any(is_hidden));
                // Other spellings of it: composed or not, and in capitals where those come back.
                let spellings = [login.nfc().collect::<String>(), login.nfd().collect(), login.to_lowercase()];
                for spelling in spellings {
                    if let Ok(other) = canonical_login(&spelling) {
                        prop_assert_eq!(&other, &once, "{:?}", spelling);
                    }
                }
            }
        }

        #[test]
        fn a_name_has_few_looks_and_ascii_has_none(login in any_plane()) {
            if let Ok(canonical) = canonical_login(&login) {
                let looks = looks_of_login(&login, &canonical);
                prop_assert!(looks.len() <= 12 && !looks.contains(&canonical));
                prop_assert!(!login.is_ascii() || looks.is_empty());
            }
        }
    }

    /// Every character by itself and after a letter, so that no plane is left to chance.
    #[test]
    fn every_character_has_a_stable_form_or_none() {
        let mut taken = 0_u32;
        for c in '\u{0}'..=char::MAX {
            for login in [String::from(c), format!("a{c}"), format!("ا{c}")] {
                if let Ok(once) = canonical_login(&login) {
                    assert_eq!(canonical_login(&once).unwrap(), once, "{login:?}");
                    assert!(!is_hidden(c), "{login:?}");
                    taken += 1;
                }
            }
        }
        assert!(taken > 100_000, "{taken}");
    }
}
