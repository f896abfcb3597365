//! Instants in RFC 3339, in UTC.

use crate::clock::Timestamp;

/// `2024-03-01T12:00:00Z`, with a fraction or without; `+00:00` is taken for `Z`. What is finer than a millisecond is
/// left out.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let whole = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00"))?;
    let (seconds, fraction) = match whole.split_once('.') {
        Some((_, "")) => return None,
        Some((seconds, fraction)) => (seconds, fraction),
        None => (whole, "0"),
    };
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let millis: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let (date, time) = seconds.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    if year < 1970 || !(1..=12).contains(&month) {
        return None;
    }
    // Days since the first of March of the year 0, in which the leap day is the last of a year.
    let (march_year, march_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * march_year + march_year / 4 - march_year / 100
        + march_year / 400
        + (153 * march_month + 2) / 5
        + day;
    let days = days.checked_sub(719_469)?;
    let instant = Timestamp::from_millis(
        days * 86_400_000 + hour * 3_600_000 + minute * 60_000 + second * 1000 + millis,
    );
    // A day, an hour or a second that does not exist reads as another one.
    instant.to_string().starts_with(seconds).then_some(instant)
}

/// Numbers of these widths.
fn numbers(text: &str, between: char, widths: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(between);
    let mut found = [0; 3];
    for (slot, width) in found.iter_mut().zip(widths) {
        let part = parts.next()?;
        let digits = part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit());
        *slot = if digits { part.parse().ok()? } else { return None };
    }
    parts.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00+02:00",
            "2024-01-01 00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2024-1-1T00:00:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00.1234567890Z",
            "+024-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("2000-02-29T00:00:00.5+00:00"), Some(Timestamp::from_millis(951_782_400_500)));
        assert_eq!(parse("1970-01-01T00:00:00.123456789Z"), Some(Timestamp::from_millis(123)));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read(millis in 0u64..253_402_300_800_000) {
            let instant = Timestamp::from_millis(millis);
            prop_assert_eq!(parse(&instant.to_string()), Some(instant));
        }
    }
}
