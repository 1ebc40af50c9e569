use std::fmt;

/// One of the [`IssuanceLimits`](crate::IssuanceLimits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuanceLimit {
    /// So many in use at a time.
    InUse(usize),
    /// So many within 24 hours.
    PerDay(usize),
}

impl fmt::Display for IssuanceLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(most) => write!(f, "{most} certificates in use"),
            Self::PerDay(most) => write!(f, "asked for {most} certificates within a day"),
        }
    }
}
