//! Settings, each with a safe default (`portcullis::_docs::defaults` has the reasons).

mod sessions;

use super::context::{ContextRule, Rules};
use super::events::{Event, Hooks};
use super::passwords::PasswordRules;
use super::{Engine, Parts, Portcullis};
use crate::catalog::{self, DeclaredPermission};
use crate::clock::{Clock, SystemClock};
use crate::credential::{BreachCheck, PasswordPolicy};
use crate::crypto::{Gate, Keyring, Limits, PasswordCost, PasswordHasher};
use crate::error::{Error, Result};
use crate::factor::TotpSettings;
use crate::history::HistoryPolicy;
use crate::secret::{Entropy, SystemEntropy};
use crate::session::{ImpersonationPolicy, RefreshPolicy, SessionLimits, SessionPolicy};
use crate::store::{Faults, MemoryStore, Store};
use crate::throttle::ThrottlePolicy;
use crate::ticket::TicketLives;
use crate::user::{ConfusableNames, EmailLocalPart, NameRules};
#[cfg(feature = "sled")]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The least that sled's page cache works with, in bytes.
#[cfg(feature = "sled")]
const SMALLEST_CACHE: u64 = 1 << 20;

/// The least memory in KiB that password hashes get by default.
const LEAST_HASH_MEMORY_KIB: usize = 64 << 10;

/// Opens a database with settings other than the defaults; get it from [`Portcullis::builder`].
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{PasswordCost, Portcullis, SessionLimits};
/// use std::time::Duration;
/// let gate = Portcullis::builder()
///     .password_cost(PasswordCost::new(47_104, 1)?)
///     .session_limits(SessionLimits::new(Some(Duration::from_secs(900)), Duration::from_secs(12 * 3600))?)
///     .in_memory()?;
/// # drop(gate);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    trust_clock: bool,
    cost: PasswordCost,
    keys: Keyring,
    totp: TotpSettings,
    passwords: PasswordRules,
    limits: SessionLimits,
    session_policy: SessionPolicy,
    pub(super) refresh: RefreshPolicy,
    pub(super) impersonation: Option<ImpersonationPolicy>,
    ticket_lives: TicketLives,
    history: HistoryPolicy,
    hooks: Hooks,
    throttle: ThrottlePolicy,
    hashes: usize,
    queue: usize,
    patience: Duration,
    share: Option<usize>,
    hash_memory: Option<u64>,
    #[cfg_attr(not(feature = "sled"), expect(dead_code, reason = "settings of the sled backend"))]
    cache: u64,
    #[cfg_attr(not(feature = "sled"), expect(dead_code, reason = "settings of the sled backend"))]
    write_limit: Duration,
    faults: Faults,
    declared: Vec<DeclaredPermission>,
    rules: Rules,
    names: NameRules,
    pub(super) feed: usize,
    #[cfg(feature = "passkeys")]
    passkeys: Option<crate::passkey::PasskeySettings>,
    #[cfg(feature = "legacy")]
    signer: Option<crate::secret::SecretText>,
    #[cfg(feature = "testing")]
    pause: crate::crypto::Pause,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            trust_clock: false,
            cost: PasswordCost::default(),
            keys: Keyring::default(),
            totp: TotpSettings::default(),
            passwords: PasswordRules::default(),
            limits: SessionLimits::default(),
            session_policy: SessionPolicy::default(),
            refresh: RefreshPolicy::default(),
            impersonation: None,
            ticket_lives: TicketLives::default(),
            history: HistoryPolicy::new(),
            hooks: Hooks::default(),
            throttle: ThrottlePolicy::new(),
            hashes: std::thread::available_parallelism().map_or(1, usize::from),
            queue: 256,
            patience: Duration::from_secs(10),
            share: None,
            hash_memory: None,
            cache: 64 << 20,
            write_limit: Duration::from_secs(10),
            faults: Faults::default(),
            declared: Vec::new(),
            rules: Rules::default(),
            names: NameRules::default(),
            feed: super::feed::CAPACITY,
            #[cfg(feature = "passkeys")]
            passkeys: None,
            #[cfg(feature = "legacy")]
            signer: None,
            #[cfg(feature = "testing")]
            pause: crate::crypto::Pause::default(),
        }
    }

    /// Where the time comes from.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Believes the clock where it is behind the newest record of the database.
    ///
    /// Without this, an open goes on at the time of the newest audit record, so that a clock that was set back lengthens
    /// no life. Set it once after the clock had stood in the future by mistake; sessions and locks from that time
    /// then last as long as their times say.
    pub fn danger_trust_clock(mut self) -> Self {
        self.trust_clock = true;
        self
    }

    /// Where randomness comes from.
    pub fn entropy(mut self, entropy: impl Entropy + 'static) -> Self {
        self.entropy = Arc::new(entropy);
        self
    }

    /// What a new password hash costs; stored ones keep the cost they were made with.
    pub fn password_cost(mut self, cost: PasswordCost) -> Self {
        self.cost = cost;
        self
    }

    /// Which new passwords are taken: see [`PasswordPolicy`].
    pub fn password_policy(mut self, policy: PasswordPolicy) -> Self {
        self.passwords.policy = policy;
        self
    }

    /// Asks whether a new password was made public by a breach elsewhere, once for each that is set; nobody is asked by
    /// default. Where the check fails, the password is refused with
    /// [`PasswordProblem::NotChecked`](crate::PasswordProblem::NotChecked), and the audit log says so. See
    /// [`BreachFile`](crate::BreachFile) for a check that needs no network.
    pub fn breach_check(mut self, check: impl BreachCheck + 'static) -> Self {
        self.passwords.breach = Some(Arc::new(check));
        self
    }

    /// Takes a new password where the [breach check](Self::breach_check) fails; an audit record of
    /// [`BreachCheckFailed`](crate::AuditKind::BreachCheckFailed) tells of each.
    pub fn danger_accept_unchecked_passwords(mut self) -> Self {
        self.passwords.accept_unchecked = true;
        self
    }

    /// Keys that are held outside the database, for the pepper of password hashes and for what is stored sealed; none by
    /// default. See [`Keyring`].
    pub fn keys(mut self, keys: Keyring) -> Self {
        self.keys = keys;
        self
    }

    /// How authenticator apps are enrolled and asked; see [`TotpSettings`] for the defaults.
    pub fn totp(mut self, settings: TotpSettings) -> Self {
        self.totp = settings;
        self
    }

    /// How often somebody may be wrong before the next attempt has to wait, and how often at all; see [`ThrottlePolicy`]
    /// for the defaults.
    pub fn throttle(mut self, policy: ThrottlePolicy) -> Self {
        self.throttle = policy;
        self
    }

    /// The admission gate: how many password hashes run at once (each takes the memory of
    /// [`PasswordCost::memory_kib`]), how many may wait for that, and for how long. Whoever finds the queue full, or
    /// waits longer, gets [`ErrorKind::Busy`](crate::ErrorKind::Busy) with
    /// [`Error::retry_after`](crate::Error::retry_after). The default is one an available core, 256 in the queue and 10
    /// seconds.
    ///
    /// Waiters stand in one line a source, which is the address that [`Client::ip`](crate::Client::ip) names (of an IPv6
    /// address, the first 64 bits); all clients of unknown address are one source, and so is the application's own
    /// creating of users and setting of passwords. The lines are served in turn. In a full queue, somebody of a source
    /// with few waiters takes the place of who has waited longest in the longest line, who then gets `Busy`.
    pub fn admission(mut self, hashes: usize, queue: usize, patience: Duration) -> Self {
        (self.hashes, self.queue, self.patience) = (hashes, queue, patience);
        self
    }

    /// How many of the admission gate's queue may be of one source; by default half of them, and at least one.
    pub fn admission_share(mut self, waiters: usize) -> Self {
        self.share = Some(waiters);
        self
    }

    /// How much memory in bytes all password hashes that run at once may take together, with what is kept for the next
    /// ones. A stored hash that asks for more than the present cost waits until there is so much; one that asks for more
    /// than all of it can not be verified, so that its user can not log in: see [`Portcullis::login`]. Hashes of other systems (feature
    /// `legacy`) count by what their parameters ask for, less 64 KiB each: 128 x r x (N + p) bytes of scrypt, 128 x N x r
    /// of yescrypt, the blocks of Argon2, and nothing for the others, which need a few KiB.
    ///
    /// By default it is the memory of the present cost for each of the hashes that [`admission`](Self::admission) lets
    /// run at once, and at least 64 MiB, so that hashes of the usual other costs can be verified on the smallest machine
    /// (RFC 9106, section 4, the second recommended option).
    pub fn admission_memory(mut self, bytes: u64) -> Self {
        self.hash_memory = Some(bytes);
        self
    }

    /// Memory in bytes for the storage engine's page cache; 64 MiB by default. Checks never read from there.
    #[cfg(feature = "sled")]
    pub fn cache(mut self, bytes: u64) -> Self {
        self.cache = bytes;
        self
    }

    /// How long a change may wait for the disk before the handle stops; 10 seconds by default.
    #[cfg(feature = "sled")]
    pub fn write_limit(mut self, limit: Duration) -> Self {
        self.write_limit = limit;
        self
    }

    /// The permissions of the program, or of a library in it, as [`permissions!`](crate::permissions) declared them. Call
    /// it once for each set.
    ///
    /// The open compares them with what is stored, as [`Permissions::declare`](crate::Permissions::declare) does, and
    /// gives out no handle where they disagree. So a constant of the program never means another permission than the
    /// one that roles were granted.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::Portcullis;
    /// portcullis::permissions! {
    ///     /// What people do with reports.
    ///     pub struct Reports;
    ///     READ = "report:read", "reads reports";
    ///     WRITE = "report:write", "writes reports";
    /// }
    /// let gate = Portcullis::builder().declare(Reports::DECLARED).in_memory()?;
    /// let viewer = gate.roles().create("viewer", [Reports::READ])?;
    /// # let _ = viewer;
    /// # Ok(())
    /// # }
    /// ```
    pub fn declare(mut self, declared: &[DeclaredPermission]) -> Self {
        self.declared.extend_from_slice(declared);
        self
    }

    /// A rule that every decision must pass beside what is granted: see [`ContextRule`]. Each call adds one, and all must
    /// agree.
    pub fn context_rule(mut self, rule: impl ContextRule + 'static) -> Self {
        self.rules.add(rule);
        self
    }

    /// A function to call for every [event](Event); each call adds one.
    ///
    /// It runs on the thread whose call caused the event, after the change is committed, under no lock; that call waits for
    /// it. A panic in it is caught and [counted](Portcullis::event_panics), and changes nothing. Events that it causes
    /// itself reach [subscribers](Portcullis::subscribe) only. For anything slow, such as sending a mail, subscribe instead.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{EventKind, NewUser, Portcullis};
    /// let gate = Portcullis::builder()
    ///     .on_event(|event| {
    ///         if event.kind == EventKind::NewDevice {
    ///             println!("{:?} logged in from {}", event.user, event.client.device_name());
    ///         }
    ///     })
    ///     .in_memory()?;
    /// # drop(gate);
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_event(mut self, hook: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.hooks.add(hook);
        self
    }

    /// What becomes of a login name that looks like another user's; refused by default.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{ConfusableNames, NewUser, Portcullis};
    /// let gate = Portcullis::in_memory()?;
    /// gate.users().create(NewUser::new("ada"))?;
    /// // The first letter is Cyrillic.
    /// assert!(gate.users().create(NewUser::new("\u{430}da")).is_err_and(|e| e.is_conflict()));
    /// let gate = Portcullis::builder().confusable_names(ConfusableNames::Warn).in_memory()?;
    /// gate.users().create_many(["ada", "\u{430}da"].map(NewUser::new))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn confusable_names(mut self, policy: ConfusableNames) -> Self {
        self.names.confusable = policy;
        self
    }

    /// Whether the local part of e-mail addresses is compared by case; not by default.
    pub fn email_local_part(mut self, policy: EmailLocalPart) -> Self {
        self.names.local_part = policy;
        self
    }

    /// The relying party of passkeys. Without this call nobody can register or use one.
    #[cfg(feature = "passkeys")]
    pub fn passkeys(mut self, settings: crate::passkey::PasskeySettings) -> Self {
        self.passkeys = Some(settings);
        self
    }

    /// The signer key of the Firebase project that users come from, in the base64 in which Firebase shows it
    /// (`base64_signer_key` of the project's password hash parameters). It is a secret of the project, so it is held here
    /// and never in the database; without it users with a hash of the form `$firebase-scrypt$` can not log in. An open
    /// with a key that is no base64 of 16 to 128 bytes is refused with `InvalidInput`.
    #[cfg(feature = "legacy")]
    pub fn firebase_signer_key(mut self, base64: impl Into<String>) -> Self {
        self.signer = Some(crate::secret::SecretText::new(base64));
        self
    }

    /// Password hashes that protect nothing and take microseconds, so that tests need not wait.
    #[cfg(feature = "testing")]
    pub fn danger_fast_password_hashes(mut self) -> Self {
        self.cost = PasswordCost::danger_for_tests();
        self
    }

    /// A hook that runs inside each password hash, once it was admitted: a place for a test to stop a login at.
    #[cfg(feature = "testing")]
    pub fn pause_in_password_hash(mut self, pause: impl Fn() + Send + Sync + 'static) -> Self {
        self.pause = crate::crypto::Pause(Some(Arc::new(pause)));
        self
    }

    /// Points at which the storage fails on purpose.
    #[cfg(feature = "testing")]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Opens the database in a directory, and makes it if there is none.
    ///
    /// The directory and what is in it are for the owner only (0700 and 0600). While it is open no second handle,
    /// in this process or another one, can open it.
    ///
    /// # Errors
    /// `InvalidInput` for a cache below 1 MiB or a write limit below 100 ms; `Locked` where it is open already; `UnsafePath` for a symbolic link, a directory of somebody else or one that
    /// others can read, and one that holds something else; `Damaged` where the database does not hold what it
    /// acknowledged; `NewerFormat`; `Storage` for what the operating system reports. With [declared](Self::declare)
    /// permissions also those of [`Permissions::declare`](crate::Permissions::declare); the database is closed again then.
    #[cfg(feature = "sled")]
    pub fn open(mut self, path: impl AsRef<Path>) -> Result<Portcullis> {
        if self.cache < SMALLEST_CACHE {
            return Err(Error::invalid(
                "cache",
                format!("is {} bytes; at least {SMALLEST_CACHE} are needed", self.cache),
            ));
        }
        if self.write_limit < Duration::from_millis(100) {
            return Err(Error::invalid(
                "write_limit",
                format!("is {:?}; a disk may need 100 ms for one write", self.write_limit),
            ));
        }
        // Before there is a file: what can never be right leaves no database behind.
        self.declared = catalog::agreed(&self.declared)?;
        #[cfg(feature = "passkeys")]
        self.passkeys.as_ref().map(crate::passkey::PasskeySettings::checked).transpose()?;
        let options = crate::store::SledOptions {
            cache_capacity: self.cache,
            wait_limit: self.write_limit,
            faults: self.faults.clone(),
            ..Default::default()
        };
        let store = crate::store::SledStore::open(path.as_ref(), &super::TABLES.concat(), options)?;
        self.start(Box::new(store))
    }

    /// A database in memory, which ends with its last handle.
    ///
    /// # Errors
    /// `InvalidInput` for settings that do not fit, and for [declared](Self::declare) permissions that contradict each
    /// other; `Storage` where there is no randomness.
    pub fn in_memory(mut self) -> Result<Portcullis> {
        self.declared = catalog::agreed(&self.declared)?;
        let store = MemoryStore::new(&super::TABLES.concat(), self.faults.clone());
        self.start(Box::new(store))
    }

    pub(super) fn start(self, store: Box<dyn Store>) -> Result<Portcullis> {
        self.history.check()?;
        self.throttle.check()?;
        self.session_policy.parallel.check()?;
        let gate = Gate::new(self.admission_limits()?);
        #[cfg_attr(
            not(any(feature = "legacy", feature = "testing")),
            expect(unused_mut, reason = "what is set below belongs to features")
        )]
        let mut hasher = PasswordHasher::new(self.cost, gate, Arc::clone(&self.entropy), self.keys.clone())?;
        #[cfg(feature = "legacy")]
        {
            let signer = self.signer.as_ref().map(|text| crate::crypto::SignerKey::decode(text.expose()));
            hasher.set_signer(signer.transpose()?);
        }
        #[cfg(feature = "testing")]
        hasher.set_pause(self.pause);
        let parts = Parts {
            clock: self.clock,
            trust_clock: self.trust_clock,
            entropy: self.entropy,
            hasher,
            keys: self.keys,
            totp: self.totp,
            passwords: self.passwords,
            names: self.names,
            limits: self.limits,
            session_policy: self.session_policy,
            refresh: self.refresh,
            impersonation: self.impersonation,
            ticket_lives: self.ticket_lives,
            history: self.history,
            hooks: self.hooks,
            rules: self.rules,
            feed: self.feed,
            throttle: self.throttle,
            queue: self.queue,
            patience: self.patience,
        };
        #[cfg_attr(not(feature = "passkeys"), expect(unused_mut, reason = "the relying party is set below"))]
        let mut engine = Engine::start(store, parts)?;
        #[cfg(feature = "passkeys")]
        {
            engine.relying_party = self.passkeys.map(|settings| settings.checked()).transpose()?;
        }
        let gate = Portcullis::of(engine);
        gate.permissions().declare_agreed(&self.declared)?;
        Ok(gate)
    }

    fn admission_limits(&self) -> Result<Limits> {
        let (hashes, queue, patience) = (self.hashes, self.queue, self.patience);
        if hashes == 0 {
            return Err(Error::invalid(
                "admission.hashes",
                "is 0; at least one password hash must be able to run",
            ));
        }
        let one = self.cost.blocks()?;
        let blocks = match self.hash_memory {
            None => one.saturating_mul(hashes).max(LEAST_HASH_MEMORY_KIB),
            Some(bytes) => usize::try_from(bytes / 1024).unwrap_or(usize::MAX),
        };
        if blocks < one {
            return Err(Error::invalid(
                "admission_memory",
                format!("is {blocks} KiB; one password hash of the present cost takes {one} KiB"),
            ));
        }
        let share = self.share.unwrap_or_else(|| queue.div_ceil(2));
        if share == 0 && queue > 0 {
            return Err(Error::invalid(
                "admission_share",
                format!("is 0, so that nobody could use the queue of {queue}"),
            ));
        }
        Ok(Limits { hashes, queue, share, blocks, patience })
    }
}
