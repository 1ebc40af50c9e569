//! The decision: may this device in, and with what? Pure: the same facts always give the same
//! answer.

mod admit;
mod reason;

pub use admit::{Admission, Denial, Facts, admit};
pub use reason::Reason;
