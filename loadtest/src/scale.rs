use clap::ValueEnum;

use crate::load::Load;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScaleName {
    /// 100,000 devices, four loads, medians of three runs: minutes, with release builds.
    Full,
    /// A few hundred requests: shows that the answers are right, its figures mean nothing.
    Small,
}

/// The sizes behind a name.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    /// Devices in the registry.
    pub(crate) devices: usize,
    /// Those among them that hold a certificate and connect.
    pub(crate) connecting: usize,
    /// Requests of a measurement.
    pub(crate) requests: usize,
    /// Measurements of which the median is reported.
    pub(crate) runs: usize,
    /// The first is the one that the ratio is judged by.
    pub(crate) loads: Vec<Load>,
}

impl ScaleName {
    pub(crate) fn scale(self) -> Scale {
        match self {
            Self::Full => Scale {
                devices: 100_000,
                connecting: 2_000,
                requests: 20_000,
                runs: 3,
                loads: vec![
                    Load::InFlight(64),
                    Load::InFlight(16),
                    Load::InFlight(256),
                    Load::PerSecond(2_000),
                ],
            },
            Self::Small => Scale {
                devices: 200,
                connecting: 50,
                requests: 300,
                runs: 1,
                loads: vec![Load::InFlight(16), Load::PerSecond(500)],
            },
        }
    }
}

/// Reads a number of the command line that must not be zero.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}
