//! Second factors: enrolling, confirming, using and removing them.

use super::events::{Event, EventKind};
use super::write::{Entry, Plan};
use super::{Engine, Portcullis, warrant};
use crate::assurance::Method;
use crate::audit::{AuditKind, Subject};
use crate::challenge::ChallengeRecord;
use crate::clock::Timestamp;
use crate::crypto::{RecoveryCode, SEED, matching_code, matching_step, provisioning_uri, seed_text};
use crate::error::{Error, Result};
use crate::factor::{self, Factor, FactorRecord, MAX_FACTORS, RECOVERY_CODES, Secret};
use crate::id::{ContactId, FactorId, Key, UserId};
use crate::passkey::PASSKEY;
#[cfg(feature = "passkeys")]
use crate::passkey::passkeys_of;
use crate::secret::random;
use crate::store::{self, Scan, Stored};
use crate::text;
use crate::user::{self, ContactKind, ContactRecord};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// What a sealed seed is for.
const SEAL: &str = "portcullis 2026-11 totp seed";
/// How long an enrolment waits for its confirmation.
const ENROLMENT: Duration = Duration::from_secs(3600);

/// An authenticator app that is being enrolled: shown to the user once, confirmed with a code.
pub struct TotpEnrolment {
    factor: FactorId,
    seed: Zeroizing<String>,
    uri: Zeroizing<String>,
}

impl TotpEnrolment {
    /// The factor to confirm.
    #[must_use]
    pub fn factor(&self) -> FactorId {
        self.factor
    }

    /// The seed in base 32, for typing it into the app.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.seed
    }

    /// What the app reads from a QR code: an `otpauth` URI.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The QR code of the URI as an SVG image.
    ///
    /// # Errors
    /// `LimitExceeded` where the names in it are too long for a QR code.
    #[cfg(feature = "qr")]
    pub fn qr_svg(&self) -> Result<String> {
        Ok(self.qr()?.render::<qrcode::render::svg::Color<'_>>().min_dimensions(240, 240).build())
    }

    /// The QR code of the URI in block characters, dark on light, for a terminal.
    ///
    /// # Errors
    /// As [`qr_svg`](Self::qr_svg).
    #[cfg(feature = "qr")]
    pub fn qr_text(&self) -> Result<String> {
        Ok(self.qr()?.render::<qrcode::render::unicode::Dense1x2>().build())
    }

    #[cfg(feature = "qr")]
    fn qr(&self) -> Result<qrcode::QrCode> {
        qrcode::QrCode::new(self.uri.as_bytes()).map_err(|error| {
            Error::limit("totp", "the issuer and the login name are too long for a QR code")
                .caused_by(error.to_string())
        })
    }
}

/// Names the factor; the seed is left out.
impl fmt::Debug for TotpEnrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TotpEnrolment").field("factor", &self.factor).finish_non_exhaustive()
    }
}

/// Enrols, lists and removes second factors; get it from [`Portcullis::factors`].
///
/// A user with a confirmed factor makes a second step at each login. That the user may enrol or remove one now is for the
/// application to see to, by a session that is fresh enough; a delegated handle can remove factors and enrol none.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{Client, Credentials, KeyId, Keyring, LoginStep, Method, NewUser, Portcullis};
/// # let key = [7; 32]; // from where the service keeps its secrets, not from the source
/// let gate = Portcullis::builder()
///     .keys(Keyring::new(KeyId::new(1), &key)?) // seeds are sealed with it
///     .danger_fast_password_hashes() // for this test only
///     .in_memory()?;
/// let ada = gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?.id;
///
/// let enrolment = gate.factors().enrol_totp(ada, "phone")?;
/// // Show enrolment.uri() as a QR code; the app answers with a code.
/// # let code = portcullis::testing::totp_code(enrolment.secret(), gate.now())?;
/// gate.factors().confirm_totp(ada, enrolment.factor(), &code)?;
/// let recovery = gate.factors().issue_recovery_codes(ada)?; // to be printed
/// assert_eq!(recovery.len(), 10);
///
/// let who = Credentials::password("ada", "correct horse battery staple");
/// let LoginStep::NeedsFactor(challenge) = gate.start_login(&who, &Client::new())? else { panic!() };
/// assert_eq!(challenge.methods(), [Method::Totp, Method::RecoveryCode]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Factors<'g> {
    pub(super) gate: &'g Portcullis,
}

impl Factors<'_> {
    /// The user's factors, confirmed or not, by number.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn of_user(&self, user: UserId) -> Result<Vec<Factor>> {
        let store = &*self.gate.engine().store;
        user::read_user(store, user)?;
        Ok(factor::of_user(store, user)?.into_iter().map(|found| found.record.into()).collect())
    }

    /// Begins to enrol an authenticator app. It counts for nothing until a code of it confirms that the user has it.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a label above 128 bytes, and where no [`Keyring`](crate::Keyring) was handed in:
    /// seeds are kept only sealed with a key from outside; `LimitExceeded` beyond 16 factors; the storage kinds.
    pub fn enrol_totp(&self, user: UserId, label: &str) -> Result<TotpEnrolment> {
        let engine = self.gate.engine();
        let (enrolment, _) = engine.write(self.gate.actor(), |plan| {
            warrant::only_the_application(plan, Subject::User(user), "enrol a factor")?;
            engine.stage_totp(plan, user, label)
        })?;
        Ok(enrolment)
    }

    /// Confirms an authenticator app with its present code, within an hour of its enrolment. From now on the user makes a
    /// second step at each login.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a wrong code, or one that was used; `Mismatch` where the seed was sealed with a key
    /// that is not handed in; the storage kinds.
    pub fn confirm_totp(&self, user: UserId, id: FactorId, code: &str) -> Result<Factor> {
        let engine = self.gate.engine();
        let (record, _) = engine.write(self.gate.actor(), |plan| {
            warrant::only_the_application(plan, Subject::User(user), "confirm a factor")?;
            let old = factor::read_factor(plan.store, user, id)?;
            let Secret::Totp { .. } = &old.record.secret else {
                return Err(Error::invalid("factor", format!("{id} is no authenticator app")));
            };
            if old.record.confirmed.is_none() && plan.now.since(old.record.created) > ENROLMENT {
                return Err(Error::not_found("factor", id));
            }
            let Some(new) = engine.totp_used(&old.record, code, plan.now)? else {
                return Err(Error::invalid("code", "is not the present code of this authenticator app"));
            };
            engine.forget_failures(plan, user, Some(Method::Totp))?;
            stage_confirmed(plan, &old, new)
        })?;
        Ok(record.into())
    }

    /// Lets codes that are sent to a verified contact be a second step: an e-mail address or a telephone number. Sending
    /// them is for the application, see [`Portcullis::send_code`]. A mailbox is no second factor in the sense of NIST SP
    /// 800-63B-4: with a code by e-mail the session stays at [`Assurance::One`](crate::Assurance::One).
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a contact that is not verified, or of another kind, and for a label above 128
    /// bytes; `AlreadyExists` where it is a factor already; `LimitExceeded` beyond 16 factors; the storage kinds.
    pub fn enrol_contact(&self, user: UserId, contact: ContactId, label: &str) -> Result<Factor> {
        text::plain("factor.label", label, text::MAX_NAME)?;
        let engine = self.gate.engine();
        let (record, _) = engine.write(self.gate.actor(), |plan| {
            warrant::only_the_application(plan, Subject::User(user), "enrol a factor")?;
            let found = store::read::<ContactRecord>(plan.store, &(user, contact))?
                .ok_or_else(|| Error::not_found("contact", contact))?;
            let by_phone = match found.record.kind {
                ContactKind::Email => false,
                ContactKind::Phone => true,
                _ => return Err(Error::invalid("contact", "is no e-mail address and no telephone number")),
            };
            if found.record.verified.is_none() {
                return Err(Error::invalid("contact", format!("{contact} is not verified; let the user verify it")));
            }
            plan.batch.expect_unchanged(&found);
            let others = factor::of_user(plan.store, user)?;
            let twin = |other: &&Stored<FactorRecord>| {
                matches!(other.record.secret, Secret::Contact { contact: theirs, .. } if theirs == contact)
            };
            if let Some(twin) = others.iter().find(twin) {
                return Err(Error::exists("contact", format!("{contact} is {} already", twin.record.id)));
            }
            let secret = Secret::Contact { contact, by_phone };
            let id = engine.factor_id(&others)?;
            let record = engine.stage_factor(plan, user, &others, (id, label, secret), true)?;
            record_change(plan, &record, AuditKind::FactorEnrolled)?;
            Ok(record)
        })?;
        Ok(record.into())
    }

    /// Ten recovery codes in the place of those that the user had. Each opens one second step, when the other factors are
    /// gone, and gets a successor then; alone they are no second factor. They are shown here and never again.
    ///
    /// # Errors
    /// `NotFound`; `LimitExceeded` beyond 16 factors; the storage kinds.
    pub fn issue_recovery_codes(&self, user: UserId) -> Result<Vec<RecoveryCode>> {
        let engine = self.gate.engine();
        let (codes, _) = engine.write(self.gate.actor(), |plan| {
            warrant::only_the_application(plan, Subject::User(user), "issue recovery codes")?;
            let (mut codes, mut digests) = (Vec::new(), Vec::new());
            for _ in 0..RECOVERY_CODES {
                let (code, digest) = RecoveryCode::mint(&*engine.entropy)?;
                codes.push(code);
                digests.push(digest);
            }
            let mut others = factor::of_user(plan.store, user)?;
            if let Some(place) =
                others.iter().position(|other| matches!(other.record.secret, Secret::Recovery { .. }))
            {
                plan.batch.remove(&others.swap_remove(place));
            }
            let id = engine.factor_id(&others)?;
            let secret = Secret::Recovery { digests };
            let record = engine.stage_factor(plan, user, &others, (id, "", secret), true)?;
            engine.forget_failures(plan, user, Some(Method::RecoveryCode))?;
            record_change(plan, &record, AuditKind::RecoveryCodesIssued)?;
            Ok(codes)
        })?;
        Ok(codes)
    }

    /// Removes a factor: the very next use of it fails, also in a login that is under way. With the last one of its method
    /// go the failures at it, so that they do not stop the one that comes after it.
    ///
    /// # Errors
    /// `NotFound`; the storage kinds.
    pub fn remove(&self, user: UserId, id: FactorId) -> Result<Factor> {
        let engine = self.gate.engine();
        let (record, _) = engine.write(self.gate.actor(), |plan| {
            warrant::may_administer(plan, user, "remove a factor")?;
            let old = factor::read_factor(plan.store, user, id)?;
            plan.batch.remove(&old);
            user::stage_touch(plan.store, &mut plan.batch, user, plan.now)?;
            let method = old.record.method();
            let others = factor::of_user(plan.store, user)?;
            if !others.iter().any(|other| other.record.id != id && other.record.method() == method) {
                engine.forget_failures(plan, user, Some(method))?;
            }
            record_change(plan, &old.record, AuditKind::FactorRemoved)?;
            Ok(old.record)
        })?;
        Ok(record.into())
    }
}

fn record_change(plan: &mut Plan<'_>, factor: &FactorRecord, kind: AuditKind) -> Result<()> {
    if kind != AuditKind::FactorEnrolling {
        let told = match kind {
            AuditKind::RecoveryCodeUsed => EventKind::RecoveryCodeUsed,
            _ => EventKind::FactorChanged(factor.id),
        };
        plan.notify(Event::of(factor.user, told));
    }
    let detail = format!("{}: {}", factor.id, factor.method());
    plan.record(kind, Entry::of(Subject::User(factor.user)).detail(detail))
}

/// INVARIANT: whatever changes which factors count for a user also rewrites the user's row, which every login expects
/// unchanged: so none is completed by what the user had before.
fn stage_confirmed(
    plan: &mut Plan<'_>,
    old: &Stored<FactorRecord>,
    mut new: FactorRecord,
) -> Result<FactorRecord> {
    new.confirmed = new.confirmed.or(Some(plan.now));
    plan.batch.replace(old, &new)?;
    user::stage_touch(plan.store, &mut plan.batch, new.user, plan.now)?;
    record_change(plan, &new, AuditKind::FactorEnrolled)?;
    Ok(new)
}

/// What second step a user makes.
pub(super) struct SecondSteps {
    /// How it can be made now.
    pub(super) methods: Vec<Method>,
    /// Whether there are passkeys and none can be used: all are suspended, or no relying party is set.
    pub(super) blocked: bool,
}

impl SecondSteps {
    /// Whether one must be made: also where that can not be done now.
    pub(super) fn due(&self) -> bool {
        self.blocked || !self.methods.is_empty()
    }
}

impl Engine {
    /// Stages an authenticator app that is not confirmed.
    pub(super) fn stage_totp(&self, plan: &mut Plan<'_>, user: UserId, label: &str) -> Result<TotpEnrolment> {
        text::plain("factor.label", label, text::MAX_NAME)?;
        let account = user::read_user(plan.store, user)?.record;
        let mut others = factor::of_user(plan.store, user)?;
        // What was not confirmed in time makes way.
        others.retain(|other| {
            let stale = other.record.confirmed.is_none() && plan.now.since(other.record.created) > ENROLMENT;
            if stale {
                plan.batch.remove(other);
            }
            !stale
        });
        let seed = random::<SEED>(&*self.entropy)?;
        let (id, algorithm) = (self.factor_id(&others)?, self.totp.algorithm);
        let sealed = self.keys.seal(SEAL, &(user, id).bytes(), seed.as_slice(), &*self.entropy)?;
        let secret = Secret::Totp { algorithm, sealed, spent: 0 };
        let record = self.stage_factor(plan, user, &others, (id, label, secret), false)?;
        record_change(plan, &record, AuditKind::FactorEnrolling)?;
        let uri = provisioning_uri(algorithm, seed.as_slice(), &self.totp.issuer, &account.login);
        Ok(TotpEnrolment { factor: id, seed: seed_text(seed.as_slice()), uri })
    }

    fn factor_id(&self, others: &[Stored<FactorRecord>]) -> Result<FactorId> {
        loop {
            let id = FactorId::from_number(u32::from_be_bytes(*random::<4>(&*self.entropy)?));
            if others.iter().all(|other| other.record.id != id) {
                return Ok(id);
            }
        }
    }

    fn stage_factor(
        &self,
        plan: &mut Plan<'_>,
        user: UserId,
        others: &[Stored<FactorRecord>],
        (id, label, secret): (FactorId, &str, Secret),
        confirmed: bool,
    ) -> Result<FactorRecord> {
        user::read_user(plan.store, user)?.record.refuse_service("second factor")?;
        if others.len() >= MAX_FACTORS {
            return Err(Error::limit(
                "factor",
                format!("{user} has {MAX_FACTORS} factors, which is the most"),
            ));
        }
        let (now, label) = (plan.now, label.to_owned());
        let confirmed = confirmed.then_some(now);
        let record =
            FactorRecord { user, id, label, secret, created: now, confirmed, used: None, sent: (now, 0) };
        plan.batch.insert(&record)?;
        user::stage_touch(plan.store, &mut plan.batch, user, now)?;
        Ok(record)
    }

    /// The factor after the use of this code; `None` for a wrong code, or one of a step that is spent.
    ///
    /// The step is that of the clock and not of the engine's own time, which may be ahead of it after the clock was set
    /// back: a code is what the user's app shows now. The spent step keeps an old code from coming back.
    fn totp_used(&self, factor: &FactorRecord, code: &str, now: Timestamp) -> Result<Option<FactorRecord>> {
        let Secret::Totp { algorithm, sealed, spent } = &factor.secret else { return Ok(None) };
        let place = (factor.user, factor.id).bytes();
        let seed = self.keys.open(SEAL, &place, sealed)?;
        let step = matching_step(*algorithm, &seed, code, self.clock.now().as_secs(), self.totp.window)?;
        let Some(step) = step.filter(|step| step > spent) else { return Ok(None) };
        // Sealed anew with the current key, so that a former one can go some day.
        let sealed = match self.keys.is_current(sealed) {
            true => sealed.clone(),
            false => self.keys.seal(SEAL, &place, &seed, &*self.entropy)?,
        };
        let secret = Secret::Totp { algorithm: *algorithm, sealed, spent: step };
        Ok(Some(FactorRecord { secret, used: Some(now), ..factor.clone() }))
    }

    /// Stages the use of a code in a login, perhaps of the app that is enrolled in it; false where it is none of theirs.
    pub(super) fn stage_totp_answer(
        &self,
        plan: &mut Plan<'_>,
        login: &ChallengeRecord,
        code: &str,
    ) -> Result<bool> {
        // The user may have got a factor since this login began to enrol one.
        let enrolling = match login.enrolling {
            Some(enrolling) if self.may_enrol(plan, login)? => Some(enrolling),
            _ => None,
        };
        self.stage_totp_use(plan, login.user, code, enrolling)
    }

    /// Stages the use of a code of one of the user's authenticator apps; false where it is none of theirs.
    pub(super) fn stage_totp_use(
        &self,
        plan: &mut Plan<'_>,
        user: UserId,
        code: &str,
        enrolling: Option<FactorId>,
    ) -> Result<bool> {
        for found in factor::of_user(plan.store, user)? {
            let enrols = enrolling == Some(found.record.id);
            if found.record.confirmed.is_none() && !enrols {
                continue;
            }
            if let Some(new) = self.totp_used(&found.record, code, plan.now)? {
                match enrols {
                    true => drop(stage_confirmed(plan, &found, new)?),
                    false => plan.batch.replace(&found, &new)?,
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Stages the use of a recovery code, and another one in its place (NIST SP 800-63B-4, section 4.2.1.1).
    pub(super) fn stage_recovery_use(
        &self,
        plan: &mut Plan<'_>,
        user: UserId,
        code: &str,
    ) -> Result<Option<RecoveryCode>> {
        for found in factor::of_user(plan.store, user)? {
            let Secret::Recovery { digests } = &found.record.secret else { continue };
            let Some(place) = matching_code(digests, code) else { continue };
            let (successor, digest) = RecoveryCode::mint(&*self.entropy)?;
            let mut digests = digests.clone();
            if let Some(kept) = digests.get_mut(place) {
                *kept = digest;
            }
            let secret = Secret::Recovery { digests };
            let new = FactorRecord { secret, used: Some(plan.now), ..found.record.clone() };
            plan.batch.replace(&found, &new)?;
            record_change(plan, &new, AuditKind::RecoveryCodeUsed)?;
            return Ok(Some(successor));
        }
        Ok(None)
    }

    /// The second steps of the user.
    pub(super) fn second_steps(&self, plan: &Plan<'_>, user: UserId) -> Result<SecondSteps> {
        let prefix = user.bytes();
        let any = Scan { prefix: &prefix, limit: 1, ..Scan::default() };
        let passkeys = !plan.store.scan(PASSKEY, &any)?.is_empty();
        #[cfg(feature = "passkeys")]
        let usable = self.relying_party.is_some()
            && passkeys_of(plan.store, user)?.iter().any(|passkey| passkey.record.suspended.is_none());
        #[cfg(not(feature = "passkeys"))]
        let usable = false;
        let mut methods = factor::methods_of(&factor::of_user(plan.store, user)?, passkeys);
        methods.retain(|method| usable || *method != Method::Passkey);
        Ok(SecondSteps { methods, blocked: passkeys && !usable })
    }

    /// Whether a factor may be enrolled in this login: where the user has none that would do, and has used what there is.
    pub(super) fn may_enrol(&self, plan: &Plan<'_>, login: &ChallengeRecord) -> Result<bool> {
        let steps = self.second_steps(plan, login.user)?;
        let made = login.methods.has_second_step();
        Ok((made || !steps.due()) && !steps.methods.iter().any(|method| login.wants(*method)))
    }
}

impl Portcullis {
    /// Second factors.
    #[must_use]
    pub fn factors(&self) -> Factors<'_> {
        Factors { gate: self }
    }
}

/// The code that an authenticator app with this seed shows at an instant.
#[cfg(feature = "testing")]
pub(crate) fn code_of(secret: &str, now: Timestamp) -> Result<String> {
    crate::crypto::totp_code(crate::crypto::TotpAlgorithm::Sha1, secret, now.as_secs())
}
