//! Times as people say them.

use std::time::Duration;

use leafgate_identity::UnixMs;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
// A twelfth of a mean Gregorian year.
const MONTH: u64 = 2_629_746;
const YEAR: u64 = 12 * MONTH;

/// `in 6 days`, `2 min ago`, `now`.
pub(crate) fn relative(at: UnixMs, now: UnixMs) -> String {
    if at >= now {
        match at.since(now).as_secs() {
            0 => "now".to_owned(),
            secs => format!("in {}", rough(secs)),
        }
    } else {
        match now.since(at).as_secs() {
            0 => "now".to_owned(),
            secs => format!("{} ago", rough(secs)),
        }
    }
}

/// The largest unit of which there are two, rounded down; one where there is no smaller unit to
/// say it in.
fn rough(secs: u64) -> String {
    let (count, unit) = match secs {
        _ if secs < 2 * MINUTE => return format!("{secs} s"),
        _ if secs < 2 * HOUR => return format!("{} min", secs / MINUTE),
        _ if secs < 2 * DAY => return format!("{} h", secs / HOUR),
        _ if secs < 2 * MONTH => (secs / DAY, "days"),
        _ if secs < 2 * YEAR => (secs / MONTH, "months"),
        _ => (secs / YEAR, "years"),
    };
    format!("{count} {unit}")
}

/// Date and time in UTC, to the second.
pub(crate) fn exact(at: UnixMs) -> String {
    let text = UnixMs::from_secs(at.as_secs()).to_string();
    text.replace(".000Z", "Z")
}

/// Reads `500ms`, `5s`, `2m`, `1h` or `7d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("{text:?} is no duration; write a whole number and ms, s, m, h or d: 5s");
    let digits = text
        .find(|character: char| !character.is_ascii_digit())
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => MINUTE * 1_000,
        "h" => HOUR * 1_000,
        "d" => DAY * 1_000,
        _ => return Err(wrong()),
    };
    let ms = number.checked_mul(factor_ms).filter(|ms| *ms > 0);
    ms.map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_their_largest_sensible_unit() {
        let now = UnixMs::from_secs(1_800_000_000);
        let said = |secs: i64| relative(UnixMs::from_secs(now.as_secs() + secs), now);
        assert_eq!(said(0), "now");
        for (secs, text) in [
            (1, "1 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7_199, "119 min"),
            (7_200, "2 h"),
            (172_799, "47 h"),
            (172_800, "2 days"),
            (604_800 - 1, "6 days"),
            (604_800, "7 days"),
            (86_400 * 60, "60 days"),
            (86_400 * 61, "2 months"),
            (86_400 * 365 * 2, "23 months"),
            (86_400 * 366 * 10, "10 years"),
        ] {
            assert_eq!(said(secs), format!("in {text}"));
            assert_eq!(said(-secs), format!("{text} ago"));
        }
    }

    #[test]
    fn parts_of_a_second_are_now() {
        let now = UnixMs::new(1_000_000);
        assert_eq!(relative(UnixMs::new(1_000_999), now), "now");
        assert_eq!(relative(UnixMs::new(999_001), now), "now");
    }

    #[test]
    fn exact_times_are_rfc_3339_to_the_second() {
        assert_eq!(
            exact(UnixMs::new(1_772_366_400_007)),
            "2026-03-01T12:00:00Z"
        );
    }

    #[test]
    fn durations_are_strict() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3_600)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
        for wrong in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "0s",
            "1.5s",
            "5w",
            "99999999999999999999s",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
