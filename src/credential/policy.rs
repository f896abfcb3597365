//! Which new passwords are taken.

use super::blocklist;
use super::context::Words;
use crate::crypto::Normal;
use crate::error::{Error, PasswordProblem, Result};
use std::time::Duration;

/// Fewest code points of a password that is the only factor, and of one that never is (NIST SP 800-63B-4, section
/// 3.1.1.2).
const ONLY_FACTOR: usize = 15;
const WITH_SECOND_FACTOR: usize = 8;
/// What every policy must allow (NIST SP 800-63B-4, section 3.1.1.2; OWASP ASVS 5.0, 6.2.9).
const MUST_BE_ALLOWED: usize = 64;
/// Most passwords that are remembered: each costs a hash whenever a new one is set.
const LONGEST_HISTORY: usize = 24;
/// Words of the service.
const MOST_WORDS: usize = 256;
/// For how long a password that somebody else set opens anything (OWASP ASVS 5.0, 6.4.1).
const ISSUED_LIFE: Duration = Duration::from_secs(24 * 3600);
const LONGEST_ISSUED_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
const SHORTEST_AGE: Duration = Duration::from_secs(24 * 3600);

/// Which new passwords are taken, and for how long; hand it in with
/// [`Builder::password_policy`](crate::Builder::password_policy).
///
/// A password must have at least 15 code points and at most 1,024 bytes, must not be on the embedded list of common ones,
/// and must not be made of words that are near at hand. Any characters are taken, and none are asked for (NIST SP
/// 800-63B-4, section 3.1.1.2: no composition rules). It is brought into Unicode's form NFC, and otherwise taken as it is
/// given: nothing is cut off, trimmed or mapped to lower case. A policy is applied when a password is set, and not to
/// those that were set before it.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{PasswordPolicy, PasswordProblem};
/// let policy = PasswordPolicy::new().words(["Portcullis", "engine room"])?;
/// assert!(policy.check("correct horse battery staple", &["ada"]).is_ok());
/// let why = |password: &str| policy.check(password, &["ada"]).unwrap_err().password_problem();
/// assert_eq!(why("fourteen chars"), Some(PasswordProblem::TooShort));
/// assert_eq!(why("1qaz2wsx3edc4rfv"), Some(PasswordProblem::Common));
/// assert_eq!(why("p0rtcull1s-2026"), Some(PasswordProblem::ContextWord));
/// assert_eq!(why("ada ada ada ada ada"), Some(PasswordProblem::ContextWord));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct PasswordPolicy {
    minimum: usize,
    second_factor: bool,
    words: Words,
    history: usize,
    maximum_age: Option<Duration>,
    issued_life: Duration,
    #[cfg(feature = "strength")]
    strength: u8,
}

impl PasswordPolicy {
    /// For passwords that may be the only factor: 15 code points.
    pub fn new() -> Self {
        Self {
            minimum: ONLY_FACTOR,
            second_factor: false,
            words: Words::default(),
            history: 0,
            maximum_age: None,
            issued_life: ISSUED_LIFE,
            #[cfg(feature = "strength")]
            strength: 0,
        }
    }

    /// For passwords that are never the only factor: 8 code points. Every login then asks everybody for a second factor.
    pub fn only_with_second_factor() -> Self {
        Self { minimum: WITH_SECOND_FACTOR, second_factor: true, ..Self::new() }
    }

    /// Asks for more code points, counted in form NFC.
    ///
    /// # Errors
    /// `InvalidInput` for fewer than 15, or than 8 where a second factor is asked for, and for more than 64, which every
    /// service must allow.
    pub fn minimum(mut self, code_points: usize) -> Result<Self> {
        let floor = if self.second_factor { WITH_SECOND_FACTOR } else { ONLY_FACTOR };
        if !(floor..=MUST_BE_ALLOWED).contains(&code_points) {
            return Err(Error::invalid(
                "password_policy.minimum",
                format!("is {code_points}; a policy of this kind asks for {floor} to {MUST_BE_ALLOWED}"),
            ));
        }
        self.minimum = code_points;
        Ok(self)
    }

    /// Words that are near at hand for whoever attacks this service: its name, that of the organisation, products,
    /// projects and departments (OWASP ASVS 5.0, 6.1.2 and 6.2.11). A password is refused that is nothing but such
    /// words and those of the user (the login name and e-mail addresses), forwards or backwards, in any case, with
    /// digits for letters, and with digits and signs around and between them. One that only contains such a word is
    /// taken. Words of fewer than three letters and digits do not count. Each call adds to them.
    ///
    /// # Errors
    /// `InvalidInput` for a word above 1,024 bytes; `LimitExceeded` for more than 256 words.
    pub fn words<W: AsRef<str>>(mut self, words: impl IntoIterator<Item = W>) -> Result<Self> {
        const FIELD: &str = "password_policy.words";
        for word in words {
            let word = word.as_ref();
            if word.len() > crate::crypto::MAX_PASSWORD_BYTES {
                return Err(Error::invalid(FIELD, format!("has a word of {} bytes", word.len())));
            }
            self.words.add(word);
            if self.words.len() > MOST_WORDS {
                return Err(Error::limit(FIELD, format!("has more than {MOST_WORDS} words")));
            }
        }
        Ok(self)
    }

    /// Refuses the last passwords of a user, with the present one: 0, the default, to 24. Setting a password then costs
    /// as many hashes more, one after the other.
    ///
    /// # Errors
    /// `InvalidInput` for more than 24.
    pub fn history(mut self, last: usize) -> Result<Self> {
        if last > LONGEST_HISTORY {
            return Err(Error::invalid(
                "password_policy.history",
                format!("is {last}; at most {LONGEST_HISTORY} passwords are remembered, each costs a hash"),
            ));
        }
        self.history = last;
        Ok(self)
    }

    /// Asks for a new password when one is older than that. There is no such limit by default, and NIST SP 800-63B-4,
    /// section 3.1.1.2, advises against one: people who must change a password often choose worse ones.
    ///
    /// # Errors
    /// `InvalidInput` for less than a day.
    pub fn maximum_age(mut self, age: Duration) -> Result<Self> {
        if age < SHORTEST_AGE {
            let message = format!("is {age:?}; a password may be a day old at least");
            return Err(Error::invalid("password_policy.maximum_age", message));
        }
        self.maximum_age = Some(age);
        Ok(self)
    }

    /// For how long a password opens anything that an administrator set: 24 hours by default. It must be changed at the
    /// first login.
    ///
    /// # Errors
    /// `InvalidInput` for less than a minute or more than seven days.
    pub fn issued_for(mut self, life: Duration) -> Result<Self> {
        if !(Duration::from_secs(60)..=LONGEST_ISSUED_LIFE).contains(&life) {
            let message =
                format!("is {life:?}; a password that was issued lives from a minute to seven days");
            return Err(Error::invalid("password_policy.issued_for", message));
        }
        self.issued_life = life;
        Ok(self)
    }

    /// Asks for an estimated strength: 0, the default, to 4. See [`PasswordStrength`](crate::PasswordStrength).
    ///
    /// # Errors
    /// `InvalidInput` for more than 4.
    #[cfg(feature = "strength")]
    pub fn minimum_strength(mut self, score: u8) -> Result<Self> {
        if score > 4 {
            return Err(Error::invalid("password_policy.minimum_strength", format!("is {score}; at most 4")));
        }
        self.strength = score;
        Ok(self)
    }

    /// Whether passwords of this policy are too short to be the only factor, so that every login asks for a second one.
    #[must_use]
    pub const fn needs_second_factor(&self) -> bool {
        self.second_factor
    }

    /// Fewest code points.
    #[must_use]
    pub const fn shortest(&self) -> usize {
        self.minimum
    }

    /// Whether a password would be taken, as far as it can be told without the database: not what was breached elsewhere,
    /// and not what the user had earlier. For forms that tell while somebody types.
    ///
    /// # Errors
    /// `InvalidInput` on the field `password`, with the [reason](Error::password_problem).
    pub fn check(&self, password: &str, words_of_the_user: &[&str]) -> Result<()> {
        let password = Normal::of(password)?;
        let length = password.chars().count();
        if length < self.minimum {
            return Err(Error::password(
                PasswordProblem::TooShort,
                format!("has {length} characters; at least {} are asked for", self.minimum),
            ));
        }
        if blocklist::is_common(&password) {
            return Err(Error::password(
                PasswordProblem::Common,
                "is among the most common ones, which are tried first; take another one",
            ));
        }
        let mut words = self.words.clone();
        words_of_the_user.iter().for_each(|word| words.add(word));
        if words.make_up(&password) {
            return Err(Error::password(
                PasswordProblem::ContextWord,
                "is made of the login name, an address or the name of the service; take another one",
            ));
        }
        #[cfg(feature = "strength")]
        if self.strength > 0 {
            let strength = super::PasswordStrength::estimate(&password, words_of_the_user);
            if strength.score < self.strength {
                let why = strength.warning.unwrap_or_else(|| "add a word or two".to_owned());
                return Err(Error::password(
                    PasswordProblem::TooWeak,
                    format!(
                        "is too easy to guess ({} of 4, {} asked for): {why}",
                        strength.score, self.strength
                    ),
                ));
            }
        }
        Ok(())
    }

    /// How many passwords of a user, with the present one, are not taken again.
    pub(crate) const fn remembered(&self) -> usize {
        self.history
    }

    pub(crate) const fn age_limit(&self) -> Option<Duration> {
        self.maximum_age
    }

    pub(crate) const fn issued_life(&self) -> Duration {
        self.issued_life
    }
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self::new()
    }
}
