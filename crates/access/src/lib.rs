//! Who may do what in the registry: roles, the scopes that bound them, and the keys and tokens that carry both.
//!
//! A [`Principal`] is whoever asks, as far as the registry knows them. Its [`Authority`] is a set of [`Role`]s within a
//! [`Scope`]; every act on a device is checked against the device as it is and as it would be, so that nobody moves a
//! device into or out of their reach. Authority is only ever passed on in part: [`Authority::covers`].

mod api_key;
mod authority;
mod bearer;
mod enrolment_token;
mod role;
mod scope;

pub use api_key::{ApiKey, ApiKeyId, ApiKeyText, NewApiKey, ParseApiKeyError};
pub use authority::{Authority, Principal, RefuseError};
pub use enrolment_token::{
    Admits, EnrolmentToken, EnrolmentTokenId, EnrolmentTokenText, NewEnrolmentToken,
    ParseEnrolmentTokenError,
};
pub use role::{Permission, Role, Roles, UnknownRole};
pub use scope::{Scope, Selection, Target};
