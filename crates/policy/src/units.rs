//! Durations, byte sizes and percentages as policies write them: a whole number and one unit.

use std::time::Duration;

use crate::problem::Fault;

const DURATION_UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

const BYTE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// "30s", "1m", "12h", "7d".
pub(crate) fn parse_duration(text: &str) -> Result<Duration, Fault> {
    parse_quantity(text, &DURATION_UNITS)
        .map(Duration::from_secs)
        .ok_or_else(|| {
            Fault::new(
                format!("\"{}\" is not a duration", text.escape_debug()),
                "write a whole number and one of s, m, h, d: \"90s\", \"12h\"",
            )
        })
}

/// "64KiB" is 65,536 bytes, "64KB" 64,000.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, Fault> {
    parse_quantity(text, &BYTE_UNITS).ok_or_else(|| {
        Fault::new(
            format!("\"{}\" is not a size in bytes", text.escape_debug()),
            "write a whole number and one of B, KiB, MiB, GiB (1024) or KB, MB, GB (1000): \"64KiB\"",
        )
    })
}

/// "20%".
pub(crate) fn parse_percent(text: &str) -> Result<u8, Fault> {
    text.strip_suffix('%')
        .and_then(parse_number)
        .and_then(|n| u8::try_from(n).ok())
        .filter(|n| *n <= 100)
        .ok_or_else(|| {
            Fault::new(
                format!("\"{}\" is not a percentage", text.escape_debug()),
                "write a whole number from 0 to 100 and the sign: \"20%\"",
            )
        })
}

/// "12 h", "90 s": the largest unit that leaves no remainder.
pub(crate) fn format_secs(secs: u64) -> String {
    let unit = DURATION_UNITS
        .iter()
        .rev()
        .find(|(_, size)| secs > 0 && secs.is_multiple_of(*size));
    match unit {
        Some((name, size)) => format!("{} {name}", secs / size),
        None => format!("{secs} s"),
    }
}

/// "64 KiB", "64 KB", "1500 B".
pub(crate) fn format_bytes(bytes: u64) -> String {
    let unit = BYTE_UNITS
        .iter()
        .rev()
        .find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size));
    match unit {
        Some((name, size)) => format!("{} {name}", bytes / size),
        None => format!("{bytes} B"),
    }
}

fn parse_quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, size) = units.iter().find(|(name, _)| *name == unit)?;
    parse_number(number)?.checked_mul(*size)
}

/// Decimal digits without sign or leading zero.
fn parse_number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_strict() {
        assert_eq!(
            parse_duration("12h").unwrap(),
            Duration::from_secs(12 * 3600)
        );
        assert_eq!(parse_duration("7d").unwrap(), Duration::from_secs(604_800));
        for bad in [
            "",
            "12",
            "h",
            "12 h",
            "12H",
            "1h30m",
            "-1h",
            "+1h",
            "1.5h",
            "012h",
            "12hours",
            "99999999999999999999h",
            "18446744073709551615d",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_strict() {
        assert_eq!(parse_bytes("64KiB").unwrap(), 65_536);
        assert_eq!(parse_bytes("64KB").unwrap(), 64_000);
        assert_eq!(parse_bytes("1500B").unwrap(), 1_500);
        for bad in ["", "64", "64kb", "64K", "64 KiB", "0x10B", "KiB", "64KIB"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn percentages_are_strict() {
        assert_eq!(parse_percent("20%").unwrap(), 20);
        assert_eq!(parse_percent("0%").unwrap(), 0);
        for bad in ["20", "%", "101%", "-1%", "1.5%", "020%"] {
            assert!(parse_percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn quantities_print_in_their_largest_whole_unit() {
        assert_eq!(format_secs(43_200), "12 h");
        assert_eq!(format_secs(90), "90 s");
        assert_eq!(format_secs(60), "1 m");
        assert_eq!(format_secs(0), "0 s");
        assert_eq!(format_bytes(65_536), "64 KiB");
        assert_eq!(format_bytes(64_000), "64 KB");
        assert_eq!(format_bytes(1_501), "1501 B");
    }
}
