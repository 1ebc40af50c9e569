//! How PostgreSQL goes about what is asked often, or of large registries.

use std::collections::BTreeSet;

use leafgate_identity::{DeviceId, Fingerprint, SpkiHash, UnixMs};
use leafgate_registry::{
    CertificateQuery, CertificateStatusKind, Cursor, DeviceState, DocumentKind, DocumentName, Query,
};
use leafgate_testkit::postgres::PostgresDatabase;
use sqlx::{AssertSqlSafe, Execute, PgConnection, Row};

use super::PostgresOptions;
use super::connect::{Access, Database};
use super::read::{self, Statement};
use super::schema::tests::migrated;
use super::write;
use crate::search;

/// Enough for the planner to see that reading everything is no good plan.
const POPULATE: &str = "
    INSERT INTO devices SELECT 'device-' || n, 'device-' || n, 'factory', 1, 1,
        CASE WHEN n % 100 = 0 THEN 'pending' ELSE 'active' END, 'type-' || n % 50, 'site-' || n % 50,
        '{\"number\":\"' || n || '\"}', 1, 1 FROM generate_series(1, 20000) n;
    INSERT INTO certificates SELECT 'device', 'device-' || (n % 20000 + 1), repeat('01', 32), to_hex(n + 65536), 1,
        'device', encode(sha256(n::text::bytea), 'hex'), encode(sha256(('k' || n)::bytea), 'hex'),
        CASE WHEN n % 50 = 0 THEN 'revoked' ELSE 'issued' END, NULL, NULL, 1, n, n FROM generate_series(1, 40000) n;
    INSERT INTO documents SELECT 'request', 'request-' || n, 1, n, '{}' FROM generate_series(1, 20000) n;
    INSERT INTO events SELECT n, 1, 'test', 'device-registered', 'device-' || n, '{}', '', ''
        FROM generate_series(1, 20000) n;
    ANALYZE";

async fn populated() -> (PostgresDatabase<'static>, PgConnection) {
    let (scratch, connection) = migrated().await;
    scratch.sql(POPULATE);
    (scratch, connection)
}

async fn connected(scratch: &PostgresDatabase<'_>, access: Access) -> PgConnection {
    let options = PostgresOptions {
        url: scratch.url(),
        password_file: None,
        ca_file: None,
    };
    Database::open(&options, access).await.unwrap().1
}

/// A line for each step (<https://www.postgresql.org/docs/15/using-explain.html>).
async fn plan(connection: &mut PgConnection, mut statement: Statement) -> String {
    let arguments = statement.take_arguments().unwrap().unwrap();
    let sql = AssertSqlSafe(format!("EXPLAIN (COSTS OFF) {}", statement.sql().as_str()));
    let explain = sqlx::query_scalar_with(sql, arguments).persistent(false);
    let lines: Vec<String> = explain.fetch_all(connection).await.unwrap();
    lines.join("\n")
}

/// The plan of a prepared statement, whatever values it comes with, on a connection that has one plan for all.
async fn generic_plan(connection: &mut PgConnection, statement: Statement, types: &str) -> String {
    let nulls = types
        .split(',')
        .map(|_| "NULL")
        .collect::<Vec<_>>()
        .join(", ");
    let prepare = AssertSqlSafe(format!(
        "DEALLOCATE ALL; PREPARE asked ({types}) AS {}",
        statement.sql().as_str()
    ));
    let prepare = sqlx::raw_sql(prepare);
    prepare.execute(&mut *connection).await.unwrap();
    let explain = AssertSqlSafe(format!("EXPLAIN (COSTS OFF) EXECUTE asked ({nulls})"));
    let rows = sqlx::raw_sql(explain).fetch_all(connection).await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    lines.join("\n")
}

/// That the plan has these steps, reads no whole table and sorts nothing.
fn assert_steps(plan: &str, steps: &[&str]) {
    for step in steps {
        assert!(plan.contains(step), "no {step}:\n{plan}");
    }
    for waste in ["Seq Scan", "Sort"] {
        assert!(!plan.contains(waste), "{plan}");
    }
}

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

#[tokio::test]
async fn a_device_and_its_certificates_are_one_indexed_look_up_each() {
    let (scratch, _connection) = populated().await;
    let mut connection = connected(&scratch, Access::LookUp).await;
    let plan = generic_plan(&mut connection, read::load(&id("device-7")), "text").await;
    assert_steps(&plan, &["devices_pkey", "certificates_pkey"]);
    assert_eq!(plan.matches("Scan using").count(), 2, "{plan}");
}

#[tokio::test]
async fn a_page_of_devices_reads_a_page_of_devices() {
    let (scratch, _connection) = populated().await;
    let mut connection = connected(&scratch, Access::Search).await;
    let after = Some(Cursor::after(id("device-5")));
    for (query, steps) in [
        (
            Query {
                after: after.clone(),
                ..Query::default()
            },
            ["devices_pkey", "Index Cond: (id > 'device-5'::text)"],
        ),
        (
            Query {
                state: Some(DeviceState::Pending),
                after: after.clone(),
                ..Query::default()
            },
            [
                "devices_by_state",
                "Index Cond: ((state = 'pending'::text) AND (id > 'device-5'::text))",
            ],
        ),
        (
            Query {
                device_type: Some("type-7".to_owned()),
                ..Query::default()
            },
            [
                "devices_by_type",
                "Index Cond: (device_type = 'type-7'::text)",
            ],
        ),
        (
            Query {
                site: Some("site-7".to_owned()),
                ..Query::default()
            },
            ["devices_by_site", "Index Cond: (site = 'site-7'::text)"],
        ),
        (
            Query {
                id_prefix: Some("device-1".to_owned()),
                ..Query::default()
            },
            [
                "devices_pkey",
                "Index Cond: ((id >= 'device-1'::text) AND (id < 'device-1{'::text))",
            ],
        ),
    ] {
        let plan = plan(&mut connection, read::search(search::devices(&query))).await;
        assert_steps(&plan, &steps);
        assert_steps(&plan, &["certificates_pkey"]);
    }
}

#[tokio::test]
async fn an_attribute_and_what_ends_soon_are_found_by_an_index() {
    let (scratch, _connection) = populated().await;
    let mut connection = connected(&scratch, Access::Search).await;
    let by_attribute = Query {
        attribute: Some(("number".to_owned(), "77".to_owned())),
        ..Query::default()
    };
    let ends_soon = Query {
        expires_by: Some(UnixMs::new(100)),
        ..Query::default()
    };
    for (query, index) in [
        (by_attribute, "devices_by_attribute"),
        (ends_soon, "certificates_by_end"),
    ] {
        let plan = plan(&mut connection, read::search(search::devices(&query))).await;
        assert!(plan.contains(index), "{plan}");
        assert!(!plan.contains("Seq Scan"), "{plan}");
    }
}

#[tokio::test]
async fn certificates_are_found_by_an_index() {
    let (scratch, _connection) = populated().await;
    let mut connection = connected(&scratch, Access::Search).await;
    let all = CertificateQuery::default();
    for (query, index) in [
        (all.clone(), "certificates_serial_issuer_key"),
        (
            CertificateQuery {
                serial: Some("010007".parse().unwrap()),
                ..all.clone()
            },
            "certificates_serial_issuer_key",
        ),
        (
            CertificateQuery {
                issuer: Some(SpkiHash::from_bytes([1; 32])),
                status: Some(CertificateStatusKind::Revoked),
                ..all.clone()
            },
            "certificates_revoked",
        ),
        (
            CertificateQuery {
                public_key: Some(SpkiHash::from_bytes([7; 32])),
                ..all.clone()
            },
            "certificates_by_public_key",
        ),
        (
            CertificateQuery {
                fingerprint: Some(Fingerprint::from_bytes([7; 32])),
                ..all.clone()
            },
            "certificates_by_fingerprint",
        ),
    ] {
        let plan = plan(&mut connection, read::search(search::certificates(&query))).await;
        assert_steps(&plan, &[index]);
    }
}

/// Whatever was in the tables when the plan was made: it is kept.
#[tokio::test]
async fn devices_are_looked_up_by_the_beginning_of_their_id() {
    let (empty, _connection) = migrated().await;
    let (populated, _connection) = populated().await;
    let begin = Query {
        id_prefix: Some("device-1".to_owned()),
        ..Query::default()
    };
    let next = Query {
        after: Some(Cursor::after(id("device-17"))),
        ..begin.clone()
    };
    for scratch in [empty, populated] {
        let mut connection = connected(&scratch, Access::LookUp).await;
        for (query, types) in [
            (&begin, "text, text, text"),
            (&next, "text, text, text, text"),
        ] {
            assert!(search::names_devices(query));
            let statement = read::built(search::devices(query));
            let plan = generic_plan(&mut connection, statement, types).await;
            let steps = ["Limit", "devices_pkey", "Index Cond: ((id >= "];
            assert_steps(&plan, &steps);
        }
    }
    let pending = Query {
        state: Some(DeviceState::Pending),
        ..begin
    };
    assert!(!search::names_devices(&pending) && !search::names_devices(&Query::default()));
}

/// Whatever was in the tables when the plan was made: it is kept.
#[tokio::test]
async fn certificates_of_a_key_are_looked_up() {
    let (empty, _connection) = migrated().await;
    let (populated, _connection) = populated().await;
    let all = CertificateQuery::default();
    for scratch in [empty, populated] {
        let mut connection = connected(&scratch, Access::LookUp).await;
        for (query, types, index, key) in [
            (
                CertificateQuery {
                    serial: Some("010007".parse().unwrap()),
                    ..all.clone()
                },
                "text",
                "certificates_serial_issuer_key",
                "serial = ",
            ),
            (
                CertificateQuery {
                    issuer: Some(SpkiHash::from_bytes([1; 32])),
                    serial: Some("010007".parse().unwrap()),
                    ..all.clone()
                },
                "text, text",
                "certificates_serial_issuer_key",
                "serial = ",
            ),
            (
                CertificateQuery {
                    public_key: Some(SpkiHash::from_bytes([7; 32])),
                    ..all.clone()
                },
                "text",
                "certificates_by_public_key",
                "public_key = ",
            ),
            (
                CertificateQuery {
                    fingerprint: Some(Fingerprint::from_bytes([7; 32])),
                    ..all.clone()
                },
                "text",
                "certificates_by_fingerprint",
                "fingerprint = ",
            ),
        ] {
            assert!(search::names_certificates(&query));
            let statement = read::built(search::certificates(&query));
            let plan = generic_plan(&mut connection, statement, types).await;
            assert_steps(&plan, &[index, "Index Cond: (", key]);
        }
    }
    assert!(!search::names_certificates(&all));
}

/// Whatever was in the tables when the plan was made: it is kept.
#[tokio::test]
async fn certificates_of_serial_numbers_are_looked_up() {
    let (_empty, on_empty) = migrated().await;
    let (_populated, on_populated) = populated().await;
    for mut connection in [on_empty, on_populated] {
        let issuer = SpkiHash::from_bytes([1; 32]);
        let statement = read::certificates(&issuer, &["010007".parse().unwrap()]);
        let plan = generic_plan(&mut connection, statement, "text, text[]").await;
        let steps = [
            "certificates_serial_issuer_key",
            "Index Cond: (",
            "serial = ANY",
        ];
        assert_steps(&plan, &steps);
    }
}

#[tokio::test]
async fn events_and_documents_are_read_by_the_page() {
    let (scratch, _connection) = populated().await;
    let mut connection = connected(&scratch, Access::Search).await;
    let mut for_look_ups = connected(&scratch, Access::LookUp).await;
    let events = read::events_after(5, 100);
    let plan_of_events = generic_plan(&mut for_look_ups, events, "bigint, bigint").await;
    assert_steps(&plan_of_events, &["events_pkey", "Index Cond: (seq > "]);
    let after = Cursor::after(DocumentName::parse("request-5").unwrap());
    let documents = search::documents(DocumentKind::Request, Some(&after), 100);
    let plan_of_documents = plan(&mut connection, read::search(documents)).await;
    assert_steps(&plan_of_documents, &["documents_pkey", "(name > "]);
}

/// However few records there were when the plan was made: it is kept while a first import fills the tables.
#[tokio::test]
async fn what_changes_are_compared_with_is_looked_up() {
    let (_scratch, mut connection) = migrated().await;
    for (statement, types, index) in [
        (
            write::known_devices(&BTreeSet::new()),
            "text[]",
            "devices_id_folded_key",
        ),
        (
            write::known_certificates(&BTreeSet::new()),
            "text[], text[]",
            "certificates_serial_issuer_key",
        ),
        (
            write::known_documents(&BTreeSet::new()),
            "text[], text[]",
            "documents_pkey",
        ),
    ] {
        let plan = generic_plan(&mut connection, statement, types).await;
        assert_steps(&plan, &[index]);
    }
}
