//! One line as a tree. Fields keep their order and may be there twice, so that the reader can say so; texts are wiped
//! when they are dropped, because some of them are passwords.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;
use zeroize::Zeroizing;

pub(super) enum Json {
    Null,
    Bool(bool),
    Integer(i64),
    /// A number with a fraction, or one that is too large.
    Real,
    Text(Zeroizing<String>),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl Json {
    /// What it is, for a message; never what is in it.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Integer(_) | Self::Real => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }
}

/// Reads a whole line. The message says what is wrong and where, and repeats nothing of the line.
pub(super) fn parse(line: &[u8]) -> Result<Json, String> {
    serde_json::from_slice(line).map_err(|error| {
        let text = error.to_string();
        let what = text.split(" at line ").next().unwrap_or_default();
        format!("is no JSON: {what}, at byte {}", error.column())
    })
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Real, Json::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Real)
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(Zeroizing::new(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
        let mut map = Vec::new();
        while let Some(field) = fields.next_entry()? {
            map.push(field);
        }
        Ok(Json::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_without_the_line() {
        for line in [
            "",
            "hunter2",
            "{\"password\":\"hunter2",
            "{\"password\":\"hunter2\"}}",
            "{\"password\":hunter2}",
            "{\"password\" \"hunter2\"}",
            "[\"hunter2\\q\"]",
            "{\"hunter2\":01}",
        ] {
            let what = parse(line.as_bytes()).err().unwrap_or_else(|| panic!("{line} is taken"));
            assert!(what.starts_with("is no JSON: ") && !what.contains("hunter"), "{what}");
        }
        assert!(parse(b"\"\xff\"").is_err());
        assert!(parse("[".repeat(60_000).as_bytes()).is_err());
    }

    #[test]
    fn fields_that_are_there_twice_are_both_seen() {
        let Ok(Json::Map(fields)) = parse(br#" {"a":1,"a":18446744073709551615,"b":[null,true,"x",1.5]} "#)
        else {
            panic!("is an object")
        };
        let kinds: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.kind())).collect();
        assert_eq!(kinds, [("a", "a number"), ("a", "a number"), ("b", "a list")]);
        assert!(matches!(fields[1].1, Json::Real));
    }
}
