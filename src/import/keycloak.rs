//! Keycloak's password credentials, as a realm's export has them.

use super::json::{Json, parse};
use zeroize::Zeroizing;

/// The string of a credential, of which the hasher then says whether it is whole; `None` where it is no credential.
///
/// `secretData` and `credentialData` may be objects, or the texts of objects, as in an export.
pub(super) fn stored(credential: &[(String, Json)]) -> Option<Zeroizing<String>> {
    let mut secret = None;
    let mut settings = None;
    for (name, value) in credential {
        match (name.as_str(), value) {
            ("secretData", value) => secret = Some(object(value)?),
            ("credentialData", value) => settings = Some(object(value)?),
            ("type", Json::Text(kind)) if kind.as_str() != "password" => return None,
            ("type" | "id" | "createdDate" | "userLabel" | "priority" | "temporary", _) => {}
            _ => return None,
        }
    }
    let (secret, settings) = (secret?, settings?);
    let (salt, value) = (text(&secret, "salt")?, text(&secret, "value")?);
    let algorithm = text(&settings, "algorithm")?;
    let Json::Integer(iterations) = field(&settings, "hashIterations")? else { return None };
    if algorithm != "argon2" {
        return Some(Zeroizing::new(format!("keycloak${algorithm}${iterations}${salt}${value}")));
    }
    // Its additional parameters are lists of one text each.
    let Json::Map(more) = field(&settings, "additionalParameters")? else { return None };
    let one = |name| match field(more, name)? {
        Json::List(list) => match list.as_slice() {
            [Json::Text(value)] => Some(value.as_str()),
            _ => None,
        },
        _ => None,
    };
    let version = match one("version")? {
        "1.3" => 19,
        "1.0" => 16,
        _ => return None,
    };
    let (kind, memory, lanes) = (one("type")?, one("memory")?, one("parallelism")?);
    let (salt, value) = (salt.trim_end_matches('='), value.trim_end_matches('='));
    let phc = format!("$argon2{kind}$v={version}$m={memory},t={iterations},p={lanes}${salt}${value}");
    Some(Zeroizing::new(phc))
}

/// An object that is there, or that a text was read into.
enum Object<'j> {
    There(&'j [(String, Json)]),
    Read(Vec<(String, Json)>),
}

impl std::ops::Deref for Object<'_> {
    type Target = [(String, Json)];

    fn deref(&self) -> &Self::Target {
        match self {
            Self::There(map) => map,
            Self::Read(map) => map,
        }
    }
}

fn object(value: &Json) -> Option<Object<'_>> {
    match value {
        Json::Map(map) => Some(Object::There(map)),
        Json::Text(text) => match parse(text.as_bytes()).ok()? {
            Json::Map(map) => Some(Object::Read(map)),
            _ => None,
        },
        _ => None,
    }
}

fn field<'j>(map: &'j [(String, Json)], wanted: &str) -> Option<&'j Json> {
    map.iter().find(|(name, _)| name == wanted).map(|(_, value)| value)
}

fn text<'j>(map: &'j [(String, Json)], wanted: &str) -> Option<&'j str> {
    match field(map, wanted)? {
        Json::Text(value) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<String> {
        let Ok(Json::Map(map)) = parse(line.as_bytes()) else { panic!("{line}") };
        stored(&map).map(|stored| stored.to_string())
    }

    #[test]
    fn exports_become_strings() {
        let exported = r#"{"id":"0a","type":"password","userLabel":"My password","createdDate":1715945341964,
            "secretData":"{\"value\":\"AAAA\",\"salt\":\"BBBB\",\"additionalParameters\":{}}",
            "credentialData":"{\"hashIterations\":27500,\"algorithm\":\"pbkdf2-sha256\",\"additionalParameters\":{}}"}"#;
        assert_eq!(of(exported).unwrap(), "keycloak$pbkdf2-sha256$27500$BBBB$AAAA");
        let argon = r#"{"secretData":{"value":"AAAA=","salt":"BBBB=="},"credentialData":{"hashIterations":5,
            "algorithm":"argon2","additionalParameters":{"hashLength":["32"],"memory":["7168"],"type":["id"],
            "version":["1.3"],"parallelism":["1"]}}}"#;
        assert_eq!(of(argon).unwrap(), "$argon2id$v=19$m=7168,t=5,p=1$BBBB$AAAA");
    }

    #[test]
    fn what_is_no_credential_is_none() {
        for line in [
            "{}",
            r#"{"secretData":{},"credentialData":{}}"#,
            r#"{"type":"otp","secretData":{"value":"A","salt":"B"},"credentialData":{"hashIterations":1,"algorithm":"x"}}"#,
            r#"{"secretData":"[1]","credentialData":{"hashIterations":1,"algorithm":"x"}}"#,
            r#"{"secretData":{"value":"A","salt":null},"credentialData":{"hashIterations":1,"algorithm":"x"}}"#,
            r#"{"secretData":{"value":"A","salt":"B"},"credentialData":{"hashIterations":1,"algorithm":"argon2"}}"#,
            r#"{"secretData":{"value":"A","salt":"B"},"credentialData":{"hashIterations":"1","algorithm":"x"}}"#,
            r#"{"plain":"hunter2"}"#,
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
