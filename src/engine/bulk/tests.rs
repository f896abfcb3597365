//! What markers are stored as, and what happens between the reading of a plan and its commit.

use super::record::{Ending, EndingRecord};
use crate::assurance::Assurance;
use crate::audit::AuditKind;
use crate::clock::{Clock, Timestamp};
use crate::engine::between::{Scene, Step};
use crate::engine::{Credentials, Login, PageRequest, Portcullis};
use crate::error::{Denial, ErrorKind, Result};
use crate::id::{DeviceId, Key, RoleId, ScopeId, SessionId, UserId};
use crate::network::Network;
use crate::session::{Client, SessionFilter};
use crate::store::{Record, encode_value};
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn the_bytes_of_a_marker_are_what_they_were() {
    let instant = Timestamp::from_millis;
    let full = SessionFilter::new()
        .user(UserId::from_number(7))
        .network(Network::new("192.0.2.0".parse().unwrap(), 24).unwrap())
        .device(DeviceId::from_number(9))
        .user_agent_contains("agent")
        .label("x")
        .created_after(instant(1))
        .created_before(instant(2))
        .seen_before(instant(300))
        .assurance_below(Assurance::Two)
        .impersonated(true)
        .selected_role(RoleId::from_number(5));
    let mut found = String::new();
    for what in [
        Ending::Matching(SessionFilter::new().label("")),
        Ending::Matching(full),
        Ending::AtScope(ScopeId::from_number(3)),
        Ending::Eras(None),
        Ending::Eras(Some(SessionId::from_number(300))),
    ] {
        let record = EndingRecord { what, mark: 258, until: instant(1000) };
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        found.push_str(&format!(
            "{} {}\n",
            hex(record.key().bytes()),
            hex(encode_value(EndingRecord::TABLE.name, EndingRecord::FORMAT, &record).unwrap())
        ));
    }
    assert_eq!(found, include_str!("markers.txt"), "\n{found}");
}

const PASSWORD: &str = "correct horse battery staple";

/// A clock that goes on by a millisecond whenever it is read.
#[derive(Debug)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

fn scene() -> Scene {
    let clock = Ticking(AtomicU64::new(1_767_225_600_000));
    let scene = Scene::with(Portcullis::builder().clock(clock));
    scene.gate.users().set_password(scene.ada, PASSWORD).unwrap();
    scene
}

fn log_in(gate: &Portcullis) -> Result<Login> {
    gate.login(&Credentials::password("ada", PASSWORD), &Client::new().user_agent("agent"))
}

const MATCHING: Step =
    |s| s.gate.sessions().revoke_matching(&SessionFilter::new().user_agent_contains("agent")).map(drop);
const AT_SCOPE: Step = |s| s.gate.sessions().revoke_of_scope(s.scope).map(drop);

#[test]
fn a_login_that_was_planned_before_the_call_opens_a_session_that_is_later_than_it() {
    for call in [MATCHING, AT_SCOPE] {
        let s = scene();
        let login = s.meanwhile(call, || log_in(&s.gate)).unwrap();
        let records = s.gate.audit().list(&PageRequest::first(100)).unwrap().items;
        let asked = records.iter().find(|record| record.kind == AuditKind::SessionsEndRequested).unwrap();
        assert!(login.session().created >= asked.time, "it was planned again");
        assert!(s.gate.authenticate(login.token()).is_ok());
        assert!(s.gate.verify().unwrap().is_sound());
    }
}

#[test]
fn nothing_brings_a_session_back_that_has_ended_at_that_moment() {
    let ends: [Step; 3] = [
        |s| s.gate.sessions().revoke_all(s.ada),
        |s| s.gate.sessions().revoke_everything(),
        |s| s.gate.sessions().revoke_matching(&SessionFilter::new().user(s.ada)).map(drop),
    ];
    for end in ends {
        let s = scene();
        let (here, there) = (log_in(&s.gate).unwrap(), log_in(&s.gate).unwrap());
        let me = s.gate.authenticate(here.token()).unwrap();
        let error = s.meanwhile(end, || me.end_other_sessions()).unwrap_err();
        assert_eq!(error.denial(), Some(Denial::Session));
        let here = log_in(&s.gate).unwrap();
        let me = s.gate.authenticate(here.token()).unwrap();
        let error = s.meanwhile(end, || me.label_session(here.session().id, "x")).unwrap_err();
        assert_eq!(error.denial(), Some(Denial::Session));
        let last = log_in(&s.gate).unwrap();
        let id = last.session().id;
        let error = s.meanwhile(end, || s.gate.sessions().set_label(id, "x")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        for login in [here, there, last] {
            assert!(s.gate.authenticate(login.token()).is_err());
        }
        assert!(s.gate.verify().unwrap().is_sound());
    }
}
