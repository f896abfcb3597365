//! Any text presented to a holder of signed tokens, as a token, as a feed of revocations and as public keys.

use portcullis::jwt::{Issuer, SigningKeys, TokenRequest, Verifier};
use portcullis::testing::{ManualClock, SeededEntropy};
use portcullis::{Client, Credentials, NewUser, Portcullis};
use std::sync::OnceLock;

const PASSWORD: &str = "correct horse battery staple";
const ISSUER: &str = "https://auth.example.org";
const AUDIENCE: &str = "https://reports.example.org";

/// A holder, and what it believes: a token, a feed, and the document of the keys.
struct Scene {
    holder: Verifier,
    good: [String; 3],
}

fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| {
        let clock = ManualClock::new();
        let builder = Portcullis::builder().clock(clock.clone()).entropy(SeededEntropy::new(5));
        let gate = builder.danger_fast_password_hashes().in_memory().expect("in memory");
        gate.users().create(NewUser::new("ada").password(PASSWORD)).expect("a user");
        let login = gate.login(&Credentials::password("ada", PASSWORD), &Client::new()).expect("a session");
        let issuer = Issuer::new(ISSUER, SigningKeys::new(&[7; 32]).expect("a key")).expect("an issuer");
        let principal = gate.authenticate(login.token()).expect("a principal");
        let token = issuer.issue(&principal, &TokenRequest::for_audience(AUDIENCE)).expect("a token");
        let jwks = issuer.jwks();
        let feed = issuer.revocations(&gate).expect("a feed");
        let holder = Verifier::new(ISSUER, AUDIENCE, &jwks).expect("a holder").clock(clock);
        Scene { holder, good: [token.as_str().to_owned(), feed, jwks] }
    })
}

/// The first byte says how much of which good text comes before the rest, and how much of it after: what comes out of a
/// fuzzer by itself seldom gets beyond the header. A holder believes what was issued, to the last character, and nothing
/// else.
pub(crate) fn run(data: &[u8]) {
    let Scene { holder, good } = scene();
    let (choice, rest) = data.split_first().map_or((0, data), |(first, rest)| (usize::from(*first), rest));
    let text = String::from_utf8_lossy(rest);
    let whole = &good[choice % 3];
    let cut = choice / 3 * whole.len() / 85;
    let (before, after) = whole.split_at(cut.min(whole.len()));
    let skipped = after.get(rest.len()..).unwrap_or_default();
    for presented in [text.to_string(), format!("{before}{text}"), format!("{before}{text}{skipped}")] {
        assert_eq!(holder.verify(&presented).is_ok(), presented == good[0]);
        assert_eq!(holder.apply(&presented).is_ok(), presented == good[1]);
        if let Ok(other) = Verifier::new(ISSUER, AUDIENCE, &presented) {
            // Another document may have the same key, or another one, which has signed none of these.
            assert!(presented.contains("keys") && !format!("{other:?}").is_empty());
            let _ = other.verify(&good[0]);
        }
    }
    assert!(holder.verify(&good[0]).is_ok() && holder.apply(&good[1]).is_ok());
}
