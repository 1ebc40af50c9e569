use std::time::Duration;

use anyhow::{Result, ensure};
use futures::StreamExt as _;
use leafgate_identity::DeviceId;
use leafgate_runtime::Clock as _;
use nix::unistd::Pid;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, QueryBuilder, Sqlite, SqliteConnection,
};

use super::database::{Database, Databases};
use super::report::{Goal, RegistryRow};
use super::{RegistryScale, StoreName};
use crate::site::{Site, new_devices};
use crate::usage::cpu_time;

/// Rows of a statement, and of a transaction, of SQLite's peer.
const ROWS_PER_INSERT: usize = 1_000;
const ROWS_PER_TRANSACTION: usize = 10_000;

/// Imports all devices by the product's own path, and in turns has the database take the very same rows of the same
/// tables by its own means: COPY in PostgreSQL, batches of INSERT in SQLite. Both find what they write in memory.
pub(super) async fn measure(
    site: &Site,
    databases: &Databases,
    into: &Database,
    ids: &[DeviceId],
    scale: &RegistryScale,
) -> Result<Vec<RegistryRow>> {
    let registrar = site.registrar(into.store())?;
    let peer = databases.create().await?;
    let mut of_leafgate = Spent::default();
    let mut of_peer = Spent::default();
    let mut newest = 0;
    for part in ids.chunks(ids.len().div_ceil(scale.import_rounds)) {
        let import = site.import(&registrar, new_devices(part));
        of_leafgate.add(site, databases, import).await?;
        match into.kind() {
            StoreName::Postgres => {
                let rows = CopyRows::read(into, part, newest).await?;
                of_peer.add(site, databases, rows.write(&peer)).await?;
            }
            StoreName::Sqlite => {
                let rows = InsertRows::read(into, part, newest).await?;
                of_peer.add(site, databases, rows.write(&peer)).await?;
            }
        }
        newest = into.store().position().await?.seq;
    }
    ensure!(
        newest == ids.len() as u64 && into.store().position().await?.seq == newest,
        "{newest} events tell of {} devices",
        ids.len()
    );
    for (holder, database) in [("the registry", into), ("its peer", &peer)] {
        let held = count(database).await?;
        ensure!(held == ids.len() as i64, "{holder} holds {held} devices");
    }
    let beside = match into.kind() {
        StoreName::Postgres => "COPY",
        StoreName::Sqlite => "batched INSERT",
    };
    let row = |what: &str, figures: [f64; 2], digits, goal| RegistryRow {
        store: Some(into.kind()),
        what: what.to_owned(),
        leafgate: figures[0],
        beside: Some((beside.to_owned(), figures[1])),
        digits,
        goal,
    };
    let devices = ids.len() as f64;
    let of_both = |figure: &dyn Fn(&Spent) -> f64| [figure(&of_leafgate), figure(&of_peer)];
    let us = |time: Duration| time.as_secs_f64() * 1e6 / devices;
    let mut rows = vec![
        row(
            "import, devices/s",
            of_both(&|it| devices / it.elapsed.as_secs_f64()),
            0,
            Goal::AtLeastOf(0.5),
        ),
        row(
            "import, CPU µs of the process for a device",
            of_both(&|it| us(it.process)),
            1,
            Goal::None,
        ),
    ];
    if into.kind() == StoreName::Postgres {
        rows.push(row(
            "import, CPU µs of the database for a device",
            of_both(&|it| us(it.database)),
            1,
            Goal::None,
        ));
    }
    Ok(rows)
}

async fn count(database: &Database) -> Result<i64> {
    const COUNT: &str = "SELECT count(*) FROM devices";
    Ok(match database.kind() {
        StoreName::Postgres => {
            let mut connection = PgConnection::connect(database.url()).await?;
            sqlx::query_scalar(COUNT).fetch_one(&mut connection).await?
        }
        StoreName::Sqlite => {
            let mut connection = SqliteConnection::connect(database.url()).await?;
            sqlx::query_scalar(COUNT).fetch_one(&mut connection).await?
        }
    })
}

/// What several turns took.
#[derive(Default)]
struct Spent {
    elapsed: Duration,
    /// CPU time of this process.
    process: Duration,
    /// CPU time of the database's processes.
    database: Duration,
}

impl Spent {
    async fn add(
        &mut self,
        site: &Site,
        databases: &Databases,
        turn: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let measure = || {
            anyhow::Ok((
                site.clock.monotonic(),
                cpu_time(Pid::this())?,
                databases.cpu_time(),
            ))
        };
        let before = measure()?;
        turn.await?;
        let after = measure()?;
        self.elapsed += after.0 - before.0;
        self.process += after.1 - before.1;
        self.database += after.2.saturating_sub(before.2);
        Ok(())
    }
}

/// Rows as PostgreSQL writes them.
struct CopyRows {
    devices: Vec<u8>,
    events: Vec<u8>,
}

impl CopyRows {
    /// Those of these devices, and those of the events after this one.
    async fn read(from: &Database, ids: &[DeviceId], after: u64) -> Result<Self> {
        let mut connection = PgConnection::connect(from.url()).await?;
        let (first, last) = bounds(ids);
        let devices = format!(
            "COPY (SELECT * FROM devices WHERE id BETWEEN '{first}' AND '{last}' ORDER BY id) TO STDOUT"
        );
        let events =
            format!("COPY (SELECT * FROM events WHERE seq > {after} ORDER BY seq) TO STDOUT");
        Ok(Self {
            devices: copy_out(&mut connection, &devices).await?,
            events: copy_out(&mut connection, &events).await?,
        })
    }

    async fn write(self, to: &Database) -> Result<()> {
        let options: PgConnectOptions = to.url().parse()?;
        let mut connection = options.connect().await?;
        let mut transaction = connection.begin().await?;
        for (table, rows) in [("devices", self.devices), ("events", self.events)] {
            let mut copy = transaction
                .copy_in_raw(&format!("COPY {table} FROM STDIN"))
                .await?;
            copy.send(rows).await?;
            copy.finish().await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

async fn copy_out(connection: &mut PgConnection, sql: &str) -> Result<Vec<u8>> {
    let mut rows = connection.copy_out_raw(sql).await?;
    let mut text = Vec::new();
    while let Some(piece) = rows.next().await {
        text.extend_from_slice(&piece?);
    }
    Ok(text)
}

type DeviceRow = (
    String,
    String,
    String,
    i64,
    i64,
    String,
    String,
    Option<String>,
    String,
    i64,
    i64,
);
type EventRow = (
    i64,
    i64,
    String,
    String,
    Option<String>,
    String,
    String,
    String,
);

/// Rows as a program holds them.
struct InsertRows {
    devices: Vec<DeviceRow>,
    events: Vec<EventRow>,
}

impl InsertRows {
    /// Those of these devices, and those of the events after this one.
    async fn read(from: &Database, ids: &[DeviceId], after: u64) -> Result<Self> {
        let mut connection = SqliteConnection::connect(from.url()).await?;
        let (first, last) = bounds(ids);
        let devices = sqlx::query_as("SELECT * FROM devices WHERE id BETWEEN ? AND ? ORDER BY id");
        let events = sqlx::query_as("SELECT * FROM events WHERE seq > ? ORDER BY seq");
        let devices = devices.bind(first.as_str()).bind(last.as_str());
        let events = events.bind(i64::try_from(after)?);
        Ok(Self {
            devices: devices.fetch_all(&mut connection).await?,
            events: events.fetch_all(&mut connection).await?,
        })
    }

    async fn write(self, to: &Database) -> Result<()> {
        let mut connection = SqliteConnectOptions::new()
            .filename(to.path())
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .connect()
            .await?;
        let pairs = self.devices.chunks(ROWS_PER_TRANSACTION);
        for (devices, events) in pairs.zip(self.events.chunks(ROWS_PER_TRANSACTION)) {
            let mut transaction = connection.begin().await?;
            for rows in devices.chunks(ROWS_PER_INSERT) {
                let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO devices ");
                sql.push_values(rows, |mut row, it| {
                    row.push_bind(&it.0)
                        .push_bind(&it.1)
                        .push_bind(&it.2)
                        .push_bind(it.3)
                        .push_bind(it.4)
                        .push_bind(&it.5)
                        .push_bind(&it.6)
                        .push_bind(&it.7)
                        .push_bind(&it.8)
                        .push_bind(it.9)
                        .push_bind(it.10);
                });
                sql.build().execute(&mut *transaction).await?;
            }
            for rows in events.chunks(ROWS_PER_INSERT) {
                let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO events ");
                sql.push_values(rows, |mut row, it| {
                    row.push_bind(it.0)
                        .push_bind(it.1)
                        .push_bind(&it.2)
                        .push_bind(&it.3)
                        .push_bind(&it.4)
                        .push_bind(&it.5)
                        .push_bind(&it.6)
                        .push_bind(&it.7);
                });
                sql.build().execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
        }
        Ok(())
    }
}

fn bounds(ids: &[DeviceId]) -> (&DeviceId, &DeviceId) {
    (&ids[0], &ids[ids.len() - 1])
}
