use crate::{Excerpt, serde_text::serde_as_text};
use std::{fmt, str::FromStr, time::Duration};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

const MS_PER_SEC: i64 = 1000;
const NS_PER_MS: i128 = 1_000_000;

/// A moment: milliseconds since 1970-01-01T00:00:00Z without leap seconds.
///
/// Kept within the years 0000 to 9999, which RFC 3339 and X.509 can write: what lies outside
/// becomes [`UnixMs::MIN`] or [`UnixMs::MAX`]. Text is RFC 3339 in UTC with milliseconds, such as
/// `2026-03-01T12:00:00.000Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(i64);

impl UnixMs {
    /// 0000-01-01T00:00:00.000Z.
    pub const MIN: Self = Self(-62_167_219_200_000);

    /// 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// From milliseconds since the Unix epoch.
    pub const fn new(ms: i64) -> Self {
        if ms < Self::MIN.0 {
            Self::MIN
        } else if ms > Self::MAX.0 {
            Self::MAX
        } else {
            Self(ms)
        }
    }

    /// From seconds since the Unix epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self::new(secs.saturating_mul(MS_PER_SEC))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_i64(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(MS_PER_SEC)
    }

    /// The moment `duration` later, at most [`UnixMs::MAX`]; parts of a millisecond are dropped.
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self::new(self.0.saturating_add(whole_ms(duration)))
    }

    /// The moment `duration` earlier, at least [`UnixMs::MIN`]; parts of a millisecond are
    /// dropped.
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self::new(self.0.saturating_sub(whole_ms(duration)))
    }

    /// The time that passed since `earlier`, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        let ms = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }
}

impl FromStr for UnixMs {
    type Err = ParseUnixMsError;

    /// Parses an RFC 3339 date and time with any offset; parts of a millisecond are dropped.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || ParseUnixMsError {
            text: Excerpt::of(text),
        };
        let parsed = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| malformed())?;
        let ms = parsed.unix_timestamp_nanos().div_euclid(NS_PER_MS);
        match i64::try_from(ms).map(Self) {
            Ok(moment) if (Self::MIN..=Self::MAX).contains(&moment) => Ok(moment),
            _ => Err(malformed()),
        }
    }
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let utc = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * NS_PER_MS)
            .expect("MIN and MAX lie within the years that `time` can hold");
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            utc.year(),
            u8::from(utc.month()),
            utc.day(),
            utc.hour(),
            utc.minute(),
            utc.second(),
            utc.millisecond()
        )
    }
}

impl fmt::Debug for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_text!(UnixMs, "an RFC 3339 date and time");

/// A text is not a moment in RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text} is not a date and time in RFC 3339 between the years 0000 and 9999; \
     write it like 2026-03-01T12:00:00.000Z"
)]
pub struct ParseUnixMsError {
    text: Excerpt,
}

fn whole_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prints_rfc_3339_with_milliseconds() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (1_772_366_400_007, "2026-03-01T12:00:00.007Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (i64::MIN, "0000-01-01T00:00:00.000Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(UnixMs::new(ms).to_string(), text);
            assert_eq!(text.parse(), Ok(UnixMs::new(ms)));
        }
    }

    #[test]
    fn reads_offsets_and_drops_parts_of_a_millisecond() {
        for (text, ms) in [
            ("1970-01-01T01:00:00+01:00", 0),
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.0019Z", 1),
            ("1969-12-31T23:59:59.9995Z", -1),
        ] {
            assert_eq!(text.parse(), Ok(UnixMs::new(ms)), "{text}");
        }
        for text in [
            "",
            "0",
            "2026-03-01",
            "0000-01-01T00:00:00+01:00",
            "2026-02-30T00:00:00Z",
        ] {
            let error = text.parse::<UnixMs>().expect_err(text).to_string();
            assert!(error.contains("write it like"), "{error}");
        }
    }

    #[test]
    fn rounds_seconds_down() {
        assert_eq!(UnixMs::new(1999).as_secs(), 1);
        assert_eq!(UnixMs::new(-1).as_secs(), -1);
        assert_eq!(UnixMs::from_secs(2).as_i64(), 2000);
        assert_eq!(UnixMs::from_secs(i64::MAX), UnixMs::MAX);
    }

    #[test]
    fn arithmetic_saturates() {
        let second = Duration::from_secs(1);
        let moment = UnixMs::from_secs(10);
        assert_eq!(moment.saturating_add(second), UnixMs::from_secs(11));
        assert_eq!(moment.saturating_sub(second), UnixMs::from_secs(9));
        assert_eq!(moment.saturating_add(Duration::MAX), UnixMs::MAX);
        assert_eq!(moment.saturating_sub(Duration::MAX), UnixMs::MIN);
        assert_eq!(moment.since(UnixMs::from_secs(9)), second);
        assert_eq!(UnixMs::from_secs(9).since(moment), Duration::ZERO);
        assert_eq!(
            UnixMs::MAX.since(UnixMs::MIN).as_secs(),
            u64::try_from(UnixMs::MAX.as_secs() - UnixMs::MIN.as_secs()).expect("positive")
        );
    }

    proptest! {
        #[test]
        fn text_round_trips(ms: i64) {
            let moment = UnixMs::new(ms);
            prop_assert_eq!(moment.to_string().parse(), Ok(moment));
            let json = serde_json::to_string(&moment).expect("JSON");
            prop_assert_eq!(serde_json::from_str::<UnixMs>(&json).expect("text"), moment);
        }

        #[test]
        fn any_text_parses_or_is_refused(text: String) {
            let _ = text.parse::<UnixMs>();
        }
    }
}
