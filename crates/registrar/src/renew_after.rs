use leafgate_identity::{Fingerprint, UnixMs, Validity};

/// The part of its life after which a certificate is renewed at the earliest, in percent.
const FIRST: i64 = 60;
/// How much later it is renewed at the latest, in percent of its life.
const SPREAD: i64 = 13;

/// When a certificate is best renewed: about two thirds into its life, and not at the same time as its neighbours.
///
/// The moment lies between 60 and 73 % of the whole life, where the certificate's own hash puts it: so each certificate
/// has one answer, whoever asks, and those of a fleet that was enrolled at once spread evenly over that time. RFC 9773
/// section 4.2 leaves the choice within such a window to the client.
pub fn renew_after(validity: Validity, fingerprint: &Fingerprint) -> UnixMs {
    let [a, b, c, d, ..] = *fingerprint.as_bytes();
    let place = i64::from(u32::from_be_bytes([a, b, c, d]));
    let Validity {
        not_before,
        not_after,
    } = validity;
    // A life has less than 2^49 ms (UnixMs spans 10,000 years), so the products stay within 128 bits by far.
    let life = i128::from(not_after.as_i64().saturating_sub(not_before.as_i64()));
    let share = i128::from(FIRST) * (1 << 32) + i128::from(SPREAD * place);
    let after = life * share / (100 * (1_i128 << 32));
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    UnixMs::new(not_before.as_i64().saturating_add(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: i64 = 168 * 3_600_000;

    fn part(first_bytes: [u8; 4]) -> f64 {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&first_bytes);
        let validity = Validity {
            not_before: UnixMs::new(1_772_366_400_000),
            not_after: UnixMs::new(1_772_366_400_000 + LIFE),
        };
        let after = renew_after(validity, &Fingerprint::from_bytes(bytes));
        let lived = i32::try_from(after.as_i64() - validity.not_before.as_i64()).unwrap();
        f64::from(lived) / f64::from(i32::try_from(LIFE).unwrap())
    }

    #[test]
    fn the_window_is_60_to_73_percent_of_life() {
        assert!((part([0; 4]) - 0.60).abs() < 1e-6);
        assert!((part([128, 0, 0, 0]) - 0.665).abs() < 1e-6);
        assert!((part([255; 4]) - 0.73).abs() < 1e-6);
    }

    #[test]
    fn a_fleet_is_spread_evenly() {
        let mut tenths = [0; 10];
        for number in 0_u32..10_000 {
            let hash = Fingerprint::of_certificate_der(&number.to_be_bytes());
            let [a, b, c, d, ..] = *hash.as_bytes();
            let tenth = (part([a, b, c, d]) - 0.60) / 0.13 * 10.0;
            let tenth = (0..10_u8)
                .rev()
                .find(|n| f64::from(*n) <= tenth)
                .unwrap_or(0);
            tenths[usize::from(tenth)] += 1;
        }
        assert!(
            tenths.iter().all(|count| (800..1200).contains(count)),
            "{tenths:?}"
        );
    }

    #[test]
    fn no_validity_is_too_odd() {
        let hash = Fingerprint::from_bytes([255; 32]);
        for (not_before, not_after) in
            [(UnixMs::MIN, UnixMs::MAX), (UnixMs::new(5), UnixMs::new(5))]
        {
            let validity = Validity {
                not_before,
                not_after,
            };
            let after = renew_after(validity, &hash);
            assert!(not_before <= after && after <= not_after);
        }
    }
}
