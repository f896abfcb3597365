//! How hard a password is to guess, estimated.

use std::fmt;

/// How much of a password is looked at, in characters: the work grows faster than the length, and what is longer is hard
/// to guess already.
const LOOKED_AT: usize = 100;
/// Words of the user that are looked for, and how much of each.
const WORDS: usize = 64;

/// An estimate of how many guesses a password withstands, by zxcvbn (Wheeler, USENIX Security 2016): for a form that tells
/// while somebody types, and for [`PasswordPolicy::minimum_strength`](crate::PasswordPolicy::minimum_strength).
///
/// It looks at the first 100 characters, in some milliseconds at most. It knows English words and names, dates, keyboards
/// and repetitions, so that it takes words of other languages for harder than they are. The copies of the password that
/// it makes are not wiped from memory.
///
/// ```
/// use portcullis::PasswordStrength;
/// let poor = PasswordStrength::estimate("passwordpassword1", &["ada"]);
/// let good = PasswordStrength::estimate("correct horse battery staple", &["ada"]);
/// assert!(poor.score < 2 && good.score == 4);
/// assert!(poor.warning.is_some() && !poor.suggestions.is_empty());
/// ```
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct PasswordStrength {
    /// 0 for below 10^3 guesses, 1 for 10^6, 2 for 10^8, 3 for 10^10, and 4 for more.
    pub score: u8,
    /// The number of guesses, as a power of ten; 0 for an empty password.
    pub guesses_log10: f64,
    /// What is wrong with it, in English.
    pub warning: Option<String>,
    /// What to do about it, in English.
    pub suggestions: Vec<String>,
}

impl PasswordStrength {
    /// Estimates a password, given words that are near at hand for whoever attacks this user.
    #[must_use]
    pub fn estimate(password: &str, words_of_the_user: &[&str]) -> Self {
        let words: Vec<&str> = words_of_the_user.iter().take(WORDS).map(|word| beginning(word)).collect();
        let estimate = zxcvbn::zxcvbn(beginning(password), &words);
        let feedback = estimate.feedback();
        Self {
            score: estimate.score().into(),
            guesses_log10: if password.is_empty() { 0.0 } else { estimate.guesses_log10() },
            warning: feedback
                .and_then(zxcvbn::feedback::Feedback::warning)
                .map(|warning| warning.to_string()),
            suggestions: feedback
                .map(|feedback| feedback.suggestions().iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
        }
    }
}

/// As much of a text as is looked at.
fn beginning(text: &str) -> &str {
    match text.char_indices().nth(LOOKED_AT) {
        Some((end, _)) => text.get(..end).unwrap_or_default(),
        None => text,
    }
}

impl fmt::Debug for PasswordStrength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordStrength").field("score", &self.score).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_is_looked_at_and_nothing_breaks_it() {
        assert_eq!(beginning("abc"), "abc");
        assert_eq!(beginning(&"🔑".repeat(1000)), "🔑".repeat(LOOKED_AT));
        for password in ["", "\u{0}", "aaaa", &"a1B2-".repeat(20_000), &"🔑".repeat(256)] {
            let strength = PasswordStrength::estimate(password, &[password; 100]);
            assert!(strength.score <= 4 && strength.guesses_log10.is_finite(), "{strength:?}");
        }
        let known = PasswordStrength::estimate("wholelottarosie", &["wholelottarosie"]);
        let unknown = PasswordStrength::estimate("wholelottarosie", &[]);
        assert!(known.guesses_log10 < unknown.guesses_log10);
    }
}
