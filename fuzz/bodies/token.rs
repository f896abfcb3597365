//! Any bytes presented as a token, and as a cursor.

use portcullis::testing::SeededEntropy;
use portcullis::{Client, Credentials, Cursor, Denial, NewUser, PageRequest, Portcullis};
use std::sync::OnceLock;

const PASSWORD: &str = "correct horse battery staple";

/// A database with one live session, and its token.
fn database() -> &'static (Portcullis, String) {
    static DATABASE: OnceLock<(Portcullis, String)> = OnceLock::new();
    DATABASE.get_or_init(|| {
        let builder = Portcullis::builder().entropy(SeededEntropy::new(5)).danger_fast_password_hashes();
        let gate = builder.in_memory().expect("in memory");
        gate.users().create(NewUser::new("ada").password(PASSWORD)).expect("a user");
        let login = gate.login(&Credentials::password("ada", PASSWORD), &Client::new()).expect("a session");
        let token = login.token().as_str().to_owned();
        (gate, token)
    })
}

/// A token is the one that was issued, to the last bit, or none; a cursor is a place or none.
pub(crate) fn run(data: &[u8]) {
    let (gate, token) = database();
    let text = String::from_utf8_lossy(data);
    // What comes out of a fuzzer seldom has the right beginning; give it one half of the time.
    let forged =
        format!("{}{text}", &token[..data.first().map_or(0, |byte| usize::from(*byte) % token.len())]);
    for text in [text.as_ref(), forged.as_str()] {
        match gate.authenticate(text) {
            Ok(_) => assert_eq!(text, token),
            Err(error) => assert_eq!(error.denial(), Some(Denial::Session)),
        }
        // Nothing was issued, whatever the text begins with.
        for prefix in ["", "pcv_", "pcr_", "pci_", "pcm_", "pco_", "pcn_"] {
            let seen = gate.tickets().preview(format!("{prefix}{text}")).expect("an answer");
            assert!(seen.is_none());
        }
        if let Ok(cursor) = Cursor::from_text(text) {
            assert_eq!(cursor.to_text(), text);
            let page = PageRequest::first(3).after(Some(cursor));
            // A cursor is of one listing, and the others say so.
            let users = gate.users().list(&page).map(drop);
            let records = gate.audit().list(&page.descending()).map(drop);
            for refused in [users, records].into_iter().filter_map(Result::err) {
                assert_eq!(refused.field(), Some("cursor"));
            }
        }
    }
    assert!(gate.authenticate(token).is_ok());
}
