//! Known answers of RFC 8037.

use super::jws::{Held, Sort, open};
use super::keys::{SigningKeys, read_jwks};
use super::refusal::Refusal;
use data_encoding::BASE64URL_NOPAD;

const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

fn keys() -> SigningKeys {
    SigningKeys::new(&BASE64URL_NOPAD.decode(SEED.as_bytes()).unwrap()).unwrap()
}

fn held() -> Vec<Held> {
    read_jwks(&keys().jwks()).unwrap()
}

#[test]
fn signs_as_the_standard_does() {
    let message = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(BASE64URL_NOPAD.encode(&keys().sign(message.as_bytes()).to_bytes()), signature);
    // Good as it is, it is none of ours: it names no key and no sort.
    let token = format!("{message}.{signature}");
    assert_eq!(open(&held(), Sort::Access, &token, 4096), Err(Refusal::Malformed));
}

#[test]
fn opens_what_it_has_signed_and_nothing_else() {
    let token = super::jws::sign(&keys(), Sort::Access, &"body").unwrap();
    assert_eq!(open(&held(), Sort::Access, &token, token.len()), Ok(b"\"body\"".to_vec()));
    assert_eq!(open(&held(), Sort::Access, &token, token.len() - 1), Err(Refusal::TooLong));
    assert_eq!(open(&held(), Sort::Revocations, &token, 4096), Err(Refusal::Type));
    assert_eq!(open(&[], Sort::Access, &token, 4096), Err(Refusal::Key));
    let other = SigningKeys::new(&[1; 32]).unwrap();
    assert_eq!(open(&read_jwks(&other.jwks()).unwrap(), Sort::Access, &token, 4096), Err(Refusal::Key));
}
