//! The engine: the one write path (`write`), the one read path (`principal`, `view`), and what callers name.

mod accept;
mod access;
mod api_keys;
mod assignments;
mod audit;
mod authority;
#[cfg(test)]
mod between;
mod bookkeeping;
mod builder;
mod bulk;
mod context;
mod declare;
mod delegations;
mod demand;
mod devices;
mod duty;
mod ending;
#[cfg(feature = "tokio")]
mod entrance;
mod events;
mod factors;
mod feed;
mod flags;
mod guard;
mod handles;
mod hierarchy;
mod history;
mod identify;
mod idle;
mod ids;
mod impersonation;
#[cfg(feature = "import")]
mod import;
mod login;
mod maintainer;
mod own_sessions;
mod page;
#[cfg(feature = "passkeys")]
mod passkeys;
mod passwords;
mod permissions;
#[cfg(feature = "testing")]
mod populate;
mod principal;
mod recency;
mod refresh;
mod review;
mod roles;
mod scopes;
mod separation;
mod session_roles;
mod sessions;
mod signed;
mod statistics;
mod sweep;
mod throttle;
mod tickets;
mod timeline;
mod upkeep;
mod users;
mod verify;
mod view;
mod warrant;
mod write;

pub use access::Access;
pub use api_keys::{ApiKeys, IssuedApiKey};
pub use audit::{Audit, AuditHead};
pub use builder::Builder;
pub use context::{CheckContext, ContextRule};
pub use delegations::Delegations;
pub use devices::Devices;
pub use events::{Event, EventKind, Notification, Subscription};
#[cfg(feature = "testing")]
pub(crate) use factors::code_of as totp_code;
pub use factors::{Factors, TotpEnrolment};
pub use feed::{AccessChange, AccessChangeKind, ChangeFeed, ChangePosition, FeedItem};
pub use flags::{AppliedRule, FlagExplanation, FlagStep, Flags};
pub use history::History;
#[cfg(feature = "import")]
pub(crate) use import::{Claim, Claims, Newcomer, Newcomers};
#[cfg(feature = "passkeys")]
pub use login::PasskeyLogin;
pub use login::{Answer, Challenge, CodeToSend, Credentials, Login, LoginStep};
pub use maintainer::{Maintainer, MaintainerStatus, MaintenanceFailure, MaintenanceSchedule};
pub use own_sessions::OwnSession;
pub use page::{Cursor, Page, PageRequest};
#[cfg(feature = "passkeys")]
pub use passkeys::Passkeys;
#[cfg(all(feature = "passkeys", feature = "testing"))]
pub(crate) use passkeys::{probe_assertion, probe_login, probe_start_assertion, probe_start_login};
pub use passwords::KeyUse;
pub use permissions::Permissions;
pub use principal::{Decision, Principal};
pub use review::{Explanation, Finding, Impact, Link, ObjectOperation, Review, Standing, UnusedRole, WhatIf};
pub use roles::Roles;
pub use scopes::Scopes;
pub use separation::SeparationOfDuty;
pub use sessions::Sessions;
#[cfg(feature = "jwt")]
pub(crate) use signed::{Ended, Vouched};
pub use statistics::Statistics;
pub use tickets::{EmailChange, EmailChangeStep, IssuedTicket, MagicLink, PasswordReset, Tickets};
pub use upkeep::Maintenance;
pub use users::Users;
pub use verify::Verification;
#[cfg(feature = "testing")]
pub(crate) use {
    populate::{
        api_keys as populate_api_keys, assignments as populate_assignments, hash_for_nobody, put_rows,
        sessions as populate_sessions, users as populate_users,
    },
    throttle::populate_failures,
    verify::{decode_as_every_record, dump},
};

use crate::audit::Actor;
use crate::clock::{Clock, Timestamp};
use crate::crypto::{Admission, Keyring, PasswordHasher};
use crate::error::Result;
use crate::factor::TotpSettings;
use crate::history::HistoryPolicy;
use crate::id::UserId;
use crate::secret::Entropy;
use crate::session::{ImpersonationPolicy, RefreshPolicy, SessionLimits, SessionPolicy};
use crate::store::{Change, Scan, Sink, Store, Table};
use crate::throttle::ThrottlePolicy;
use crate::ticket::TicketLives;
use crate::user::NameRules;
use context::Rules;
use parking_lot::Mutex;
use passwords::PasswordRules;
use std::fmt;
#[cfg(feature = "sled")]
use std::path::Path;
use std::sync::Arc;
use timeline::Timeline;
use view::View;

/// Every table of a database.
const TABLES: &[&[Table]] = &[
    crate::user::TABLES,
    crate::credential::TABLES,
    crate::passkey::TABLES,
    crate::catalog::TABLES,
    crate::role::TABLES,
    crate::assignment::TABLES,
    crate::access::TABLES,
    crate::delegation::TABLES,
    crate::scope::TABLES,
    crate::separation::TABLES,
    crate::flag::TABLES,
    crate::session::TABLES,
    crate::signed::TABLES,
    crate::apikey::TABLES,
    crate::device::TABLES,
    crate::history::TABLES,
    crate::challenge::TABLES,
    crate::throttle::TABLES,
    crate::ticket::TABLES,
    crate::factor::TABLES,
    crate::audit::TABLES,
    bookkeeping::TABLES,
    bulk::TABLES,
];

/// A handle to a database of users, roles, sessions and audit records.
///
/// It is `Send` and `Sync`, cheap to clone, and every method takes `&self`. The database closes with its last
/// handle; [`close`](Self::close) does so at once and reports errors.
#[derive(Clone)]
pub struct Portcullis {
    engine: Arc<Engine>,
    actor: Actor,
    /// Whether every change is checked against the delegations of the actor.
    delegated: bool,
    /// Who acts as the actor, where somebody else does.
    impersonator: Option<UserId>,
}

impl fmt::Debug for Portcullis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Portcullis")
            .field("actor", &self.actor)
            .field("delegated", &self.delegated)
            .field("impersonator", &self.impersonator)
            .field("version", &self.engine.store.now())
            .finish_non_exhaustive()
    }
}

impl Portcullis {
    /// Opens the database in a directory with the default settings, and makes it if there is none.
    ///
    /// # Errors
    /// As [`Builder::open`].
    #[cfg(feature = "sled")]
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open(path)
    }

    /// A database in memory with the default settings, which ends with its last handle.
    ///
    /// # Errors
    /// As [`Builder::in_memory`].
    pub fn in_memory() -> Result<Self> {
        Self::builder().in_memory()
    }

    /// Settings other than the defaults.
    pub fn builder() -> Builder {
        Builder::new()
    }

    fn of(engine: Engine) -> Self {
        Self { engine: Arc::new(engine), actor: Actor::System, delegated: false, impersonator: None }
    }

    /// The same database, with this user as the actor in the audit log and the giver of assignments. It does not
    /// check what the user may do: that is for the caller to check first, or for [`delegated`](Self::delegated). A handle
    /// that is delegated already stays what it is, with the actor that it has, and so does one in whose actor's place
    /// somebody else acts.
    #[must_use]
    pub fn acting_as(&self, user: UserId) -> Self {
        match self.delegated || self.impersonator.is_some() {
            true => self.clone(),
            false => Self { actor: Actor::User(user), ..self.clone() },
        }
    }

    /// Writes everything back and closes the database, for all handles: later calls answer
    /// [`ErrorKind::Stopped`](crate::ErrorKind::Stopped) and no check allows anything.
    ///
    /// # Errors
    /// The storage kinds. What was acknowledged is durable even then. `Denied` for a delegated handle.
    pub fn close(&self) -> Result<()> {
        self.refuse_delegated("close")?;
        // Best effort: an idle deadline that is not written back comes early after the next open, never late.
        let _ = self.engine.write_all_seen();
        self.engine.events.close();
        self.engine.store.close()
    }

    /// How many password hashes this handle's database has computed since it was opened. A refused attempt that
    /// should be cheap must not raise it.
    #[must_use]
    pub fn password_hashes_computed(&self) -> u64 {
        self.engine.hasher.computed()
    }

    /// What the admission gate for password hashes does now and has done since the open.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{Client, Credentials, Portcullis};
    /// let gate = Portcullis::in_memory()?;
    /// let _ = gate.login(&Credentials::password("nobody", "correct horse battery staple"), &Client::new());
    /// let admission = gate.admission();
    /// assert_eq!((admission.admitted, admission.running, admission.waiting), (1, 0, 0));
    /// assert!(admission.peak_bytes <= admission.most_bytes);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn admission(&self) -> Admission {
        self.engine.hasher.gate().figures()
    }

    /// The time by which decisions are made: it follows the clock, and goes on where it stood when the clock is set back.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.engine.now()
    }

    fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// Everything that handles share.
pub(crate) struct Engine {
    store: Box<dyn Store>,
    view: Arc<View>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    hasher: PasswordHasher,
    keys: Keyring,
    totp: TotpSettings,
    passwords: PasswordRules,
    user_ids: ids::UserIds,
    limits: SessionLimits,
    session_policy: SessionPolicy,
    refresh: RefreshPolicy,
    impersonation: Option<ImpersonationPolicy>,
    ticket_lives: TicketLives,
    history: HistoryPolicy,
    events: events::Bus,
    feed: feed::Feed,
    /// Where the next look for idle sessions begins.
    idle_round: Mutex<u32>,
    ending: ending::Guard,
    /// Whoever ends sessions in bulk; see `bulk`.
    bulk: Mutex<()>,
    rules: Rules,
    names: NameRules,
    timeline: Arc<Timeline>,
    /// The turn of writers that meet too often: see `write`.
    turns: write::Turns,
    throttle: throttle::Throttle,
    #[cfg(feature = "tokio")]
    calls: Arc<crate::crypto::Gate>,
    /// Who asks for passkeys, where that is set.
    #[cfg(feature = "passkeys")]
    relying_party: Option<crate::passkey::RelyingParty>,
}

/// What the settings come to.
struct Parts {
    clock: Arc<dyn Clock>,
    trust_clock: bool,
    entropy: Arc<dyn Entropy>,
    hasher: PasswordHasher,
    keys: Keyring,
    totp: TotpSettings,
    passwords: PasswordRules,
    names: NameRules,
    limits: SessionLimits,
    session_policy: SessionPolicy,
    refresh: RefreshPolicy,
    impersonation: Option<ImpersonationPolicy>,
    ticket_lives: TicketLives,
    history: HistoryPolicy,
    hooks: events::Hooks,
    feed: usize,
    rules: Rules,
    throttle: ThrottlePolicy,
    /// How many attempts may wait for others at the same account, and for how long.
    queue: usize,
    patience: std::time::Duration,
}

/// Rows of what was deleted before a crash that an open sweeps; maintenance does the others.
const OPEN_SWEEP: usize = 4096;

impl Engine {
    fn start(store: Box<dyn Store>, parts: Parts) -> Result<Self> {
        let Parts {
            clock,
            trust_clock,
            entropy,
            hasher,
            keys,
            totp,
            passwords,
            names,
            limits,
            session_policy,
            refresh,
            ticket_lives,
            history,
            hooks,
            feed,
            rules,
            ..
        } = parts;
        let ending = Arc::new(ending::Ending::default());
        let feed = feed::Feed::new(feed, &ending)?;
        refresh.check()?;
        parts.impersonation.iter().try_for_each(ImpersonationPolicy::check)?;
        let view = Arc::new(View::new()?);
        load(&*store, &view)?;
        let user_ids = ids::UserIds::default();
        let latest = if trust_clock { clock.now() } else { timeline::latest_record(&*store)? };
        let timeline = Arc::new(Timeline::starting(clock.now(), latest));
        store.watch(Arc::new(feed.relay(&view, &clock, &timeline, &ending)));
        let turns = write::Turns::default();
        let throttle =
            throttle::Throttle::open(&*store, &*entropy, parts.throttle, parts.queue, parts.patience)?;
        let engine = Self {
            store,
            view,
            clock,
            entropy,
            hasher,
            keys,
            totp,
            passwords,
            user_ids,
            limits,
            session_policy,
            refresh,
            impersonation: parts.impersonation,
            ticket_lives,
            history,
            events: events::Bus::new(hooks),
            feed,
            idle_round: Mutex::new(0),
            ending: ending::Guard::new(ending),
            bulk: Mutex::new(()),
            rules,
            names,
            timeline,
            turns,
            throttle,
            #[cfg(feature = "tokio")]
            calls: entrance::calls(),
            #[cfg(feature = "passkeys")]
            relying_party: None,
        };
        // Sessions that a crash has left to a role for which they are not sure enough: nobody gets in before they end.
        engine.finish_demands()?;
        // Those that were to end when a crash came, and those that end with each open.
        if session_policy.ends_at_open {
            engine.begin_era(Actor::System.into(), "of everybody, at the open")?;
        }
        engine.finish_endings()?;
        // Nothing depends on this sweep, so that what it can not read or decode keeps nobody out; but a handle that
        // stopped while it ran is not handed out.
        match engine.sweep_leftovers(OPEN_SWEEP) {
            Err(error) if engine.view.is_stopped() => Err(error),
            _ => Ok(engine),
        }
    }

    /// The time now; see [`Timeline`].
    fn now(&self) -> Timestamp {
        self.timeline.at(|| self.clock.now())
    }
}

/// Fills the view from the store, through the same function that follows commits.
fn load(store: &dyn Store, view: &View) -> Result<()> {
    for table in View::TABLES {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let scan = Scan { prefix: &[], after: after.as_deref(), limit: 1024, descending: false };
            let rows = store.scan(*table, &scan)?;
            let Some(last) = rows.last() else { break };
            after = Some(last.key.clone());
            let changes: Vec<Change> = rows
                .into_iter()
                .map(|row| Change { table: *table, key: row.key, value: Some(row.value) })
                .collect();
            view.apply(&changes)?;
        }
    }
    Ok(())
}
