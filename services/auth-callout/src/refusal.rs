use leafgate_admission::{Denial, Reason};
use leafgate_identity::ResolveIdentityError;
use leafgate_nats_jwt::CheckRequestError;

/// A denial that tells the error with its causes.
pub(crate) fn denial(reason: Reason, error: &dyn std::error::Error) -> Denial {
    let mut detail = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        detail.push_str(": ");
        detail.push_str(&error.to_string());
        cause = error.source();
    }
    Denial { reason, detail }
}

/// What a request's claims are refused for.
pub(crate) fn of_request(error: &CheckRequestError) -> Reason {
    match error {
        CheckRequestError::Type { .. }
        | CheckRequestError::Version { .. }
        | CheckRequestError::TimeMissing { .. } => Reason::RequestMalformed,
        CheckRequestError::Audience { .. } | CheckRequestError::Subject { .. } => {
            Reason::RequestMisdirected
        }
        CheckRequestError::Server { .. } => Reason::RequestForged,
        CheckRequestError::Xkey => Reason::RequestSealBroken,
        CheckRequestError::Expired { .. } => Reason::RequestExpired,
        CheckRequestError::NotYetValid { .. } => Reason::ClockSkew,
    }
}

/// What a certificate is refused for that names no device of ours.
pub(crate) fn of_identity(error: &ResolveIdentityError) -> Reason {
    match error {
        ResolveIdentityError::IssuerUnknown { .. } => Reason::IssuerUnknown,
        ResolveIdentityError::NameForeign { .. } => Reason::NameForeign,
        ResolveIdentityError::IdMalformed { .. } => Reason::NameMalformed,
    }
}
