//! Signed tokens: to whom they are issued, what they say, and which keys they are made with.

use crate::support::{PASSWORD, World, log_in, refused, sound, world, world_with};
use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::Verifier as _;
use jsonwebtoken::signature::{Error as Wrong, Verifier as Verifies};
use portcullis::jwt::{Issuer, Refusal, SignedToken, SigningKeys, TokenRequest, Verifier};
use portcullis::testing::ManualClock;
use portcullis::{
    Assurance, AuditKind, Client, Credentials, Denial, ErrorKind, Grant, Portcullis, ScopeId, SessionLimits,
    Status, Subject, Token,
};
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) const ISSUER: &str = "https://auth.example.org";
pub(crate) const AUDIENCE: &str = "https://reports.example.org";
/// The key pair of RFC 8037, appendix A.1.
const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
/// Its thumbprint, of appendix A.3.
pub(crate) const THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

pub(crate) fn seed() -> [u8; 32] {
    BASE64URL_NOPAD.decode(SEED.as_bytes()).unwrap().try_into().unwrap()
}

pub(crate) fn issuer() -> Issuer {
    Issuer::new(ISSUER, SigningKeys::new(&seed()).unwrap()).unwrap()
}

/// A holder whose clock is the database's.
pub(crate) fn holder(clock: &ManualClock) -> Verifier {
    holder_of(&issuer(), clock)
}

fn holder_of(issuer: &Issuer, clock: &ManualClock) -> Verifier {
    Verifier::new(ISSUER, AUDIENCE, &issuer.jwks()).unwrap().clock(clock.clone())
}

pub(crate) fn wanted() -> TokenRequest {
    TokenRequest::for_audience(AUDIENCE)
}

pub(crate) fn issue(gate: &Portcullis, token: &Token) -> portcullis::Result<SignedToken> {
    issuer().issue(&gate.authenticate(token).unwrap(), &wanted())
}

/// The header and the claims of a token, without believing them.
pub(crate) fn parts(token: &str) -> (Value, Value) {
    let part = |number| {
        let text: &str = token.split('.').nth(number).unwrap();
        serde_json::from_slice(&BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()).unwrap()
    };
    (part(0), part(1))
}

#[test]
fn a_token_says_who_it_is_and_how_they_proved_it() {
    let world = world();
    let ada = world.user("ada").id;
    let login = world.login("ada");
    world.after(60);
    let token = issue(&world.gate, login.token()).unwrap();
    let (header, claims) = parts(token.as_str());
    assert_eq!(header, json!({ "alg": "EdDSA", "kid": THUMBPRINT, "typ": "at+jwt" }));
    let (now, jti) = (world.gate.now().as_secs(), claims["jti"].as_str().unwrap().to_owned());
    let due = json!({
        "iss": ISSUER, "aud": AUDIENCE, "client_id": ISSUER, "sub": ada.get().to_string(), "jti": jti,
        "sid": login.session().id.get().to_string(), "iat": now, "nbf": now, "exp": now + 300,
        "auth_time": now - 60, "amr": ["pwd"], "acr": "http://idmanagement.gov/ns/assurance/aal/1",
    });
    assert_eq!(claims, due);
    assert_eq!(jti.len(), 22);

    let claims = holder(&world.clock).verify(token.as_str()).unwrap();
    assert_eq!((claims.user, claims.session, claims.id.as_str()), (ada, login.session().id, jti.as_str()));
    assert_eq!((claims.issued.as_secs(), claims.expires), (now, token.expires()));
    assert_eq!((claims.client.as_str(), claims.assurance), (ISSUER, Assurance::One));
    assert_eq!((claims.authenticated.as_secs(), claims.methods), (now - 60, vec!["pwd".to_owned()]));
    assert!(claims.permissions.is_empty() && claims.scope == ScopeId::ROOT);
    let other = issue(&world.gate, login.token()).unwrap();
    assert_ne!(holder(&world.clock).verify(other.as_str()).unwrap().id, jti);
}

#[test]
fn a_token_says_of_what_was_asked_for_what_the_session_holds_and_no_more() {
    let world = world();
    let (gate, ada) = (&world.gate, world.user("ada").id);
    let [read, write, pay] = gate.permissions().define_many(["read", "write", "pay"]).unwrap()[..] else {
        panic!()
    };
    let reader = gate.roles().create("reader", [read]).unwrap();
    let writer = gate.roles().create("writer", [write, pay]).unwrap();
    gate.roles().assign(ada, reader).unwrap();
    gate.roles().assign(ada, writer).unwrap();
    gate.access().grant(ada, pay, &Grant::new().denying()).unwrap();
    let acme = gate.scopes().ensure("acme").unwrap();
    let plain = world.login("ada");
    let who = Credentials::password("ada", PASSWORD);
    let selecting = gate.login_with_roles(&who, &Client::new(), [reader]).unwrap();
    let holder = holder(&world.clock);
    let held = |token: &Token, request: &TokenRequest| {
        let token = issuer().issue(&gate.authenticate(token).unwrap(), request).unwrap();
        holder.verify(token.as_str()).unwrap()
    };
    let all = wanted().permissions([read, write, pay]);
    assert_eq!(held(plain.token(), &all).permissions, ["read", "write"]);
    assert_eq!(held(plain.token(), &wanted().permissions([write])).permissions, ["write"]);
    assert_eq!(held(selecting.token(), &all).permissions, ["read"], "of the selected role");
    assert_eq!(held(plain.token(), &wanted()).permissions, [""; 0]);

    // At a scope: what is denied there is left out, and the token counts for nothing else.
    gate.access().grant(ada, write, &Grant::new().denying().at(acme)).unwrap();
    let claims = held(plain.token(), &all.clone().at(acme));
    assert_eq!((claims.permissions.as_slice(), claims.scope), (&["read".to_owned()][..], acme));
    assert!(claims.can_at("read", acme) && !claims.can("read") && !claims.can_at("write", acme));
    let claims = held(plain.token(), &all);
    assert!(claims.can("write") && !claims.can_at("write", acme) && !claims.can("pay"));

    gate.roles().unassign(ada, writer).unwrap();
    assert_eq!(held(plain.token(), &all).permissions, ["read"]);
    assert!(claims.can("write"), "what was issued before says what it said");
    gate.permissions().delete(read).unwrap();
    assert_eq!(held(plain.token(), &all).permissions, [""; 0]);
}

#[test]
fn there_is_no_token_without_a_live_session() {
    let world = world();
    let (gate, ada) = (&world.gate, world.user("ada").id);
    let ends: [&dyn Fn(); 5] = [
        &|| {
            gate.sessions()
                .revoke(
                    world.gate.sessions().by_expiry(&portcullis::PageRequest::first(9)).unwrap().items[0].id,
                )
                .unwrap()
        },
        &|| gate.sessions().revoke_all(ada).unwrap(),
        &|| drop(gate.users().set_status(ada, Status::disabled("gone")).unwrap()),
        &|| world.after(3600),
        &|| gate.users().delete(ada).unwrap(),
    ];
    for end in ends {
        let login = world.login("ada");
        let principal = gate.authenticate(login.token()).unwrap();
        issuer().issue(&principal, &wanted()).unwrap();
        end();
        let before = gate.audit().head();
        let error = issuer().issue(&principal, &wanted()).unwrap_err();
        assert_eq!(error.denial(), Some(Denial::Session));
        world.after(3600);
        assert_eq!(issuer().issue(&principal, &wanted()).unwrap_err().denial(), Some(Denial::Session));
        assert_eq!(gate.audit().head(), before);
        if gate.users().get(ada).is_ok() {
            gate.users().set_status(ada, Status::active()).unwrap();
        }
    }
    world.user("bob");
    let login = world.login("bob");
    let principal = gate.authenticate(login.token()).unwrap();
    gate.close().unwrap();
    assert_eq!(issuer().issue(&principal, &wanted()).unwrap_err().kind(), ErrorKind::Stopped);
    assert_eq!(issuer().revocations(gate).unwrap_err().kind(), ErrorKind::Stopped, "and not: all have ended");
}

#[test]
fn a_life_is_short_and_ends_with_the_session() {
    let limits = SessionLimits::new(None, Duration::from_secs(1000)).unwrap();
    let world = world_with(|builder| builder.session_limits(limits));
    world.user("ada");
    let login = world.login("ada");
    let principal = world.gate.authenticate(login.token()).unwrap();
    let life = |life| issuer().issue(&principal, &wanted().life(life));
    for wrong in [Duration::ZERO, Duration::from_millis(999), Duration::from_millis(3_600_001), Duration::MAX]
    {
        refused(life(wrong), ErrorKind::InvalidInput, Some("life"));
    }
    let now = world.gate.now().as_secs();
    assert_eq!(life(Duration::from_millis(1999)).unwrap().expires().as_secs(), now + 1);
    assert_eq!(life(Duration::from_secs(3600)).unwrap().expires().as_secs(), now + 1000);
    world.after(999);
    assert_eq!(life(Duration::from_secs(300)).unwrap().expires().as_secs(), now + 1000);
    world.clock.advance(Duration::from_millis(999));
    assert!(life(Duration::from_secs(300)).is_ok_and(|token| token.expires().as_secs() == now + 1000));
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(life(Duration::from_secs(300)).unwrap_err().denial(), Some(Denial::Session));
}

#[test]
fn what_can_not_be_in_a_token_is_refused() {
    let world = world();
    world.user("ada");
    let login = world.login("ada");
    let principal = world.gate.authenticate(login.token()).unwrap();
    let before = world.gate.audit().head();
    let long = "x".repeat(513);
    for name in ["", "a\nb", long.as_str()] {
        let request = TokenRequest::for_audience(name);
        refused(issuer().issue(&principal, &request), ErrorKind::InvalidInput, Some("audience"));
        refused(issuer().issue(&principal, &wanted().client(name)), ErrorKind::InvalidInput, Some("client"));
        let keys = SigningKeys::new(&seed()).unwrap();
        refused(Issuer::new(name, keys), ErrorKind::InvalidInput, Some("issuer"));
        let jwks = issuer().jwks();
        refused(Verifier::new(name, AUDIENCE, &jwks), ErrorKind::InvalidInput, Some("issuer"));
        refused(Verifier::new(ISSUER, name, &jwks), ErrorKind::InvalidInput, Some("audience"));
    }
    assert_eq!(world.gate.audit().head(), before);
    let names: Vec<String> = (0..40).map(|number| format!("{number:0>100}")).collect();
    let bits = world.gate.permissions().define_many(names.iter().map(String::as_str)).unwrap();
    let role = world.gate.roles().create("all", bits.clone()).unwrap();
    world.gate.roles().assign(principal.user(), role).unwrap();
    let few = issuer().issue(&principal, &wanted().permissions(bits[..20].iter().copied())).unwrap();
    assert!(few.as_str().len() < 4096 && holder(&world.clock).verify(few.as_str()).is_ok());
    let all = wanted().permissions(bits);
    refused(issuer().issue(&principal, &all), ErrorKind::LimitExceeded, Some("permissions"));
}

#[test]
fn the_first_token_of_a_session_and_an_hour_is_written_down() {
    let world = world();
    let ada = world.user("ada").id;
    let login = world.login("ada");
    let records = || {
        let page = portcullis::PageRequest::first(100);
        let found = world.gate.audit().by_kind(AuditKind::SignedTokenIssued, &page).unwrap().items;
        found.into_iter().map(|record| (record.actor, record.subject, record.object)).collect::<Vec<_>>()
    };
    let due =
        (portcullis::Actor::User(ada), Some(Subject::User(ada)), Some(Subject::Session(login.session().id)));
    for _ in 0..3 {
        issue(&world.gate, login.token()).unwrap();
    }
    assert_eq!(records(), [due]);
    for _ in 0..4 {
        world.after(1800);
        issue(&world.gate, login.token()).unwrap();
    }
    assert_eq!(records(), [due; 3]);
    sound(&world.gate);
    // Notes stay until nobody can believe a token any more, and an hour longer.
    let swept = || world.gate.maintain(1000).unwrap().expired_signed;
    assert_eq!(swept(), 1, "an hour after the hour of the first one");
    world.after(4 * 3600);
    assert_eq!((swept(), swept()), (2, 0));
    sound(&world.gate);
}

#[test]
fn keys_are_changed_without_a_token_being_refused() {
    let world = world();
    world.user("ada");
    let login = world.login("ada");
    let principal = world.gate.authenticate(login.token()).unwrap();
    let (one, two) = (seed(), [2; 32]);
    let keys = |keys: SigningKeys| Issuer::new(ISSUER, keys).unwrap();
    let steps = [
        keys(SigningKeys::new(&one).unwrap()),
        keys(SigningKeys::new(&one).unwrap().and_next(&two).unwrap()),
        keys({
            let old = SigningKeys::new(&one).unwrap().public_keys().next().unwrap();
            SigningKeys::new(&two).unwrap().and_former(&old).unwrap()
        }),
        keys(SigningKeys::new(&two).unwrap()),
    ];
    let holder = holder_of(&steps[0], &world.clock);
    let token = |step: usize| steps[step].issue(&principal, &wanted()).unwrap();
    let mut old = token(0);
    for (step, next) in steps.iter().enumerate().skip(1) {
        // The holder is late: it still has the keys of the step before.
        let new = token(step);
        assert!(holder.verify(old.as_str()).is_ok() && holder.verify(new.as_str()).is_ok(), "step {step}");
        holder.replace_keys(&next.jwks()).unwrap();
        old = new;
    }
    assert_eq!(holder.verify(token(0).as_str()), Err(Refusal::Key), "the first key is retired");
    let late = holder_of(&steps[0], &world.clock);
    assert_eq!(late.verify(token(3).as_str()), Err(Refusal::Key));
    late.replace_keys("{}").unwrap_err();
    assert!(late.verify(token(0).as_str()).is_ok(), "what is no document changes nothing");
}

#[test]
fn the_public_keys_are_those_of_the_standard() {
    let document: Value = serde_json::from_str(&issuer().jwks()).unwrap();
    let due = json!({ "keys": [{
        "kty": "OKP", "crv": "Ed25519", "x": PUBLIC, "kid": THUMBPRINT, "use": "sig", "alg": "EdDSA",
    }] });
    assert_eq!(document, due);
    let mut der = data_encoding::HEXLOWER.decode(b"302e020100300506032b657004220420").unwrap();
    der.extend_from_slice(&seed());
    assert_eq!(SigningKeys::new(&der).unwrap().current(), THUMBPRINT);
    der.push(0);
    for wrong in [&[][..], &[1; 31], &[1; 33], &[0; 32], &der, &der[..47]] {
        refused(SigningKeys::new(wrong), ErrorKind::InvalidInput, Some("signing_keys"));
        let keys = SigningKeys::new(&seed()).unwrap();
        refused(keys.and_next(wrong), ErrorKind::InvalidInput, Some("signing_keys"));
    }
    // No point, and a point of small order, for which anybody can sign.
    for wrong in [[2; 32], [0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        let keys = SigningKeys::new(&seed()).unwrap();
        refused(keys.and_former(&wrong), ErrorKind::InvalidInput, Some("signing_keys"));
    }
    let twice = SigningKeys::new(&seed()).unwrap().and_next(&seed());
    refused(twice, ErrorKind::InvalidInput, Some("signing_keys"));
    let many = (1..=16).try_fold(SigningKeys::new(&seed()).unwrap(), |keys, n| keys.and_next(&[n; 32]));
    refused(many, ErrorKind::LimitExceeded, Some("signing_keys"));
}

#[test]
fn what_is_no_document_of_public_keys_is_refused() {
    let public = |x: &str| json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": THUMBPRINT });
    let document = |keys: Value| json!({ "keys": keys }).to_string();
    let taken = |text: &str| Verifier::new(ISSUER, AUDIENCE, text).map(drop);
    let mut with_secret = public(PUBLIC);
    with_secret["d"] = SEED.into();
    let mut other = public(PUBLIC);
    other["kid"] = "another".into();
    let mut encrypts = public(PUBLIC);
    encrypts["use"] = "enc".into();
    let symmetric = json!({ "kty": "oct", "k": PUBLIC, "kid": THUMBPRINT, "alg": "HS256" });
    let zeros = BASE64URL_NOPAD.encode(&[0; 32]);
    let wrong = [
        String::new(),
        "[]".into(),
        "{}".into(),
        json!({ "keys": {} }).to_string(),
        document(json!([])),
        document(json!([symmetric])),
        document(json!([other])),
        document(json!([encrypts])),
        document(json!([public("")])),
        document(json!([public(&zeros)])),
        document(json!([public(&PUBLIC[1..])])),
        document(json!([with_secret.clone()])),
        document(json!([public(PUBLIC), with_secret])),
    ];
    for text in wrong {
        let error = refused(taken(&text), ErrorKind::InvalidInput, Some("jwks"));
        assert!(!format!("{error:?}").contains(SEED));
    }
    refused(taken(&" ".repeat((64 << 10) + 1)), ErrorKind::LimitExceeded, Some("jwks"));
    // What is there for others is passed over.
    taken(&document(
        json!([symmetric, other, encrypts, { "kty": "RSA", "n": "AQAB", "e": "AQAB" }, public(PUBLIC)]),
    ))
    .unwrap();
}

#[test]
fn no_secret_is_printed() {
    let world = world();
    world.user("ada");
    let login = world.login("ada");
    let token = issue(&world.gate, login.token()).unwrap();
    let keys = SigningKeys::new(&seed()).unwrap();
    let shown = format!("{keys:?} {:?} {token:?} {:?} {:?}", issuer(), holder(&world.clock), wanted());
    let bytes = format!("{:?}", seed());
    for secret in [SEED, &bytes[1..20], token.as_str(), token.as_str().rsplit('.').next().unwrap()] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains(THUMBPRINT));
    let stored = portcullis::testing::dump(&world.gate).unwrap();
    for row in stored {
        assert!(!row.value.windows(32).any(|window| window == seed()));
        assert!(!row.value.windows(22).any(|window| window == &token.as_str().as_bytes()[..22]));
    }
}

/// EdDSA for `jsonwebtoken`, which holders in Rust may have; its own backends bring RSA and more along.
struct Ed25519(ed25519_dalek::VerifyingKey);

impl Verifies<Vec<u8>> for Ed25519 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Wrong> {
        let signature = ed25519_dalek::Signature::from_slice(signature).map_err(|_| Wrong::new())?;
        self.0.verify(message, &signature).map_err(|_| Wrong::new())
    }
}

impl jsonwebtoken::crypto::JwtVerifier for Ed25519 {
    fn algorithm(&self) -> jsonwebtoken::Algorithm {
        jsonwebtoken::Algorithm::EdDSA
    }
}

#[test]
fn another_library_believes_what_is_issued() {
    use jsonwebtoken::crypto::{CryptoProvider, KeyUtils};
    use jsonwebtoken::errors::ErrorKind as Other;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, jwk::JwkSet};
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: |_, _| Err(Other::UnsupportedAlgorithm.into()),
        verifier_factory: |_, key| {
            let bytes = key.try_get_as_bytes()?.try_into().map_err(|_| Other::InvalidEddsaKey)?;
            let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| Other::InvalidEddsaKey)?;
            Ok(Box::new(Ed25519(key)))
        },
        key_utils: KeyUtils::new_unimplemented(),
    };
    let _ = PROVIDER.install_default();
    let world: World = world();
    let ada = world.user("ada").id;
    let token = issue(&world.gate, log_in(&world.gate, "ada", PASSWORD).unwrap().token()).unwrap();
    let keys: JwkSet = serde_json::from_str(&issuer().jwks()).unwrap();
    let header = jsonwebtoken::decode_header(token.as_str()).unwrap();
    let key = DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_audience(&[AUDIENCE]);
    rules.set_issuer(&[ISSUER]);
    rules.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
    // The database's clock is not the system's.
    (rules.validate_exp, rules.validate_nbf) = (false, false);
    let found = decode::<Value>(token.as_str(), &key, &rules).unwrap();
    assert_eq!(
        (found.claims["sub"].clone(), header.typ),
        (json!(ada.get().to_string()), Some("at+jwt".into()))
    );
    rules.set_audience(&["https://elsewhere.example.org"]);
    decode::<Value>(token.as_str(), &key, &rules).unwrap_err();
}
