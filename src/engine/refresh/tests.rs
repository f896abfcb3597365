//! What happens between the reading of a refresh and its commit, at exactly that moment.

use super::*;
use crate::assurance::{Method, Methods};
use crate::crypto::Token;
use crate::engine::between::{Scene, Step};
use crate::engine::page::PageRequest;
use crate::user::Status;
use std::cell::RefCell;

thread_local! {
    /// The refresh token that the other tab presents, and the pair that it got.
    static OTHER_TAB: RefCell<(String, String)> = RefCell::default();
}

fn client() -> Client {
    Client::new().refreshable()
}

/// A session of ada's, as a login would open it.
fn open(scene: &Scene) -> String {
    let engine = scene.gate.engine();
    let (_, id, digest) = Token::mint(&*engine.entropy).unwrap();
    let now = engine.now();
    let (token, family) = engine.begin_family(&client(), id, now).unwrap();
    let mut batch = Batch::new();
    let record = SessionRecord {
        id,
        user: scene.ada,
        digest: digest.0,
        generation: 0,
        created: now,
        seen: now,
        idle_secs: 0,
        expires: now.saturating_add(engine.refresh.limits.absolute),
        device: String::new(),
        ip: None,
        user_agent: String::new(),
        roles: None,
        methods: Methods::of(Method::Password),
        authenticated: now,
        elevated: None,
        device_id: None,
        era: 0,
        label: String::new(),
        impersonator: None,
        family,
    };
    batch.insert(&record).unwrap();
    assert!(engine.store.commit(batch).is_ok());
    token.unwrap().as_str().to_owned()
}

fn refresh(scene: &Scene, token: &str) -> Result<(String, String)> {
    let login = scene.gate.refresh(token, &client())?;
    Ok((login.token().as_str().to_owned(), login.refresh_token().unwrap().as_str().to_owned()))
}

fn only_session(scene: &Scene) -> Result<SessionId> {
    let page = scene.gate.sessions().of_user(scene.ada, &PageRequest::default())?;
    Ok(page.items[0].id)
}

const ENDS: &[Step] = &[
    |s| s.gate.sessions().revoke(only_session(s)?),
    |s| s.gate.sessions().revoke_all(s.ada),
    |s| s.gate.sessions().revoke_everything(),
    |s| s.gate.users().delete(s.ada),
    |s| s.gate.users().set_status(s.ada, Status::disabled("out")).map(drop),
];

#[test]
fn whatever_ends_a_session_while_it_is_refreshed_ends_it() {
    for (number, end) in ENDS.iter().enumerate() {
        for repeated in [false, true] {
            let scene = Scene::new();
            let token = open(&scene);
            let before = repeated.then(|| refresh(&scene, &token).unwrap());
            let denied = scene.meanwhile(*end, || refresh(&scene, &token)).unwrap_err();
            assert_eq!(denied.denial(), Some(crate::error::Denial::Session), "{number} {repeated}");
            if let Some((access, _)) = before {
                assert!(scene.gate.authenticate(access).is_err(), "{number}");
            }
        }
    }
}

#[test]
fn of_two_tabs_at_once_the_second_gets_what_the_first_got() {
    let scene = Scene::new();
    let token = open(&scene);
    OTHER_TAB.with_borrow_mut(|tab| tab.0.clone_from(&token));
    let mine = scene.meanwhile(
        |s| {
            let token = OTHER_TAB.with_borrow(|tab| tab.0.clone());
            let pair = refresh(s, &token)?;
            OTHER_TAB.with_borrow_mut(|tab| *tab = pair);
            Ok(())
        },
        || refresh(&scene, &token),
    );
    assert_eq!(mine.unwrap(), OTHER_TAB.with_borrow(Clone::clone));
}

#[test]
fn what_changes_in_the_session_while_it_is_refreshed_is_kept() {
    let scene = Scene::new();
    scene.gate.roles().assign(scene.ada, scene.owner).unwrap();
    let token = open(&scene);
    let drop_role: Step = |s| s.gate.sessions().deactivate(only_session(s)?, s.owner);
    scene.meanwhile(drop_role, || refresh(&scene, &token)).unwrap();
    let session = scene.gate.sessions().get(only_session(&scene).unwrap()).unwrap();
    assert_eq!(session.selected, Some(Vec::new()));
}
