//! The live sessions of a device, and their end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use leafgate_access::Permission;
use leafgate_api::{Disconnected, ProblemType, Session, SessionList, schema};
use leafgate_identity::DeviceId;
use leafgate_sessions::{AskSystemError, Connection, ConnectionFilter, KickOutcome, SystemAccount};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::extract::{Command, Named, Nothing, Read};
use crate::idempotency::Acting;
use crate::problem::{LATER, Problem};
use crate::setup::Policies;

/// How long all servers together may take to list a device's sessions.
const LIST_LIMIT: Duration = Duration::from_secs(5);

/// The account that devices are let into, where no policy says otherwise.
const DEFAULT_ACCOUNT: &str = "DEVICES";

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(list_sessions))
        .routes(routes!(disconnect_device))
}

/// Finds and ends sessions through the system account.
pub(crate) struct Sessions {
    system: SystemAccount,
    accounts: Vec<String>,
}

impl Sessions {
    /// Looks in the accounts that these policies grant.
    pub(crate) fn new(system: SystemAccount, policies: Option<&Policies>) -> Self {
        let sets = policies.into_iter().flat_map(|it| it.of_domain.values());
        let granted: BTreeSet<String> = sets
            .flat_map(|set| set.policies())
            .map(|policy| policy.account)
            .collect();
        let accounts = match granted.is_empty() {
            true => vec![DEFAULT_ACCOUNT.to_owned()],
            false => granted.into_iter().collect(),
        };
        Self { system, accounts }
    }

    /// The device's connections, each with its account.
    async fn of(&self, id: &DeviceId) -> Result<Vec<(&str, Connection)>, Problem> {
        let listing = async {
            let mut found = Vec::new();
            for account in &self.accounts {
                let filter = ConnectionFilter {
                    account,
                    user: Some(id.as_str()),
                };
                let connections = self.system.connections(filter).await?;
                found.extend(connections.into_iter().map(|it| (account.as_str(), it)));
            }
            Ok::<_, AskSystemError>(found)
        };
        let mut found = match tokio::time::timeout(LIST_LIMIT, listing).await {
            Ok(found) => found.map_err(unavailable)?,
            Err(elapsed) => return Err(unavailable(elapsed)),
        };
        found.sort_by(|(_, a), (_, b)| {
            (&a.server_name, a.client_id).cmp(&(&b.server_name, b.client_id))
        });
        Ok(found)
    }

    /// Ends these connections; how many there were to end.
    async fn end(&self, found: &[(&str, Connection)]) -> Result<u64, Problem> {
        let kicks = found
            .iter()
            .map(|(_, it)| self.system.kick(&it.server_id, it.client_id));
        let outcomes = futures::future::join_all(kicks).await;
        let mut ended = 0;
        for outcome in outcomes {
            ended += u64::from(outcome.map_err(unavailable)? == KickOutcome::Kicked);
        }
        Ok(ended)
    }
}

fn unavailable(source: impl std::error::Error + Send + Sync + 'static) -> Problem {
    let detail = "the nats-servers that hold the devices' sessions did not answer in time";
    Problem::new(ProblemType::SessionsUnavailable, detail)
        .retry_after(LATER)
        .because(source)
}

impl App {
    fn sessions(&self) -> Result<&Sessions, Problem> {
        self.sessions.as_ref().ok_or_else(|| {
            let detail = "this service does not reach the nats-servers' system account: give it [nats] and [system]";
            Problem::new(ProblemType::NotSupported, detail)
        })
    }
}

/// List a device's live sessions
///
/// Asks every nats-server of the leaf cluster. Connections of a device that runs a leaf node of its own are in no such
/// listing.
#[utoipa::path(
    get,
    path = "/v1/devices/{id}/sessions",
    tag = "devices",
    params(("id" = schema::DeviceId, Path, description = "The device's id")),
    responses((status = OK, description = "The sessions", body = SessionList)),
)]
async fn list_sessions(
    State(app): State<Arc<App>>,
    Named(id): Named<DeviceId>,
    read: Read<Nothing>,
) -> Result<Json<SessionList>, Problem> {
    app.device(&read.caller, &id).await?;
    let found = app.sessions()?.of(&id).await?;
    let sessions = found.into_iter().map(|(account, it)| shown(account, it));
    Ok(Json(SessionList {
        sessions: sessions.collect(),
    }))
}

/// End a device's live sessions
///
/// The device may come back at once: disable it to keep it out. Where there are sessions, the audit trail says who ended
/// them.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/disconnect",
    tag = "devices",
    params(("id" = schema::DeviceId, Path, description = "The device's id")),
    responses((status = OK, description = "How many were ended", body = Disconnected)),
)]
async fn disconnect_device(
    State(app): State<Arc<App>>,
    Named(id): Named<DeviceId>,
    command: Command<Nothing>,
) -> Result<Json<Disconnected>, Problem> {
    let caller = command.unconditional()?.caller;
    caller.principal.check(Permission::OperateDevices)?;
    app.device(&caller, &id).await?;
    let sessions = app.sessions()?;
    let found = sessions.of(&id).await?;
    if !found.is_empty() {
        let Acting { registrar, act } = caller.acting(&app, Permission::OperateDevices);
        let number = u64::try_from(found.len()).unwrap_or(u64::MAX);
        registrar.note_disconnect(&id, number, &act).await?;
    }
    let ended = sessions.end(&found).await?;
    tracing::info!(
        device = id.as_str(),
        actor = caller.principal.name.as_str(),
        ended,
        "device disconnected"
    );
    Ok(Json(Disconnected { ended }))
}

fn shown(account: &str, connection: Connection) -> Session {
    let round_trip = connection.round_trip;
    Session {
        account: account.to_owned(),
        cid: connection.client_id,
        started_at: connection.started_at.parse().ok(),
        source: connection.source,
        fingerprint: connection
            .certificate_sha256
            .and_then(|sha256| sha256.parse().ok()),
        round_trip_micros: round_trip.and_then(|time| u64::try_from(time.as_micros()).ok()),
        messages_in: connection.messages_in,
        messages_out: connection.messages_out,
        server_id: connection.server_id,
        server_name: connection.server_name,
    }
}
