//! The steps of a login against a naive model: right and wrong answers in any order, while time passes, the account is
//! disabled, its password changes, and its factors come and go.

use crate::factors::keys;
use crate::support::{World, is_live, later, sound, world_with};
use portcullis::testing::totp_code;
use portcullis::{
    Answer, Client, Credentials, Denial, ErrorKind, FactorId, LoginStep, SessionLimits, Status,
    ThrottlePolicy, Timestamp, UserId,
};
use proptest::prelude::*;
use std::time::Duration;

const PASSWORDS: [&str; 3] =
    ["correct horse battery staple", "another horse, another battery", "a third horse with batteries"];

#[derive(Clone, Copy, Debug)]
enum Code {
    /// Of so many steps ago.
    Ago(u64),
    Wrong,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Start { right: bool },
    Totp { challenge: usize, code: Code },
    Recovery { challenge: usize, code: usize },
    NewPassword { challenge: usize, password: usize },
    Wait(u64),
    Disable,
    Enable,
    SetPassword(usize),
    Compromised,
    Enrol,
    Remove,
    IssueCodes,
    RevokeAll,
    Maintain,
}

fn ops() -> impl Strategy<Value = Op> {
    let code = prop_oneof![4 => Just(Code::Ago(0)), 2 => Just(Code::Ago(1)), 1 => Just(Code::Ago(2)), 2 => Just(Code::Wrong)];
    prop_oneof![
        5 => any::<bool>().prop_map(|right| Op::Start { right }),
        3 => Just(Op::Start { right: true }),
        6 => (0..4usize, code).prop_map(|(challenge, code)| Op::Totp { challenge, code }),
        2 => (0..4usize, 0..4usize).prop_map(|(challenge, code)| Op::Recovery { challenge, code }),
        3 => (0..4usize, 0..3usize).prop_map(|(challenge, password)| Op::NewPassword { challenge, password }),
        3 => prop_oneof![Just(5u64), Just(30), Just(61), Just(400)].prop_map(Op::Wait),
        1 => Just(Op::Disable),
        2 => Just(Op::Enable),
        1 => (0..3usize).prop_map(Op::SetPassword),
        1 => Just(Op::Compromised),
        2 => Just(Op::Enrol),
        1 => Just(Op::Remove),
        1 => Just(Op::IssueCodes),
        1 => Just(Op::RevokeAll),
        1 => Just(Op::Maintain),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Factor,
    Password,
}

/// What a step must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Done,
    Factor,
    Password,
    Denied(Denial),
}

struct Under {
    token: String,
    wanted: Wanted,
    epoch: u32,
    revision: u32,
    second: bool,
    expires: Timestamp,
    failures: u8,
}

struct App {
    id: FactorId,
    secret: String,
    spent: u64,
}

struct Model {
    world: World,
    user: UserId,
    password: usize,
    revision: u32,
    epoch: u32,
    active: bool,
    must_change: bool,
    app: Option<App>,
    codes: Vec<String>,
    under_way: Vec<Under>,
    sessions: Vec<(String, u32)>,
}

impl Model {
    fn new() -> Self {
        let limits = SessionLimits::new(None, Duration::from_secs(30 * 86_400)).unwrap();
        let world = world_with(|builder| {
            builder.keys(keys()).session_limits(limits).throttle(ThrottlePolicy::new().danger_off())
        });
        let user = world.user("ada").id;
        Self {
            world,
            user,
            password: 0,
            revision: 0,
            epoch: 0,
            active: true,
            must_change: false,
            app: None,
            codes: Vec::new(),
            under_way: Vec::new(),
            sessions: Vec::new(),
        }
    }

    fn now(&self) -> Timestamp {
        self.world.gate.now()
    }

    /// What is asked for next of whoever has proved the password, and perhaps a factor.
    fn next(&self, second: bool) -> Due {
        match () {
            () if self.app.is_some() && !second => Due::Factor,
            () if self.must_change => Due::Password,
            () => Due::Done,
        }
    }

    /// Compares a step with what is due, and takes over what it gave.
    fn take(&mut self, step: LoginStep, due: Due, second: bool, former: Option<(Timestamp, u8)>) {
        let (expires, failures) = former.unwrap_or_else(|| (later(self.now(), 600), 0));
        let (wanted, challenge) = match (step, due) {
            (LoginStep::Done(login), Due::Done) => {
                assert_eq!(login.user(), self.user);
                if let Some(code) = login.new_recovery_code() {
                    self.codes.push(code.as_str().to_owned());
                }
                self.sessions.push((login.token().as_str().to_owned(), self.epoch));
                return;
            }
            (LoginStep::Denied(denial), Due::Denied(expected)) => return assert_eq!(denial, expected),
            (LoginStep::NeedsFactor(challenge), Due::Factor) => (Wanted::Factor, challenge),
            (LoginStep::MustChangePassword(challenge), Due::Password) => (Wanted::Password, challenge),
            (step, due) => panic!("{step:?} where {due:?} is due"),
        };
        if let Some(code) = challenge.new_recovery_code() {
            self.codes.push(code.as_str().to_owned());
        }
        assert_eq!(challenge.expires(), expires);
        if self.under_way.len() >= 8 {
            self.under_way.remove(0);
        }
        self.under_way.push(Under {
            token: challenge.token().as_str().to_owned(),
            wanted,
            epoch: self.epoch,
            revision: self.revision,
            second,
            expires,
            failures,
        });
    }

    fn start(&mut self, right: bool) {
        let password = if right { PASSWORDS[self.password] } else { "a wrong horse and no battery" };
        let step =
            self.world.gate.start_login(&Credentials::password("ADA", password), &Client::new()).unwrap();
        let due = if right && self.active { self.next(false) } else { Due::Denied(Denial::Credentials) };
        self.take(step, due, false, None);
    }

    /// Answers the challenge of that number counted from the newest, where there is one; `right` says whether the answer
    /// is, and does what it spends.
    fn answer(
        &mut self,
        number: usize,
        wanted: Wanted,
        answer: &Answer,
        refused: bool,
        right: impl FnOnce(&mut Self) -> bool,
    ) {
        let Some(place) = self.under_way.len().checked_sub(number + 1) else { return };
        let token = self.under_way[place].token.clone();
        let result = self.world.gate.answer(&token, answer, &Client::new());
        let under = &mut self.under_way[place];
        if under.expires <= self.world.gate.now() {
            return self.take(result.unwrap(), Due::Denied(Denial::Challenge), false, None);
        }
        let denied = Due::Denied(Denial::Credentials);
        if under.wanted == wanted {
            if wanted == Wanted::Password && refused {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
                return;
            }
            // Whoever made no second step changes no password of one who has a factor by now.
            let weak = wanted == Wanted::Password && !under.second && self.app.is_some();
            let stale = under.revision != self.revision || under.epoch != self.epoch || weak;
            if stale || !self.active {
                return self.take(result.unwrap(), denied, false, None);
            }
            if right(self) {
                let under = self.under_way.remove(place);
                let second = under.second || wanted == Wanted::Factor;
                let due = self.next(second);
                return self.take(result.unwrap(), due, second, Some((under.expires, under.failures)));
            }
        }
        self.take(result.unwrap(), denied, false, None);
        let under = &mut self.under_way[place];
        under.failures += 1;
        if under.failures >= 5 {
            self.under_way.remove(place);
        }
    }

    fn totp(&mut self, challenge: usize, code: Code) {
        let now = self.now().as_secs();
        let (text, step) = match (code, &self.app) {
            (Code::Ago(ago), Some(app)) => {
                let step = now / 30 - ago;
                (totp_code(&app.secret, Timestamp::from_millis(step * 30_000)).unwrap(), Some(step))
            }
            _ => ("x00000".to_owned(), None),
        };
        self.answer(challenge, Wanted::Factor, &Answer::totp(text), false, |model| {
            let (Some(app), Some(step)) = (&mut model.app, step) else { return false };
            let fine = step + 1 >= now / 30 && step > app.spent;
            if fine {
                app.spent = step;
            }
            fine
        });
    }

    fn recovery(&mut self, challenge: usize, code: usize) {
        let Some(text) = self.codes.get(code).cloned() else { return };
        self.answer(challenge, Wanted::Factor, &Answer::recovery_code(text), false, |model| {
            model.codes.remove(code);
            true
        });
    }

    fn new_password(&mut self, challenge: usize, password: usize) {
        let same = self.must_change && password == self.password;
        let answer = Answer::new_password(PASSWORDS[password]);
        self.answer(challenge, Wanted::Password, &answer, same, |model| {
            model.changed(password);
            true
        });
    }

    fn changed(&mut self, password: usize) {
        self.password = password;
        self.revision += 1;
        self.epoch += 1;
        self.must_change = false;
    }

    fn apply(&mut self, op: Op) {
        // Challenges are told apart by their age.
        self.world.clock.advance(Duration::from_millis(1));
        match op {
            Op::Start { right } => self.start(right),
            Op::Totp { challenge, code } => self.totp(challenge, code),
            Op::Recovery { challenge, code } => self.recovery(challenge, code),
            Op::NewPassword { challenge, password } => self.new_password(challenge, password),
            Op::Wait(seconds) => self.world.after(seconds),
            Op::Disable => {
                self.world.gate.users().set_status(self.user, Status::disabled("away")).unwrap();
                self.active = false;
                self.epoch += 1;
            }
            Op::Enable => {
                self.world.gate.users().set_status(self.user, Status::active()).unwrap();
                self.active = true;
            }
            Op::SetPassword(password) => {
                let result = self.world.gate.users().set_password(self.user, PASSWORDS[password]);
                if self.must_change && password == self.password {
                    assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
                } else {
                    result.unwrap();
                    self.changed(password);
                }
            }
            Op::Compromised => {
                self.world.gate.users().mark_password_compromised(self.user).unwrap();
                self.must_change = true;
                self.epoch += 1;
            }
            Op::Enrol if self.app.is_none() => {
                let factors = self.world.gate.factors();
                let enrolment = factors.enrol_totp(self.user, "").unwrap();
                let code = totp_code(enrolment.secret(), self.now()).unwrap();
                factors.confirm_totp(self.user, enrolment.factor(), &code).unwrap();
                let (id, secret) = (enrolment.factor(), enrolment.secret().to_owned());
                self.app = Some(App { id, secret, spent: self.now().as_secs() / 30 });
            }
            Op::Enrol => {}
            Op::Remove => {
                if let Some(app) = self.app.take() {
                    self.world.gate.factors().remove(self.user, app.id).unwrap();
                }
            }
            Op::IssueCodes => {
                let codes = self.world.gate.factors().issue_recovery_codes(self.user).unwrap();
                self.codes = codes.iter().map(|code| code.as_str().to_owned()).collect();
            }
            Op::RevokeAll => {
                self.world.gate.sessions().revoke_all(self.user).unwrap();
                self.epoch += 1;
            }
            Op::Maintain => {
                let now = self.now();
                let before = self.under_way.len();
                self.under_way.retain(|under| under.expires > now);
                let done = self.world.gate.maintain(1000).unwrap();
                assert_eq!(done.abandoned_logins, before - self.under_way.len());
            }
        }
        for (token, epoch) in &self.sessions {
            assert_eq!(is_live(&self.world.gate, token), self.active && *epoch == self.epoch, "{op:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn logins_go_as_in_the_model(ops in prop::collection::vec(ops(), 1..60)) {
        let mut model = Model::new();
        for op in ops {
            model.apply(op);
        }
        sound(&model.world.gate);
    }
}
