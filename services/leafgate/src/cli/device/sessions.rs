//! `leafgate device sessions` and `disconnect`.

use leafgate_runtime::Clock;

use super::id;
use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::moment::relative;
use crate::cli::registry::Registry;
use crate::cli::table::{NONE, Table, count};

pub(super) async fn list(
    registry: &dyn Registry,
    context: &Context,
    id: &str,
) -> Result<Exit, CliError> {
    let list = registry.sessions(&id::parse(id)?).await?;
    context.console.show(&list, |style| {
        let mut table = Table::new(&["SERVER", "CID", "ACCOUNT", "SINCE", "FROM", "IN", "OUT"]);
        for session in &list.sessions {
            let since = session.started_at;
            table.push(vec![
                session.server_name.as_str().into(),
                session.cid.to_string().into(),
                session.account.as_str().into(),
                since
                    .map_or(NONE.to_owned(), |at| relative(at, context.clock.now()))
                    .into(),
                session
                    .source
                    .map_or(NONE.to_owned(), |source| source.to_string())
                    .into(),
                session.messages_in.to_string().into(),
                session.messages_out.to_string().into(),
            ]);
        }
        match list.sessions.len() {
            0 => "no sessions".to_owned(),
            some => format!("{}\n{}", table.render(style), count(some, "session")),
        }
    })?;
    Ok(Exit::Done)
}

pub(super) async fn disconnect(
    registry: &dyn Registry,
    context: &Context,
    id: &str,
) -> Result<Exit, CliError> {
    let id = id::parse(id)?;
    let disconnected = registry.disconnect(&id).await?;
    context.console.show(&disconnected, |_| {
        let ended = usize::try_from(disconnected.ended).unwrap_or(usize::MAX);
        match ended {
            0 => format!("{id} has no session"),
            some => format!(
                "{} of {id} ended; it may come back at once: disable it to keep it out",
                count(some, "session")
            ),
        }
    })?;
    Ok(Exit::Done)
}
