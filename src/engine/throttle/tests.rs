//! What is counted between the reading of a plan and its commit.

use crate::engine::between::{Scene, Step};
use crate::engine::{Credentials, Portcullis};
use crate::error::{Denial, Error};
use crate::session::Client;
use crate::throttle::ThrottlePolicy;
use crate::user::NewContact;
use std::time::Duration;

const PASSWORD: &str = "correct horse battery staple";
/// By another name of the same user, so that neither attempt waits for the other.
const WRONG: Step = |s| wrong(&s.gate);

fn wrong(gate: &Portcullis) -> crate::error::Result<()> {
    match gate.login(&Credentials::password("ada@example.org", "a guess"), &Client::new()) {
        Err(error) if error.denial() == Some(Denial::Credentials) => Ok(()),
        other => other.map(drop).and(Err(Error::damaged("a guess was right"))),
    }
}

fn scene(stop: u32) -> Scene {
    let policy = ThrottlePolicy::new().delays(0, Duration::from_secs(1), Duration::from_secs(1)).stop(stop);
    let s = Scene::with(Portcullis::builder().throttle(policy));
    s.gate.users().set_password(s.ada, PASSWORD).unwrap();
    s.gate.users().add_contact(s.ada, &NewContact::email("ada@example.org").verified()).unwrap();
    s
}

#[test]
fn a_login_does_not_overtake_the_failure_that_stops_the_account() {
    let s = scene(1);
    let login = s.meanwhile(WRONG, || s.gate.login(&Credentials::password("ada", PASSWORD), &Client::new()));
    assert_eq!(login.unwrap_err().denial(), Some(Denial::Credentials));
    assert!(s.gate.users().login_protection(s.ada).unwrap().is_stopped());
    assert!(s.gate.verify().unwrap().is_sound());
}

#[test]
fn of_two_failures_at_once_none_is_lost() {
    let s = scene(100);
    let login = s.meanwhile(WRONG, || s.gate.login(&Credentials::password("ada", "a guess"), &Client::new()));
    assert_eq!(login.unwrap_err().denial(), Some(Denial::Credentials));
    assert_eq!(s.gate.users().login_protection(s.ada).unwrap().failures[0].failures, 2);
}
