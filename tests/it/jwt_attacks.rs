//! What a holder of signed tokens does not believe (OWASP ASVS 5.0 V9, RFC 8725): each row with tokens that somebody who
//! has the right key, or has it not, could make.

use crate::jwt::{AUDIENCE, ISSUER, THUMBPRINT, holder, issue, issuer, parts, seed};
use crate::support::{World, world};
use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use portcullis::jwt::{Refusal, SignedToken, TokenRequest, Verifier};
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::Duration;

fn scene() -> (World, SignedToken, Verifier) {
    let world = world();
    world.user("ada");
    let token = issue(&world.gate, world.login("ada").token()).unwrap();
    let holder = holder(&world.clock);
    assert!(holder.verify(token.as_str()).is_ok());
    (world, token, holder)
}

fn encoded(text: &str) -> String {
    BASE64URL_NOPAD.encode(text.as_bytes())
}

const HEADER: &str = r#"{"alg":"EdDSA","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","typ":"at+jwt"}"#;

/// Signed with that key, whatever it says.
fn signed_by(key: &[u8; 32], header: &str, body: &str) -> String {
    let message = format!("{}.{}", encoded(header), encoded(body));
    let signature = SigningKey::from_bytes(key).sign(message.as_bytes());
    format!("{message}.{}", BASE64URL_NOPAD.encode(&signature.to_bytes()))
}

/// Signed with the right key.
fn signed(header: &str, body: &Value) -> String {
    signed_by(&seed(), header, &body.to_string())
}

#[test]
fn no_bit_of_a_token_can_be_changed() {
    let (_world, token, holder) = scene();
    let bytes = token.as_str().as_bytes();
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.to_vec();
            changed[place] ^= 1 << bit;
            // What is no text can not come in at all.
            if let Ok(changed) = String::from_utf8(changed) {
                assert!(holder.verify(&changed).is_err(), "byte {place}, bit {bit}");
            }
        }
        assert!(holder.verify(&token.as_str()[..place]).is_err(), "cut at {place}");
        let mut longer = token.as_str().to_owned();
        longer.insert(place, 'A');
        assert!(holder.verify(&longer).is_err(), "one more at {place}");
    }
}

#[test]
fn a_token_has_one_spelling() {
    let (_world, token, holder) = scene();
    let [header, body, signature] = token.as_str().split('.').collect::<Vec<_>>()[..] else { panic!() };
    // S and S + L are the same to a careless verifier (Wycheproof, "SignatureMalleability").
    let mut malleable = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, add) in malleable[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    let (malleable, zeros) = (BASE64URL_NOPAD.encode(&malleable), BASE64URL_NOPAD.encode(&[0; 64]));
    // The last character has four bits that stand for nothing.
    let loose = |text: &str| {
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let last = alphabet.find(text.chars().last().unwrap()).unwrap();
        format!("{}{}", &text[..text.len() - 1], alphabet.chars().nth(last | 1).unwrap())
    };
    assert_ne!(loose(signature), signature);
    for other in
        [malleable, zeros, loose(signature), format!("{signature}=="), format!("{signature}A"), String::new()]
    {
        assert_eq!(holder.verify(&format!("{header}.{body}.{other}")), Err(Refusal::Signature), "{other}");
    }
    let pieces = [
        format!("{header}=.{body}.{signature}"),
        format!(" {header}.{body}.{signature}"),
        format!("{header}.{body}.{signature}\n"),
        format!("{header}.{body}.{signature}."),
        format!("{header}..{signature}"),
        format!(".{body}.{signature}"),
        format!("{header}.{body}"),
        format!("{header}.{body}.{signature}.{body}.{signature}"),
        format!("{header}{body}{signature}"),
        format!("Bearer {}", token.as_str()),
        json!({ "protected": header, "payload": body, "signature": signature }).to_string(),
    ];
    for text in pieces {
        assert!(holder.verify(&text).is_err(), "{text}");
    }
    // The same header, spelt otherwise and signed with the right key.
    let claims = parts(token.as_str()).1;
    assert!(holder.verify(&signed(HEADER, &claims)).is_ok(), "as it is issued");
    let spaced = HEADER.replace(',', ", ");
    let twice = HEADER.replace(r#""typ""#, r#""alg":"EdDSA","typ""#);
    for header in [spaced, twice, format!("{HEADER} ")] {
        assert_eq!(holder.verify(&signed(&header, &claims)), Err(Refusal::Malformed), "{header}");
    }
}

#[test]
fn there_is_one_algorithm() {
    let (_world, token, holder) = scene();
    let claims = parts(token.as_str()).1;
    let public = SigningKey::from_bytes(&seed()).verifying_key().to_bytes();
    let (x, jwks) = (BASE64URL_NOPAD.encode(&public), issuer().jwks());
    for name in ["none", "None", "NONE", "nOnE", "", "HS256", "ES256", "RS256", "Ed25519", "eddsa", "EDDSA"] {
        let header = HEADER.replace("EdDSA", name);
        let message = format!("{}.{}", encoded(&header), encoded(&claims.to_string()));
        for text in [format!("{message}."), signed(&header, &claims)] {
            assert_eq!(holder.verify(&text), Err(Refusal::Algorithm), "{name}");
        }
        // The public key, which everybody has, as the secret of a MAC; under its own name and under the right one.
        for secret in [&public[..], x.as_bytes(), jwks.as_bytes()] {
            for header in [header.as_str(), HEADER] {
                let message = format!("{}.{}", encoded(header), encoded(&claims.to_string()));
                let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
                mac.update(message.as_bytes());
                let tag = mac.finalize().into_bytes();
                for tag in [&tag[..], &[&tag[..], &tag[..]].concat()] {
                    let text = format!("{message}.{}", BASE64URL_NOPAD.encode(tag));
                    assert!(holder.verify(&text).is_err(), "{name}");
                }
            }
        }
    }
}

#[test]
fn no_key_comes_with_a_token() {
    let (_world, token, holder) = scene();
    let claims = parts(token.as_str()).1.to_string();
    let thief = [9; 32];
    let x = BASE64URL_NOPAD.encode(&SigningKey::from_bytes(&thief).verifying_key().to_bytes());
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#);
    let members = [
        format!(r#""jwk":{jwk}"#),
        r#""jku":"https://evil.example/jwks""#.into(),
        r#""x5c":["MA=="]"#.into(),
        r#""x5u":"https://evil.example/cert""#.into(),
        r#""x5t":"AA""#.into(),
        r#""crit":["exp"],"exp":1"#.into(),
        r#""b64":false,"crit":["b64"]"#.into(),
        r#""zip":"DEF""#.into(),
        r#""cty":"JWT""#.into(),
        r#""enc":"A256GCM""#.into(),
    ];
    for member in members {
        let header = HEADER.replace('}', &format!(",{member}}}"));
        for key in [&thief, &seed()] {
            let text = signed_by(key, &header, &claims);
            assert_eq!(holder.verify(&text), Err(Refusal::Malformed), "{member}");
        }
    }
    let other = HEADER.replace(THUMBPRINT, "another");
    let path = HEADER.replace(THUMBPRINT, "../../dev/null");
    for header in [other, path, HEADER.replace(THUMBPRINT, "")] {
        assert_eq!(holder.verify(&signed_by(&thief, &header, &claims)), Err(Refusal::Key), "{header}");
        assert_eq!(holder.verify(&signed_by(&seed(), &header, &claims)), Err(Refusal::Key), "{header}");
    }
    assert_eq!(holder.verify(&signed_by(&thief, HEADER, &claims)), Err(Refusal::Signature));
    let without = HEADER.replace(&format!(r#""kid":"{THUMBPRINT}","#), "");
    assert_eq!(holder.verify(&signed_by(&seed(), &without, &claims)), Err(Refusal::Malformed));
}

#[test]
fn a_token_is_of_one_sort_for_one_audience_of_one_issuer() {
    let (world, token, holder) = scene();
    let claims = parts(token.as_str()).1;
    for typ in ["JWT", "jwt", "at+JWT", "application/at+jwt", "revocations+jwt", "logout+jwt", ""] {
        let header = HEADER.replace("at+jwt", typ);
        assert_eq!(holder.verify(&signed(&header, &claims)), Err(Refusal::Type), "{typ}");
    }
    let untyped = HEADER.replace(r#","typ":"at+jwt""#, "");
    assert_eq!(holder.verify(&signed(&untyped, &claims)), Err(Refusal::Malformed));
    let feed = issuer().revocations(&world.gate).unwrap();
    assert_eq!(holder.verify(&feed), Err(Refusal::Type));
    assert_eq!(holder.apply(token.as_str()), Err(Refusal::Type));
    let revoked = json!({ "iss": ISSUER, "iat": 0, "exp": u64::MAX, "seq": 0, "revoked": [] });
    assert_eq!(holder.apply(&signed(HEADER, &revoked)), Err(Refusal::Type));

    let with = |member: &str, value: Value| {
        let mut claims = claims.clone();
        claims[member] = value;
        holder.verify(&signed(HEADER, &claims))
    };
    for other in ["https://auth.example.org/", "https://auth.example.or", "HTTPS://AUTH.EXAMPLE.ORG", ""] {
        assert_eq!(with("iss", other.into()), Err(Refusal::Issuer), "{other}");
    }
    for other in ["https://reports.example.org/", "https://reports.example", "*", ISSUER, ""] {
        assert_eq!(with("aud", other.into()), Err(Refusal::Audience), "{other}");
    }
    assert_eq!(with("aud", json!([AUDIENCE])), Err(Refusal::Malformed), "no token has more than one");
    let principal = world.login("ada");
    let principal = world.gate.authenticate(principal.token()).unwrap();
    let elsewhere = TokenRequest::for_audience("https://bank.example.org");
    let elsewhere = issuer().issue(&principal, &elsewhere).unwrap();
    assert_eq!(holder.verify(elsewhere.as_str()), Err(Refusal::Audience));
}

#[test]
fn a_token_is_good_for_its_time_to_the_millisecond() {
    let (world, token, _) = scene();
    let issued = world.gate.now().as_millis();
    assert_eq!(issued % 1000, 0, "the clock of the test begins at a whole second");
    for leeway in [0, 5, 60] {
        let clock = portcullis::testing::ManualClock::new();
        let holder = holder(&clock).leeway(Duration::from_secs(leeway)).unwrap();
        let at = |millis: u64| {
            clock.set(portcullis::Timestamp::from_millis(millis));
            holder.verify(token.as_str()).map(drop)
        };
        let (begin, end) = (issued - leeway * 1000, issued + 300_000 + leeway * 1000);
        assert_eq!(at(begin - 1000), Err(Refusal::NotYetValid));
        assert_eq!(at(begin - 1), Err(Refusal::NotYetValid));
        assert_eq!((at(begin), at(begin + 1000)), (Ok(()), Ok(())));
        assert_eq!((at(end - 1000), at(end - 1)), (Ok(()), Ok(())));
        assert_eq!(
            (at(end), at(end + 1000), at(u64::MAX)),
            (Err(Refusal::Expired), Err(Refusal::Expired), Err(Refusal::Expired))
        );
    }
    let holder = holder(&world.clock);
    assert!(holder.leeway(Duration::from_millis(60_001)).is_err_and(|error| error.field() == Some("leeway")));
}

#[test]
fn a_signed_token_that_was_never_issued_so_is_refused() {
    let (_world, token, holder) = scene();
    let claims = parts(token.as_str()).1;
    let iat = claims["iat"].as_u64().unwrap();
    for member in claims.as_object().unwrap().keys() {
        let mut without = claims.clone();
        without.as_object_mut().unwrap().remove(member);
        assert_eq!(holder.verify(&signed(HEADER, &without)), Err(Refusal::Malformed), "without {member}");
        for value in
            [json!(null), json!({}), json!([1]), json!(true), json!(-1), json!(1.5), json!("x"), json!("01")]
        {
            let mut with = claims.clone();
            with[member] = value.clone();
            // Free text may be any; who, when and for whom may not.
            let free = ["jti", "client_id"].contains(&member.as_str()) && value.is_string();
            assert_eq!(holder.verify(&signed(HEADER, &with)).is_ok(), free, "{member}: {value}");
        }
        let body = claims.to_string();
        let twice = body.replacen('{', &format!("{{\"{member}\":{},", claims[member]), 1);
        assert_eq!(
            holder.verify(&signed_by(&seed(), HEADER, &twice)),
            Err(Refusal::Malformed),
            "twice {member}"
        );
    }
    for (member, value) in [
        ("exp", json!(iat + 3601)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(iat)),
        ("exp", json!(iat.to_string())),
        ("nbf", json!(0)),
        ("iat", json!(0)),
        ("iat", json!(u64::MAX)),
        ("scope_id", json!("4294967296")),
        ("sub", json!(1)),
        ("sid", json!("18446744073709551616")),
        ("acr", json!("2")),
        ("entitlements", json!("read")),
    ] {
        let mut with = claims.clone();
        with[member] = value.clone();
        assert_eq!(holder.verify(&signed(HEADER, &with)), Err(Refusal::Malformed), "{member}: {value}");
    }
    let mut longest = claims;
    longest["exp"] = json!(iat + 3600);
    longest["unknown"] = json!("members of a later version are passed over");
    assert!(holder.verify(&signed(HEADER, &longest)).is_ok());
    for body in ["", "null", "[]", "\"\"", "{}", "{", "\u{feff}{}"] {
        assert_eq!(holder.verify(&signed_by(&seed(), HEADER, body)), Err(Refusal::Malformed), "{body}");
    }
}

#[test]
fn what_is_too_long_is_not_looked_at() {
    let (_world, token, holder) = scene();
    let mut claims = parts(token.as_str()).1;
    claims["client_id"] = "x".repeat(4000).into();
    let long = signed(HEADER, &claims);
    assert!(long.len() > 4096);
    assert_eq!(holder.verify(&long), Err(Refusal::TooLong));
    assert_eq!(holder.verify(&".".repeat(4097)), Err(Refusal::TooLong));
    assert_eq!(holder.apply(&".".repeat((32 << 20) + 1)), Err(Refusal::TooLong));
    for nothing in ["", ".", "..", "...", "a.b.c", "\0.\0.\0", "é.é.é"] {
        assert_eq!(holder.verify(nothing), Err(Refusal::Malformed), "{nothing:?}");
        assert_eq!(holder.apply(nothing), Err(Refusal::Malformed), "{nothing:?}");
    }
    let header = format!("{}.AA.AA", "A".repeat(2000));
    assert_eq!(holder.verify(&header), Err(Refusal::Malformed));
}
