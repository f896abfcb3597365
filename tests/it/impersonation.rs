//! An administrator who acts as a user: who may, what it comes to, what it leaves to the user, and what the log has.

use crate::support::{
    OTHER, PASSWORD, World, all, backwards, everything, is_live, refused, sound, world_with,
};
use portcullis::{
    Actor, Answer, Assurance, AuditKind, Builder, CheckContext, Client, Denial, ErrorKind, EventKind,
    Finding, FlagTarget, Grant, Impersonation, ImpersonationPolicy, KeyId, Keyring, Login, NewContact,
    NewUser, Notification, Outcome, Permission, PermissionSet, Portcullis, Result, RoleChange, ScopeId,
    Status, Subject, UserChange, UserId,
};
use std::time::Duration;

/// Kinds that the other lists of operations do not have.
pub(crate) const KINDS: [AuditKind; 2] = [AuditKind::ImpersonationStarted, AuditKind::ImpersonationRefused];

pub(crate) fn policy() -> ImpersonationPolicy {
    ImpersonationPolicy::new("act").beyond_own_rights("beyond")
}

pub(crate) fn with_policy(builder: Builder) -> Builder {
    builder.impersonation(policy()).keys(Keyring::new(KeyId::new(1), &[7; 32]).unwrap())
}

pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) admin: UserId,
    pub(crate) bob: UserId,
    pub(crate) act: Permission,
    pub(crate) beyond: Permission,
    pub(crate) read: Permission,
    pub(crate) write: Permission,
    pub(crate) audit: Permission,
    pub(crate) own: Login,
}

/// Ada may act as others, read and audit; bob may read and write.
pub(crate) fn scene_with(settings: impl FnOnce(Builder) -> Builder) -> Scene {
    let world = world_with(|builder| settings(with_policy(builder)));
    let (admin, bob) = (world.user("ada").id, world.user("bob").id);
    let names = ["act", "beyond", "read", "write", "audit"];
    let bits = world.gate.permissions().define_many(names).unwrap();
    let [act, beyond, read, write, audit] = bits[..] else { panic!() };
    for (user, permissions) in [(admin, [act, read, audit].as_slice()), (bob, &[read, write])] {
        for permission in permissions {
            world.gate.access().grant(user, *permission, &Grant::new()).unwrap();
        }
    }
    let own = world.login("ada");
    Scene { world, admin, bob, act, beyond, read, write, audit, own }
}

pub(crate) fn scene() -> Scene {
    scene_with(|builder| builder)
}

impl Scene {
    pub(crate) fn gate(&self) -> &Portcullis {
        &self.world.gate
    }

    pub(crate) fn act_as(&self, user: UserId) -> Result<Login> {
        let whom = Impersonation::of(user, "ticket 4711");
        self.gate().impersonate(self.own.token(), &whom, &Client::new())
    }

    pub(crate) fn go_beyond(&self, user: UserId) -> Result<Login> {
        let whom = Impersonation::of(user, "ticket 4711").beyond_own_rights();
        self.gate().impersonate(self.own.token(), &whom, &Client::new())
    }

    fn give(&self, user: UserId, permission: Permission) {
        self.gate().access().grant(user, permission, &Grant::new()).unwrap();
    }

    fn take(&self, user: UserId, permission: Permission) {
        self.gate().access().withdraw(user, permission, ScopeId::ROOT).unwrap();
    }

    fn may(&self, login: &Login) -> Vec<Permission> {
        let all = [self.act, self.beyond, self.read, self.write, self.audit];
        let Ok(who) = self.gate().authenticate(login.token()) else { return Vec::new() };
        all.into_iter()
            .filter(|permission| {
                let (may, one) = (who.can(*permission), PermissionSet::from_iter([*permission]));
                assert_eq!(who.can_at(*permission, ScopeId::ROOT), may);
                assert_eq!((who.can_all(&one), who.can_all_at(&one, ScopeId::ROOT)), (may, may));
                assert_eq!(who.check(*permission).unwrap().is_allowed(), may);
                assert_eq!(who.check_at(*permission, ScopeId::ROOT).unwrap().is_allowed(), may);
                assert_eq!(who.require(*permission).is_ok(), may);
                let listed = self.gate().sessions().permissions(who.session()).unwrap();
                assert_eq!(listed.contains(*permission), may, "{listed:?}");
                let review = self.gate().review();
                let told = review.explain_session(who.session(), *permission, ScopeId::ROOT).unwrap();
                assert_eq!(told.decision.is_allowed(), may, "{told}");
                may
            })
            .collect()
    }

    /// The session is told as no session at all.
    #[track_caller]
    fn over(&self, login: &Login) {
        assert!(!is_live(self.gate(), login.token().as_str()));
        assert!(all(|page| self.gate().sessions().of_user(login.user(), page)).is_empty());
        sound(self.gate());
    }

    #[track_caller]
    pub(crate) fn last(&self, kind: AuditKind) -> portcullis::AuditRecord {
        let last = backwards(|page| self.gate().audit().list(page)).remove(0);
        assert_eq!(last.kind, kind, "{last}");
        last
    }
}

#[track_caller]
pub(crate) fn denied<T: std::fmt::Debug>(result: Result<T>, denial: Denial) {
    assert_eq!(result.unwrap_err().denial(), Some(denial));
}

#[test]
fn it_opens_a_session_of_the_user_that_says_who_acts() {
    let s = scene();
    let events = s.gate().subscribe(16).unwrap();
    let (devices, history) = (s.gate().devices(), s.gate().history());
    let login = s.act_as(s.bob).unwrap();
    let session = login.session().clone();
    assert_eq!((session.user, login.user(), login.device_token().is_none()), (s.bob, s.bob, true));
    let by = session.impersonator.unwrap();
    assert_eq!((by.user, by.session, by.permission), (s.admin, s.own.session().id, s.act));
    assert_eq!((by.at, by.beyond), (ScopeId::ROOT, None));
    assert_eq!(
        (session.methods, session.authenticated),
        (s.own.session().methods, s.own.session().authenticated)
    );
    let principal = s.gate().authenticate(login.token()).unwrap();
    assert_eq!((principal.user(), principal.impersonator()), (s.bob, Some(s.admin)));
    assert_eq!(all(|page| s.gate().sessions().of_user(s.bob, page)), std::slice::from_ref(&session));
    // It is no login of bob's, on no device of his.
    assert!(all(|page| devices.of_user(s.bob, page)).is_empty());
    assert!(all(|page| history.of_user(s.bob, page)).is_empty());
    let Some(Notification::Event(event)) = events.try_next() else { panic!() };
    assert_eq!((event.kind, event.user), (EventKind::Impersonated(s.admin), Some(s.bob)));
    assert_eq!(event.session, Some(session.id));
    let told = s.last(AuditKind::ImpersonationStarted);
    assert_eq!((told.actor, told.impersonator), (Actor::User(s.admin), None));
    assert_eq!((told.subject, told.object), (Some(Subject::User(s.bob)), Some(Subject::Session(session.id))));
    assert_eq!(told.detail, "ticket 4711");
    sound(s.gate());
}

#[test]
fn each_check_is_one_of_both() {
    let s = scene();
    let login = s.act_as(s.bob).unwrap();
    assert_eq!(s.may(&login), [s.read]);
    s.give(s.bob, s.audit);
    assert_eq!(s.may(&login), [s.read, s.audit]);
    s.give(s.admin, s.write);
    assert_eq!(s.may(&login), [s.read, s.write, s.audit]);
    s.take(s.admin, s.read);
    assert_eq!(s.may(&login), [s.write, s.audit]);
    s.take(s.bob, s.write);
    assert_eq!(s.may(&login), [s.audit]);
    // The roles that are active in the session behind count, and not all that its user has.
    let role = s.gate().roles().create("reader", [s.act, s.read]).unwrap();
    s.gate().roles().assign(s.admin, role).unwrap();
    let who = portcullis::Credentials::password("ada", PASSWORD);
    let narrow = s.gate().login_with_roles(&who, &Client::new(), [role]).unwrap();
    let whom = Impersonation::of(s.bob, "why");
    let login = s.gate().impersonate(narrow.token(), &whom, &Client::new()).unwrap();
    assert_eq!(s.may(&login), [s.read]);
    // On behalf of a third one it takes all three.
    let eve = s.world.user("eve").id;
    let principal = s.gate().authenticate(login.token()).unwrap();
    assert!(!principal.can_on_behalf_of(eve, s.read, ScopeId::ROOT));
    s.give(eve, s.read);
    assert!(principal.can_on_behalf_of(eve, s.read, ScopeId::ROOT));
    s.take(s.bob, s.read);
    assert!(!principal.can_on_behalf_of(eve, s.read, ScopeId::ROOT));
    sound(s.gate());
}

#[test]
fn an_explanation_names_who_stands_in_the_way() {
    let s = scene();
    let login = s.act_as(s.bob).unwrap();
    let told = s.gate().review().explain_session(login.session().id, s.write, ScopeId::ROOT).unwrap();
    assert_eq!(told.findings, [Finding::NotTheImpersonator(s.admin)]);
    assert!(told.to_string().contains(&format!("{} acts in the session", s.admin)), "{told}");
}

#[test]
fn flags_are_those_of_the_user_while_the_session_stands() {
    let s = scene();
    let flag = s.gate().flags().define("new").unwrap();
    s.gate().flags().turn_on(flag, FlagTarget::User(s.bob)).unwrap();
    let login = s.act_as(s.bob).unwrap();
    let principal = s.gate().authenticate(login.token()).unwrap();
    assert!(principal.is_enabled(flag) && !s.gate().authenticate(s.own.token()).unwrap().is_enabled(flag));
    let explain = || s.gate().flags().explain_session(flag, principal.session(), ScopeId::ROOT);
    assert!(explain().unwrap().enabled);
    s.take(s.admin, s.act);
    assert!(!principal.is_enabled(flag));
    refused(explain(), ErrorKind::NotFound, Some("session"));
}

#[test]
fn beyond_their_own_rights_only_with_the_permission_for_that_and_where_it_is_held() {
    let s = scene();
    denied(s.go_beyond(s.bob), Denial::Permission);
    s.give(s.admin, s.beyond);
    let (plain, login) = (s.act_as(s.bob).unwrap(), s.go_beyond(s.bob).unwrap());
    assert_eq!((s.may(&login), s.may(&plain)), (vec![s.read, s.write], vec![s.read]));
    s.take(s.admin, s.beyond);
    assert_eq!(s.may(&login), [s.read]);
    s.give(s.admin, s.beyond);
    assert_eq!(s.may(&login), [s.read, s.write]);
    assert!(s.last(AuditKind::AccessGranted).sequence > 0);
    let told = all(|page| s.gate().audit().by_kind(AuditKind::ImpersonationStarted, page));
    assert_eq!(told[1].detail, "beyond own rights: ticket 4711");

    // Held at one tenant, it reaches what lies there and nothing else.
    s.take(s.admin, s.beyond);
    let [here, there] = ["here", "there"].map(|name| s.gate().scopes().ensure(name).unwrap());
    let eve = s.gate().users().create(NewUser::new("eve").home(here)).unwrap().id;
    for scope in [here, there] {
        s.gate().access().grant(eve, s.write, &Grant::new().at(scope)).unwrap();
    }
    s.gate().access().grant(s.admin, s.beyond, &Grant::new().at(here)).unwrap();
    let login = s.go_beyond(eve).unwrap();
    let principal = s.gate().authenticate(login.token()).unwrap();
    assert!(principal.can_at(s.write, here) && !principal.can_at(s.write, there));
    for (scope, may) in [(here, true), (there, false)] {
        let listed = s.gate().sessions().permissions_at(principal.session(), scope).unwrap();
        assert_eq!(listed.contains(s.write), may);
    }
    sound(s.gate());
}

#[test]
fn the_permission_is_asked_for_at_the_home_of_the_user() {
    let s = scene();
    let [acme, other] = ["acme", "other"].map(|name| s.gate().scopes().ensure(name).unwrap());
    let [eve, fay] = [("eve", acme), ("fay", other)]
        .map(|(name, home)| s.gate().users().create(NewUser::new(name).home(home)).unwrap().id);
    s.take(s.admin, s.act);
    s.gate().access().grant(s.admin, s.act, &Grant::new().at(acme)).unwrap();
    let login = s.act_as(eve).unwrap();
    assert!(is_live(s.gate(), login.token().as_str()));
    for user in [fay, s.bob, UserId::from_number(999)] {
        denied(s.act_as(user), Denial::Permission);
    }
    // Whoever is given another home is no longer theirs to act as.
    let same = UserChange::new().home(acme);
    s.gate().users().update(eve, same).unwrap();
    assert!(is_live(s.gate(), login.token().as_str()));
    s.gate().users().update(eve, UserChange::new().home(other)).unwrap();
    s.over(&login);
    let kinds = backwards(|page| s.gate().audit().list(page));
    assert!(kinds[..2].iter().any(|record| record.kind == AuditKind::SessionsRevoked));
    // A home that is deleted is nobody's.
    s.gate().users().update(eve, UserChange::new().home(acme)).unwrap();
    let login = s.act_as(eve).unwrap();
    s.gate().scopes().delete(acme).unwrap();
    assert!(!is_live(s.gate(), login.token().as_str()));
}

#[test]
fn it_ends_with_the_session_that_it_was_begun_in() {
    let ends: [fn(&Scene); 8] = [
        |s| s.gate().sessions().revoke(s.own.session().id).unwrap(),
        |s| s.gate().sessions().revoke_all(s.admin).unwrap(),
        |s| s.gate().sessions().revoke_everything().unwrap(),
        |s| drop(s.gate().users().set_status(s.admin, Status::disabled("out")).unwrap()),
        |s| s.gate().users().set_password(s.admin, OTHER).unwrap(),
        |s| s.gate().users().delete(s.admin).unwrap(),
        |s| s.gate().sessions().revoke_all(s.bob).unwrap(),
        |s| drop(s.gate().users().set_status(s.bob, Status::disabled("out")).unwrap()),
    ];
    for (number, end) in ends.iter().enumerate() {
        let s = scene();
        let login = s.act_as(s.bob).unwrap();
        let principal = s.gate().authenticate(login.token()).unwrap();
        assert!(principal.can(s.read));
        end(&s);
        assert!(!principal.can(s.read), "{number}");
        denied(principal.require(s.read), Denial::Session);
        denied(principal.require(s.write), Denial::Session);
        s.over(&login);
        refused(s.gate().sessions().get(login.session().id), ErrorKind::NotFound, Some("session"));
        // It does not come back.
        if number != 5 {
            s.gate().users().set_status(s.admin, Status::active()).unwrap();
        }
        s.gate().users().set_status(s.bob, Status::active()).unwrap();
        s.over(&login);
    }
}

#[test]
fn it_lives_no_longer_than_the_policy_and_the_session_behind_say() {
    let s = scene_with(|builder| builder.impersonation(policy().life(Duration::from_secs(600)).unwrap()));
    let login = s.act_as(s.bob).unwrap();
    s.world.after(599);
    assert_eq!(s.may(&login), [s.read]);
    s.world.after(1);
    s.over(&login);
    // The session behind idles away, for a use of the other is no use of it.
    let s = scene_with(|builder| builder.impersonation(policy().life(Duration::from_secs(7200)).unwrap()));
    let login = s.act_as(s.bob).unwrap();
    for _ in 0..4 {
        s.world.after(899);
        assert_eq!(s.may(&login), [s.read]);
    }
    s.world.after(4);
    s.over(&login);
    // At its end at the latest.
    let s = scene_with(|builder| {
        let limits = portcullis::SessionLimits::new(None, Duration::from_secs(1000)).unwrap();
        builder.session_limits(limits)
    });
    s.world.after(900);
    let login = s.act_as(s.bob).unwrap();
    assert_eq!(login.session().expires, s.own.session().expires);
    for life in [0, 59, 86_401] {
        let wrong = policy().life(Duration::from_secs(life));
        refused(wrong, ErrorKind::InvalidInput, Some("impersonation.life"));
    }
}

#[test]
fn the_user_and_whoever_acts_can_end_it() {
    let s = scene();
    let login = s.act_as(s.bob).unwrap();
    s.gate().acting_as(s.bob).sessions().revoke(login.session().id).unwrap();
    s.over(&login);
    assert!(is_live(s.gate(), s.own.token().as_str()));
    let login = s.act_as(s.bob).unwrap();
    let principal = s.gate().authenticate(login.token()).unwrap();
    s.gate().acting_for(&principal).sessions().revoke(principal.session()).unwrap();
    let told = s.last(AuditKind::SessionRevoked);
    assert_eq!((told.actor, told.impersonator), (Actor::User(s.bob), Some(s.admin)));
    s.over(&login);
}

/// While the permission is not held nothing can be done in it, and it can be seen and ended all the same.
#[test]
fn without_the_permission_it_opens_nothing() {
    let s = scene();
    let login = s.act_as(s.bob).unwrap();
    let principal = s.gate().authenticate(login.token()).unwrap();
    s.take(s.admin, s.act);
    assert!(!principal.can(s.read) && !is_live(s.gate(), login.token().as_str()));
    assert!(s.gate().sessions().permissions(login.session().id).unwrap().is_empty());
    assert_eq!(all(|page| s.gate().sessions().of_user(s.bob, page)).len(), 1);
    s.give(s.admin, s.act);
    assert_eq!(s.may(&login), [s.read]);
    s.take(s.admin, s.act);
    s.gate().sessions().revoke(login.session().id).unwrap();
    s.give(s.admin, s.act);
    s.over(&login);
}

#[test]
fn nobody_acts_as_somebody_who_acts_as_somebody() {
    let s = scene();
    let eve = s.world.user("eve").id;
    s.give(s.bob, s.act);
    let login = s.act_as(s.bob).unwrap();
    let principal = s.gate().authenticate(login.token()).unwrap();
    assert!(principal.can(s.act));
    let whom = Impersonation::of(eve, "further");
    let acting = s.gate().acting_for(&principal);
    for gate in [s.gate(), &s.gate().acting_as(s.admin), &s.gate().acting_as(s.bob), &acting] {
        let before = everything(s.gate());
        denied(gate.impersonate(login.token(), &whom, &Client::new()), Denial::Impersonated);
        assert_eq!(everything(s.gate())[1..], before[1..]);
        let told = s.last(AuditKind::ImpersonationRefused);
        assert_eq!((told.actor, told.impersonator), (Actor::User(s.bob), Some(s.admin)));
        assert_eq!((told.subject, told.outcome), (Some(Subject::User(eve)), Outcome::Denied));
    }
    // A handle that acts for somebody is no way round, with whichever name.
    for gate in [acting.clone(), acting.acting_as(s.admin), acting.acting_as(eve)] {
        denied(gate.impersonate(s.own.token(), &whom, &Client::new()), Denial::Impersonated);
    }
    denied(s.gate().delegated(s.admin).impersonate(s.own.token(), &whom, &Client::new()), Denial::Delegation);
    denied(acting.delegated(s.admin).impersonate(s.own.token(), &whom, &Client::new()), Denial::Delegation);
    assert!(all(|page| s.gate().sessions().of_user(eve, page)).is_empty());
}

#[test]
fn who_may_not_is_refused_and_told_nothing() {
    let s = scene();
    let nobody = UserId::from_number(4242);
    refused(s.act_as(nobody), ErrorKind::NotFound, Some("user"));
    refused(s.act_as(s.admin), ErrorKind::InvalidInput, Some("user"));
    s.gate().users().set_status(s.bob, Status::disabled("gone")).unwrap();
    refused(s.act_as(s.bob), ErrorKind::InvalidInput, Some("user"));
    s.take(s.admin, s.act);
    for user in [s.bob, s.admin, nobody] {
        denied(s.act_as(user), Denial::Permission);
        let told = s.last(AuditKind::ImpersonationRefused);
        assert_eq!((told.actor, told.subject), (Actor::User(s.admin), Some(Subject::User(user))));
    }
    let whom = Impersonation::of(s.bob, "why");
    denied(s.gate().impersonate("no token", &whom, &Client::new()), Denial::Session);
    for reason in ["", "  ", "a\nb", &"x".repeat(257)] {
        let whom = Impersonation::of(s.bob, reason);
        let found = s.gate().impersonate(s.own.token(), &whom, &Client::new());
        refused(found, ErrorKind::InvalidInput, Some("reason"));
    }
    let client = Client::new().device("x".repeat(129));
    let found = s.gate().impersonate(s.own.token(), &whom, &client);
    refused(found, ErrorKind::InvalidInput, Some("client.device"));
}

#[test]
fn without_a_setting_nobody_may_and_a_permission_that_is_not_defined_is_held_by_nobody() {
    let world = world_with(|builder| builder);
    let (_, bob) = (world.user("ada"), world.user("bob").id);
    let own = world.login("ada");
    let whom = Impersonation::of(bob, "why");
    denied(world.gate.impersonate(own.token(), &whom, &Client::new()), Denial::Permission);
    let world = world_with(with_policy);
    let (_, bob) = (world.user("ada"), world.user("bob").id);
    let own = world.login("ada");
    let whom = Impersonation::of(bob, "why");
    denied(world.gate.impersonate(own.token(), &whom, &Client::new()), Denial::Permission);
    for policy in [ImpersonationPolicy::new(""), ImpersonationPolicy::new("act").beyond_own_rights(" x")] {
        let opened = Portcullis::builder().impersonation(policy).in_memory();
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    // Beyond without a name for that.
    let s = scene_with(|builder| builder.impersonation(ImpersonationPolicy::new("act")));
    s.give(s.admin, s.beyond);
    denied(s.go_beyond(s.bob), Denial::Permission);
}

#[test]
fn a_role_that_asks_for_two_factors_asks_whoever_acts() {
    let s = scene();
    let role = s.gate().roles().create("payer", [s.write]).unwrap();
    s.gate().roles().update(role, RoleChange::new().assurance(Assurance::Two)).unwrap();
    let weak = s.act_as(s.bob).unwrap();
    s.gate().roles().assign(s.bob, role).unwrap();
    s.over(&weak);
    denied(s.act_as(s.bob), Denial::FactorRequired);
    assert!(s.last(AuditKind::ImpersonationRefused).detail.contains("second factor"));
    let paper = s.gate().factors().issue_recovery_codes(s.admin).unwrap();
    let phone = s.gate().users().add_contact(s.admin, &NewContact::phone("+44 20").verified()).unwrap();
    s.gate().factors().enrol_contact(s.admin, phone.id, "").unwrap();
    let who = portcullis::Credentials::password("ada", PASSWORD);
    let step = s.gate().start_login(&who, &Client::new()).unwrap();
    let portcullis::LoginStep::NeedsFactor(challenge) = step else { panic!("{step:?}") };
    let code = Answer::recovery_code(paper[0].as_str());
    let own = s.gate().answer(&challenge, &code, &Client::new()).unwrap().done().unwrap();
    let whom = Impersonation::of(s.bob, "why");
    let login = s.gate().impersonate(own.token(), &whom, &Client::new()).unwrap();
    assert_eq!(login.session().methods.assurance(), Assurance::Two);
}

#[test]
fn context_rules_are_asked_about_both() {
    let rule = |context: &CheckContext<'_>| {
        // User 0 does not audit, and nobody reads who is acted as from outside.
        let outside = context.client().and_then(Client::source).is_some();
        let audits = context.user().get() == 0 && context.permission().is_some_and(|p| p.bit() == 4);
        !audits && (context.impersonator().is_none() || !outside)
    };
    let s = scene_with(|builder| builder.context_rule(rule));
    assert_eq!((s.admin.get(), s.audit.bit()), (0, 4));
    s.give(s.bob, s.audit);
    let login = s.act_as(s.bob).unwrap();
    let outside = Client::new().ip([192, 0, 2, 1].into());
    denied(s.gate().impersonate(s.own.token(), &Impersonation::of(s.bob, "x"), &outside), Denial::Permission);
    let principal = s.gate().authenticate(login.token()).unwrap();
    assert!(principal.can(s.read) && !principal.can(s.audit));
    assert!(s.gate().check(s.bob, s.audit).unwrap().is_allowed());
    denied(s.gate().authenticate_from(login.token(), &outside), Denial::Session);
}
