//! Words that whoever attacks an account tries first: its name, its addresses, the name of the service.

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// Fewest characters of a word that counts.
const SHORTEST: usize = 3;

/// Words as they are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words(Vec<Word>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    folded: Vec<char>,
    /// A word of digits alone counts only where it is the whole password: it is in many numbers by accident.
    has_letters: bool,
}

impl Words {
    /// Takes a login name, an address or a word of the service: as a whole, and each of its parts.
    pub(super) fn add(&mut self, text: &str) {
        let parts = text.split(|c: char| !c.is_alphanumeric());
        for text in std::iter::once(text).chain(parts) {
            let (folded, letters) = fold(text);
            let word = Word { folded: folded.to_vec(), has_letters: letters.contains(&true) };
            if word.folded.len() >= SHORTEST && !self.0.contains(&word) {
                self.0.push(word);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the password is nothing but such words, forwards or backwards, in whatever case and spelling, with digits
    /// and signs around and between them. A password that has anything else is not meant, also where a word is in it:
    /// the password is compared as a whole (NIST SP 800-63B-4, section 3.1.1.2).
    pub(super) fn make_up(&self, password: &str) -> bool {
        let (folded, letters) = fold(password);
        // What can be reached from the beginning of the password: without a word so far, and with one.
        let (mut bare, mut worded) = (vec![false; folded.len() + 1], vec![false; folded.len() + 1]);
        if let Some(start) = bare.first_mut() {
            *start = true;
        }
        for (at, is_letter) in letters.iter().enumerate() {
            let (here, here_worded) = (reached(&bare, at), reached(&worded, at));
            if !here && !here_worded {
                continue;
            }
            if !is_letter {
                reach(&mut bare, at + 1, here);
                reach(&mut worded, at + 1, here_worded);
            }
            let rest = folded.get(at..).unwrap_or_default();
            for word in self.0.iter().filter(|word| word.has_letters) {
                let length = word.folded.len();
                let there = rest.get(..length).is_some_and(|there| word.is(there));
                reach(&mut worded, at + length, there);
            }
        }
        reached(&worded, folded.len()) || self.0.iter().any(|word| word.is(&folded))
    }
}

impl Word {
    fn is(&self, text: &[char]) -> bool {
        text == self.folded.as_slice() || text.iter().rev().eq(&self.folded)
    }
}

fn reached(places: &[bool], at: usize) -> bool {
    places.get(at).is_some_and(|place| *place)
}

fn reach(places: &mut [bool], at: usize, yes: bool) {
    if let Some(place) = places.get_mut(at) {
        *place |= yes;
    }
}

/// The characters that count, with those that stand for each other made equal, and which of them are letters. Signs that
/// stand for no letter are left out, so that "john.doe" and "John Doe" are one word.
fn fold(text: &str) -> (Zeroizing<Vec<char>>, Vec<bool>) {
    // Room for whatever comes of it, so that the characters of a password are not moved and left behind: three at most of
    // each byte, in lower case.
    let mut folded = Zeroizing::new(Vec::with_capacity(3 * text.len()));
    let mut letters = Vec::with_capacity(3 * text.len());
    for c in text.nfc().flat_map(char::to_lowercase) {
        let like = match c {
            '0' => 'o',
            '1' | 'l' | '!' | '|' => 'i',
            '2' => 'z',
            '3' | '€' => 'e',
            '4' | '@' => 'a',
            '5' | '$' => 's',
            '6' | '9' => 'g',
            '7' | '+' => 't',
            '8' => 'b',
            other => other,
        };
        if like.is_alphanumeric() {
            folded.push(like);
            letters.push(c.is_alphabetic());
        }
    }
    (folded, letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(texts: &[&str]) -> Words {
        let mut words = Words::default();
        texts.iter().for_each(|text| words.add(text));
        words
    }

    #[test]
    fn names_in_every_disguise_are_found_and_only_whole() {
        let words = words(&["Ada.Lovelace", "ada@example.org", "Portcullis", "24680", "io", "Łódź"]);
        for made_of_words in [
            "adalovelace",
            "ADA.LOVELACE",
            "Lovelace, Ada",
            "ecalevolada",
            "ecalevol.ada.2024",
            "ada123456789012345",
            "123456789012345ada",
            "2024-portcullis-2025",
            "p0r7cu11!5!!!!!!",
            "P0rtcullis$$2024",
            "adaadaadaadaada",
            "portcullis example org",
            "ada@example.org",
            "24680",
            "08642",
            "łódź 1234567890",
            "ŁÓDŹŁÓDŹŁÓDŹ",
        ] {
            assert!(words.make_up(made_of_words), "{made_of_words}");
        }
        for fine in [
            "",
            "adalovelacex",
            "my portcullis is shut",
            "123456789012345",
            "2468024680",
            "99924680999",
            "ioioioioioioioio",
            "!!!!!!!!!!!!!!!!",
            "adalovelac",
            "correct horse battery staple",
        ] {
            assert!(!words.make_up(fine), "{fine}");
        }
        assert!(!Words::default().make_up("anything"));
    }

    #[test]
    fn the_longest_password_takes_no_long_time() {
        let mut words = words(&["aaa", "aaaa", "aaab"]);
        for length in 5..60 {
            words.add(&"a".repeat(length));
        }
        assert!(words.make_up(&"a".repeat(1024)));
        assert!(!words.make_up(&format!("{}x", "a".repeat(1023))));
    }
}
