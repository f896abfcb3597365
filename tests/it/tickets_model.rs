//! Random sequences of issuing, spending, waiting and changing accounts, against a model that kills tokens by what happens
//! where the engine compares what is stored.

use crate::support::{Disk, PASSWORD, all, log_in, sound};
use crate::tickets::{Kind, Sent};
use portcullis::testing::ManualClock;
use portcullis::{
    Client, Clock, ContactId, Denial, EmailChangeStep, LoginStep, NewContact, NewUser, Portcullis, Status,
    StatusKind, TicketLives, TicketPurpose, Timestamp, UserId,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the model knows of a token.
struct Token {
    kind: Kind,
    sent: Sent,
    user: usize,
    contact: Option<ContactId>,
    new_address: Option<String>,
    expires: Timestamp,
    dead: bool,
    confirmed: bool,
    /// The other token of an e-mail change.
    twin: Option<usize>,
}

/// What the model knows of a user.
struct Account {
    id: UserId,
    login: String,
    status: StatusKind,
    password: Option<String>,
    /// Address and whether it is verified.
    contacts: BTreeMap<ContactId, (String, bool)>,
    sessions: Vec<String>,
    gone: bool,
}

struct Model {
    users: Vec<Account>,
    tokens: Vec<Token>,
    made: usize,
}

impl Model {
    fn slot(&self, token: &Token) -> (usize, TicketPurpose, Option<ContactId>) {
        let purpose = token.kind.purpose();
        let many = matches!(purpose, TicketPurpose::EmailVerification | TicketPurpose::EmailChange);
        (token.user, purpose, token.contact.filter(|_| many))
    }

    /// A new token, which kills what stood in its place.
    fn add(&mut self, token: Token) {
        let slot = self.slot(&token);
        let twin = token.twin;
        for number in 0..self.tokens.len() {
            if Some(number) != twin && self.slot(&self.tokens[number]) == slot {
                self.tokens[number].dead = true;
            }
        }
        self.tokens.push(token);
    }

    fn kill(&mut self, user: usize, which: impl Fn(&Token) -> bool) {
        for token in self.tokens.iter_mut().filter(|token| token.user == user && which(token)) {
            token.dead = true;
        }
    }

    /// All sessions of the user end, and with them all but a plain verification.
    fn raise(&mut self, user: usize) {
        self.users[user].sessions.clear();
        self.kill(user, |token| token.kind != Kind::Verification);
    }

    fn is_good(&self, number: usize, now: Timestamp) -> bool {
        let token = &self.tokens[number];
        let account = &self.users[token.user];
        let status = match token.kind {
            Kind::Invitation => account.status == StatusKind::Pending,
            Kind::Verification | Kind::Activation => {
                matches!(account.status, StatusKind::Active | StatusKind::Pending)
            }
            _ => account.status == StatusKind::Active,
        };
        !token.dead && !account.gone && status && now < token.expires
    }
}

struct Run {
    gate: Portcullis,
    clock: ManualClock,
    model: Model,
}

impl Run {
    fn new(gate: Portcullis, clock: ManualClock) -> Self {
        let model = Model { users: Vec::new(), tokens: Vec::new(), made: 0 };
        let mut run = Self { gate, clock, model };
        for status in [StatusKind::Active, StatusKind::Pending] {
            run.create(status);
        }
        run
    }

    fn create(&mut self, kind: StatusKind) {
        self.model.made += 1;
        let (login, address) = (format!("user{}", self.model.made), format!("u{}@x.org", self.model.made));
        let new = NewUser::new(login.as_str()).email(address.as_str());
        let new =
            if kind == StatusKind::Pending { new.status(Status::pending()) } else { new.password(PASSWORD) };
        let id = self.gate.users().create(new).unwrap().id;
        let active = kind == StatusKind::Active;
        let first = ContactId::from_number(0);
        if active {
            self.gate.users().verify_contact(id, first).unwrap();
        }
        self.model.users.push(Account {
            id,
            login,
            status: kind,
            password: active.then(|| PASSWORD.to_owned()),
            contacts: [(first, (address, active))].into(),
            sessions: Vec::new(),
            gone: false,
        });
    }

    fn issue(&mut self, user: usize, kind: Kind, pick: usize) {
        let (tickets, client) = (self.gate.tickets(), Client::new());
        let account = &self.model.users[user];
        let id = account.id;
        let contact = account.contacts.keys().nth(pick % account.contacts.len().max(1)).copied();
        let contact = contact.unwrap_or(ContactId::from_number(0));
        let there = !account.gone && account.contacts.contains_key(&contact);
        let active = !account.gone && account.status == StatusKind::Active;
        let verified =
            account.contacts.iter().find(|(_, (_, verified))| *verified).map(|(contact, _)| *contact);
        let now = self.clock.now();
        let expires = now.saturating_add(TicketLives::new().of(kind.purpose()));
        let new = |sent, contact| Token {
            kind,
            sent,
            user,
            contact,
            new_address: None,
            expires,
            dead: false,
            confirmed: false,
            twin: None,
        };
        match kind {
            Kind::Verification | Kind::Activation => {
                let issued = match kind {
                    Kind::Verification => tickets.verify_email(id, contact),
                    _ => tickets.verify_email_to_activate(id, contact),
                };
                let due = there && (kind == Kind::Verification || account.status == StatusKind::Pending);
                assert_eq!(issued.is_ok(), due, "{issued:?}");
                if let Ok(issued) = issued {
                    self.model.add(new(Sent::of(&issued), Some(contact)));
                }
            }
            Kind::Reset if pick.is_multiple_of(2) => {
                let contact = pick.is_multiple_of(4).then_some(contact);
                let issued = tickets.start_password_reset(id, contact);
                assert_eq!(issued.is_ok(), active && (there || contact.is_none()), "{issued:?}");
                if let Ok(issued) = issued {
                    self.model.add(new(Sent::of(&issued), contact));
                }
            }
            Kind::Reset => {
                let issued = tickets.request_password_reset(&account.login, &client).unwrap();
                assert_eq!(issued.is_some(), active && verified.is_some());
                if let Some(issued) = issued {
                    self.model.add(new(Sent::of(&issued), verified));
                }
            }
            Kind::Invitation => {
                let issued = tickets.invite_again(id);
                let due =
                    !account.gone && account.status == StatusKind::Pending && account.password.is_none();
                assert_eq!(issued.is_ok(), due, "{issued:?}");
                let first = account.contacts.keys().next().copied();
                if let Ok(issued) = issued {
                    self.model.add(new(Sent::of(&issued), first));
                }
            }
            Kind::Link | Kind::Unbound => {
                let sent = if kind == Kind::Link {
                    let link = tickets.request_magic_link(&account.login, &client).unwrap();
                    let browser = Some(link.browser().as_str().to_owned());
                    link.issued().map(|issued| Sent { browser, ..Sent::of(issued) })
                } else {
                    let issued = tickets.danger_request_unbound_magic_link(&account.login, &client);
                    issued.unwrap().as_ref().map(Sent::of)
                };
                assert_eq!(sent.is_some(), active && verified.is_some());
                if let Some(sent) = sent {
                    self.model.add(new(sent, verified));
                }
            }
            Kind::OldAddress | Kind::NewAddress => {
                let address = format!("new{}@x.org", self.model.tokens.len());
                let issued = tickets.change_email(id, contact, &address);
                assert_eq!(issued.is_ok(), active && there, "{issued:?}");
                let Ok(issued) = issued else { return };
                let first = self.model.tokens.len();
                for (kind, issued, twin) in
                    [(Kind::OldAddress, &issued.present, first + 1), (Kind::NewAddress, &issued.new, first)]
                {
                    let new_address = Some(address.clone());
                    let token = new(Sent::of(issued), Some(contact));
                    self.model.add(Token { kind, new_address, twin: Some(twin), ..token });
                }
            }
        }
    }

    fn spend(&mut self, number: usize, keep: bool) {
        let (tickets, client, now) = (self.gate.tickets(), Client::new(), self.clock.now());
        let good = self.model.is_good(number, now) && !self.model.tokens[number].confirmed;
        let Token { kind, sent, user, contact, new_address, twin, .. } = &self.model.tokens[number];
        let (kind, user, contact, twin, new_address) = (*kind, *user, *contact, *twin, new_address.clone());
        let (token, password) = (sent.token.clone(), format!("password number {number} of this run"));
        let id = self.model.users[user].id;
        let refused = |result: Result<(), portcullis::Error>| {
            let denied = result.as_ref().err().and_then(portcullis::Error::denial);
            assert_eq!(denied, (!good).then_some(Denial::Ticket), "{kind:?} {result:?}");
        };
        match kind {
            Kind::Verification | Kind::Activation => {
                refused(tickets.confirm_email(&token, &client).map(drop))
            }
            Kind::Reset if keep => {
                refused(tickets.reset_password_and_keep_sessions(&token, &password, None, &client).map(drop));
            }
            Kind::Reset => refused(tickets.reset_password(&token, &password, None, &client).map(drop)),
            Kind::Invitation => refused(tickets.accept_invitation(&token, &password, &client).map(drop)),
            Kind::Link | Kind::Unbound => {
                let step = tickets.login_with_link(&token, sent.browser.as_deref(), &client).unwrap();
                let login = match step {
                    LoginStep::Denied(denial) => {
                        assert_eq!(denial, Denial::Ticket);
                        None
                    }
                    step => Some(step.done().unwrap()),
                };
                assert_eq!(login.is_some(), good);
                if let Some(login) = login {
                    assert_eq!(login.user(), id);
                    self.model.users[user].sessions.push(login.token().as_str().to_owned());
                }
            }
            Kind::OldAddress | Kind::NewAddress => {
                let both = twin.is_some_and(|twin| self.model.tokens[twin].confirmed);
                let step = tickets.confirm_email_change(&token, &client);
                let done = matches!(step, Ok(EmailChangeStep::Done(_)));
                assert_eq!(done, good && both);
                refused(step.map(drop));
                if good && !both {
                    self.model.tokens[number].confirmed = true;
                    return;
                }
            }
        }
        if !good {
            // A link that opens anywhere and is presented again ends what it opened; the model follows the sessions.
            if kind == Kind::Unbound {
                self.model.users[user].sessions.retain(|token| self.gate.authenticate(token).is_ok());
            }
            return;
        }
        self.model.tokens[number].dead = true;
        match kind {
            Kind::Verification | Kind::Activation | Kind::Invitation => {
                if let Some(entry) =
                    contact.and_then(|contact| self.model.users[user].contacts.get_mut(&contact))
                {
                    entry.1 = true;
                }
                if kind != Kind::Verification {
                    self.model.users[user].status = StatusKind::Active;
                }
                if kind == Kind::Invitation {
                    self.model.users[user].password = Some(password);
                }
            }
            Kind::Reset => {
                self.model.users[user].password = Some(password);
                self.model.kill(user, |token| token.kind == Kind::Reset);
                if !keep {
                    self.model.raise(user);
                }
            }
            Kind::Link | Kind::Unbound => {}
            Kind::OldAddress | Kind::NewAddress => {
                if let Some(twin) = twin {
                    self.model.tokens[twin].dead = true;
                }
                let (Some(contact), Some(address)) = (contact, new_address) else { panic!() };
                self.model.users[user].contacts.insert(contact, (address, true));
                self.model.kill(user, |token| token.contact == Some(contact));
            }
        }
        // Who has a password has nothing to be invited to.
        if self.model.users[user].password.is_some() {
            self.model.kill(user, |token| token.kind == Kind::Invitation);
        }
    }

    fn step(&mut self, [what, who, how, more]: [u8; 4]) {
        let user = usize::from(who) % self.model.users.len();
        let id = self.model.users[user].id;
        let gone = self.model.users[user].gone;
        let token = usize::from(u16::from_be_bytes([how, more])) % self.model.tokens.len().max(1);
        let kind = crate::tickets::KINDS[usize::from(how) % 8];
        let users = self.gate.users();
        match what % 16 {
            0..=4 => self.issue(user, kind, usize::from(more)),
            5..=8 if !self.model.tokens.is_empty() => {
                // Mostly one that is good.
                let now = self.clock.now();
                let mut good: Vec<usize> =
                    (0..self.model.tokens.len()).filter(|number| self.model.is_good(*number, now)).collect();
                good.truncate(if more % 4 == 0 { 0 } else { good.len() });
                let picked = good.get(token % good.len().max(1)).copied().unwrap_or(token);
                self.spend(picked, who % 2 == 0);
            }
            // To an edge of some token's life.
            9 if !self.model.tokens.is_empty() => {
                let edge = self.model.tokens[token].expires.as_millis();
                let to = [edge - 1000, edge - 1, edge, edge + 1000][usize::from(who) % 4];
                if to > self.clock.now().as_millis() {
                    self.clock.set(Timestamp::from_millis(to));
                }
            }
            10 => {
                let password = format!("set to number {how} {more}");
                assert_eq!(users.set_password(id, &password).is_ok(), !gone);
                if !gone {
                    self.model.users[user].password = Some(password);
                    self.model.raise(user);
                }
            }
            11 => {
                let status = match how % 6 {
                    0 => Status::disabled("x"),
                    1 => Status::pending(),
                    _ => Status::active(),
                };
                assert_eq!(users.set_status(id, status.clone()).is_ok(), !gone);
                if !gone {
                    self.model.users[user].status = status.kind;
                    if status.kind != StatusKind::Active {
                        self.model.raise(user);
                    }
                }
            }
            12 => {
                let contact = ContactId::from_number(u32::from(how) % 3);
                let removed = users.remove_contact(id, contact).is_ok();
                assert_eq!(removed, self.model.users[user].contacts.remove(&contact).is_some() && !gone);
                self.model.kill(user, |token| removed && token.contact == Some(contact));
            }
            13 if !gone && self.model.users[user].contacts.len() < 3 => {
                let address = format!("more{how}{more}@x.org");
                let added = users.add_contact(id, &NewContact::email(address.as_str())).unwrap();
                let verified = more % 2 == 0;
                if verified {
                    users.verify_contact(id, added.id).unwrap();
                }
                self.model.users[user].contacts.insert(added.id, (address, verified));
            }
            14 => match how % 4 {
                0 if !gone => {
                    self.gate.sessions().revoke_all(id).unwrap();
                    self.model.raise(user);
                }
                1 if !gone => {
                    self.gate.tickets().revoke_all(id).unwrap();
                    self.model.kill(user, |_| true);
                }
                2 if !self.model.tokens.is_empty() => {
                    let number = self.model.tokens[token].sent.ticket;
                    if self.gate.tickets().revoke(number).is_ok() {
                        self.model.tokens[token].dead = true;
                        if let Some(twin) = self.model.tokens[token].twin {
                            self.model.tokens[twin].dead = true;
                        }
                    } else {
                        assert!(!self.model.is_good(token, self.clock.now()), "what is good can be revoked");
                    }
                }
                _ => drop(self.gate.maintain(50).unwrap()),
            },
            15 if how % 4 == 0 && !gone => {
                users.delete(id).unwrap();
                self.model.users[user].gone = true;
                self.model.raise(user);
                self.create(if more % 2 == 0 { StatusKind::Active } else { StatusKind::Pending });
            }
            _ => self.clock.advance(Duration::from_secs(u64::from(more) * 60)),
        }
    }

    /// Every token is good or not as the model says, and so is every password and session.
    fn compare(&self) {
        let now = self.clock.now();
        for (number, token) in self.model.tokens.iter().enumerate() {
            let found = self.gate.tickets().preview(&token.sent.token).unwrap();
            // A new address that has confirmed is done; the present one can still refuse.
            let open = !(token.kind == Kind::NewAddress && token.confirmed);
            let due = self.model.is_good(number, now) && open;
            assert_eq!(found.is_some(), due, "{number} {:?} of {}", token.kind, token.user);
        }
        for (user, account) in self.model.users.iter().enumerate().filter(|(_, account)| !account.gone) {
            let listed = all(|page| self.gate.tickets().of_user(account.id, page)).len();
            let good = (0..self.model.tokens.len()).filter(|number| {
                let token = &self.model.tokens[*number];
                token.user == user && token.kind != Kind::NewAddress && self.model.is_good(*number, now)
            });
            assert_eq!(listed, good.count());
            assert_eq!(self.gate.users().get(account.id).unwrap().status.kind, account.status);
            let contacts: BTreeMap<ContactId, (String, bool)> =
                all(|page| self.gate.users().contacts(account.id, page))
                    .into_iter()
                    .map(|contact| (contact.id, (contact.value, contact.verified.is_some())))
                    .collect();
            assert_eq!(contacts, account.contacts);
        }
    }

    fn finish(&self) {
        for account in self.model.users.iter().filter(|account| !account.gone) {
            if let Some(password) = &account.password {
                let active = account.status == StatusKind::Active;
                assert_eq!(log_in(&self.gate, &account.login, password).is_ok(), active);
            }
        }
        sound(&self.gate);
    }

    /// No session that a link did not open, and none that has ended. The model knows no limits of time.
    fn sessions(&self) {
        let live = all(|page| self.gate.sessions().by_expiry(page));
        for account in &self.model.users {
            let mine = live.iter().filter(|session| session.user == account.id).count();
            let known = account.sessions.iter().filter(|token| self.gate.authenticate(token).is_ok()).count();
            assert_eq!(mine, known, "{}", account.login);
        }
    }
}

/// So many cases unless the environment says otherwise, from a new random start each time.
fn cases(usual: u32, run: fn(&[[u8; 4]])) {
    let config = Config { failure_persistence: None, ..Config::default() };
    let cases = if config.cases == 256 { usual } else { config.cases };
    let operations = proptest::collection::vec(any::<[u8; 4]>(), 1..250);
    let result = TestRunner::new(Config { cases, ..config }).run(&operations, |operations| {
        run(&operations);
        Ok(())
    });
    result.unwrap();
}

#[test]
fn random_sequences_agree_with_a_model_in_memory() {
    cases(100, |operations| {
        let world = crate::support::world();
        let mut run = Run::new(world.gate, world.clock);
        for operation in operations {
            run.step(*operation);
            run.compare();
            run.sessions();
        }
        run.finish();
    });
}

#[test]
fn random_sequences_agree_with_a_model_on_disk_over_restarts() {
    cases(20, |operations| {
        let disk = Disk::new();
        let mut run = Run::new(disk.open(), disk.clock.clone());
        for (number, operation) in operations.iter().enumerate() {
            run.step(*operation);
            if number % 20 == 19 {
                run.gate.close().unwrap();
                run.gate = disk.open();
            }
            run.compare();
        }
        run.finish();
    });
}
