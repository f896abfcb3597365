//! Any text as what another system stored of a password: it is taken, or refused without a word of its secret part, and
//! what is taken verifies as nothing that it was not made of.

use portcullis::{Client, Credentials, ErrorKind, NewUser, Portcullis};

/// No hash of a seed or of chance belongs to it.
const OTHER: &str = "a password that nobody has had";

/// Work that is allowed, and too much for a fuzzer.
fn is_dear(stored: &str) -> bool {
    stored.len() > 400
        || ["argon2", "scrypt", "$y$"].iter().any(|scheme| stored.contains(scheme))
        || ["$2a$", "$2b$", "$2y$", "bcrypt"].iter().any(|scheme| stored.contains(scheme))
        || stored.bytes().filter(u8::is_ascii_digit).count() > 12
        || stored.starts_with("AQAAAA")
}

pub(crate) fn run(data: &[u8]) {
    let Ok(stored) = std::str::from_utf8(data) else { return };
    let gate = Portcullis::builder()
        .danger_fast_password_hashes()
        .firebase_signer_key("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
        .in_memory()
        .unwrap();
    let before = gate.audit().head();
    match gate.users().create(NewUser::new("ada").password_hash(stored)) {
        Ok(_) => {
            assert_eq!(gate.password_hashes_computed(), 0, "taking it costs nothing");
            if !is_dear(stored) {
                let login = gate.login(&Credentials::password("ada", OTHER), &Client::new());
                let error = login.err().unwrap_or_else(|| panic!("{stored} verifies"));
                assert!(error.is_denied() || error.kind() == ErrorKind::Damaged, "{error:?}");
            }
        }
        Err(error) => {
            assert_eq!(error.field(), Some("password_hash"), "{error:?}");
            assert!(matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::LimitExceeded), "{error:?}");
            let text = format!("{error:?}");
            let secret = stored.rsplit(['$', '}']).next().unwrap_or_default();
            assert!(secret.len() < 20 || !text.contains(secret), "{text}");
            assert!(text.len() < 1000 && gate.audit().head() == before);
        }
    }
}
