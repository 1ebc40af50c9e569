//! Issuers as commands show them.

use leafgate_api::Issuer;
use leafgate_identity::SpkiHash;
use leafgate_runtime::Clock;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::certificate::expiry_cell;
use crate::cli::error::CliError;
use crate::cli::moment::{exact, relative};
use crate::cli::table::{NONE, Table};

pub(super) const ACTIVATED: &str = "New certificates come from it. The one before can be activated again until it is retired:\n\
     leafgate ca rotate retire ISSUER";

#[derive(Serialize)]
struct IssuersView<'a> {
    issuers: &'a [Issuer],
}

/// Issuers, and what to do next.
pub(super) fn show(all: &[Issuer], context: &Context, next: Option<&str>) -> Result<(), CliError> {
    let view = IssuersView { issuers: all };
    let now = context.clock.now();
    context.console.show(&view, |style| {
        let mut table = Table::new(&[
            "NAME",
            "ISSUER",
            "STATE",
            "SINCE",
            "HOLDERS",
            "CERTIFICATES",
            "LAST EXPIRES",
            "KEY",
        ]);
        for it in all {
            let left = it.outstanding.as_ref();
            let count = |count: Option<usize>| count.map_or(NONE.to_owned(), |it| it.to_string());
            table.push(vec![
                it.name.as_str().into(),
                short(&it.issuer).into(),
                it.state.as_str().into(),
                it.since
                    .map_or(NONE.to_owned(), |at| relative(at, now))
                    .into(),
                count(left.map(|it| it.holders)).into(),
                count(left.map(|it| it.certificates)).into(),
                left.and_then(|it| it.last_not_after)
                    .map_or(NONE.into(), |end| expiry_cell(end, now)),
                if it.key_present { "here" } else { "missing" }.into(),
            ]);
        }
        let next = next.map_or(String::new(), |next| format!("\n{next}"));
        format!("{}{next}", table.render(style))
    })
}

/// What an operator does with an issuer that is retired.
pub(super) fn after_retirement(status: &Issuer) -> String {
    let Some(left) = &status.outstanding else {
        return "It signs no certificate any more. Keep it in the ca_file of listeners and the issuers of callouts\n\
                until its last certificate has ended."
            .to_owned();
    };
    let keep = match left.last_not_after {
        Some(end) => format!(
            "{} devices and services hold {} certificates of it, the last until {}.\n\
             Keep it in the ca_file of listeners and the issuers of callouts until then.",
            left.holders,
            left.certificates,
            exact(end)
        ),
        None => {
            "Nobody holds a certificate of it: listeners and callouts need it no longer.".to_owned()
        }
    };
    match left.last_unexpired {
        Some(end) => format!(
            "{keep}\nIts revocation list is signed until {}; then: leafgate ca rotate remove {}",
            exact(end),
            short(&status.issuer)
        ),
        None => format!(
            "{keep}\nThen: leafgate ca rotate remove {}",
            short(&status.issuer)
        ),
    }
}

/// What people name an issuer by.
pub(super) fn short(issuer: &SpkiHash) -> String {
    let mut text = issuer.to_string();
    text.truncate(8);
    text
}
