use leafgate_identity::DeviceId;
use leafgate_registry::{
    Certificate, CertificateId, CertificateQuery, Cursor, DeviceRecord, DeviceState, Document,
    DocumentKind, DocumentName, Holder, Page, Query,
};
use sqlx::{QueryBuilder, Sqlite, SqliteExecutor};

use super::read::integer;
use crate::failure::Failure;
use crate::rows::{self, DEVICE, SERVICE, certificate_columns, device_columns};

pub(super) async fn find(
    executor: impl SqliteExecutor<'_>,
    query: &Query,
) -> Result<Page<DeviceRecord, DeviceId>, Failure> {
    let rows = find_sql(query).build().fetch_all(executor).await?;
    let id = |record: &DeviceRecord| record.device.id.clone();
    Ok(Page::cut(rows::records(&rows)?, query.limit.max(1), id))
}

fn find_sql(query: &Query) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new("SELECT ");
    sql.push(device_columns!())
        .push(", ")
        .push(certificate_columns!());
    sql.push(" FROM (SELECT * FROM devices WHERE ");
    match query.state {
        Some(state) => sql.push("state = ").push_bind(state.as_str()),
        None => sql
            .push("state <> ")
            .push_bind(DeviceState::Deleted.as_str()),
    };
    if let Some(device_type) = &query.device_type {
        sql.push(" AND device_type = ")
            .push_bind(device_type.as_str());
    }
    if let Some((name, value)) = &query.attribute {
        sql.push(" AND EXISTS (SELECT 1 FROM json_each(attributes) WHERE key = ")
            .push_bind(name.as_str());
        sql.push(" AND value = ")
            .push_bind(value.as_str())
            .push(")");
    }
    if let Some(prefix) = &query.id_prefix {
        // Ids are ASCII and their greatest character is z, whose successor is {.
        sql.push(" AND id >= ").push_bind(prefix.as_str());
        sql.push(" AND id < ").push_bind(format!("{prefix}{{"));
    }
    if let Some(site) = &query.site {
        sql.push(" AND site = ").push_bind(site.as_str());
    }
    if let Some(time) = query.expires_by {
        // The first condition finds the candidates by an index; the second drops those with a later one.
        sql.push(" AND id IN (SELECT holder FROM certificates WHERE status = 'issued' AND not_after_ms <= ")
            .push_bind(time.as_i64());
        sql.push(" AND holder_kind = 'device' AND holder_generation = generation)");
        sql.push(
            " AND NOT EXISTS (SELECT 1 FROM certificates WHERE holder_kind = 'device' AND holder = id \
             AND holder_generation = generation AND status = 'issued' AND not_after_ms > ",
        )
        .push_bind(time.as_i64())
        .push(")");
    }
    if let Some(after) = &query.after {
        sql.push(" AND id > ").push_bind(after.key().as_str());
    }
    sql.push(" ORDER BY id LIMIT ")
        .push_bind(one_more_than(query.limit.max(1)));
    sql.push(") d LEFT JOIN certificates c ON c.holder_kind = 'device' AND c.holder = d.id ORDER BY d.id");
    sql
}

pub(super) async fn find_certificates(
    executor: impl SqliteExecutor<'_>,
    query: &CertificateQuery,
) -> Result<Page<Certificate, CertificateId>, Failure> {
    let rows = find_certificates_sql(query)
        .build()
        .fetch_all(executor)
        .await?;
    let certificates = rows
        .iter()
        .map(rows::certificate)
        .collect::<Result<_, _>>()?;
    Ok(Page::cut(certificates, query.limit.max(1), Certificate::id))
}

fn find_certificates_sql(query: &CertificateQuery) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new("SELECT ");
    sql.push(certificate_columns!())
        .push(" FROM certificates c WHERE TRUE");
    if let Some(issuer) = &query.issuer {
        sql.push(" AND issuer = ").push_bind(issuer.to_string());
    }
    if let Some(serial) = &query.serial {
        sql.push(" AND serial = ").push_bind(serial.to_string());
    }
    if let Some(status) = query.status {
        // Written out, since only a literal lets the index of revoked certificates be used.
        sql.push(" AND status = '").push(status.as_str()).push("'");
    }
    match &query.holder {
        None => {}
        Some(Holder::Device { id, generation }) => {
            sql.push(" AND holder_kind = ")
                .push_bind(DEVICE)
                .push(" AND holder = ")
                .push_bind(id.as_str());
            sql.push(" AND holder_generation = ").push_bind(*generation);
        }
        Some(Holder::Service { name }) => {
            sql.push(" AND holder_kind = ")
                .push_bind(SERVICE)
                .push(" AND holder = ")
                .push_bind(name.as_str());
        }
    }
    if let Some(prefix) = &query.device_prefix {
        sql.push(" AND holder_kind = ").push_bind(DEVICE);
        sql.push(" AND holder >= ").push_bind(prefix.as_str());
        sql.push(" AND holder < ").push_bind(format!("{prefix}{{"));
    }
    if let Some(fingerprint) = &query.fingerprint {
        sql.push(" AND fingerprint = ")
            .push_bind(fingerprint.to_string());
    }
    if let Some(key) = &query.public_key {
        sql.push(" AND public_key = ").push_bind(key.to_string());
    }
    if let Some(time) = query.expires_after {
        sql.push(" AND not_after_ms > ").push_bind(time.as_i64());
    }
    if let Some(time) = query.expires_by {
        sql.push(" AND not_after_ms <= ").push_bind(time.as_i64());
    }
    if let Some(after) = &query.after {
        let CertificateId { issuer, serial } = after.key();
        sql.push(" AND (serial, issuer) > (")
            .push_bind(serial.to_string());
        sql.push(", ").push_bind(issuer.to_string()).push(")");
    }
    sql.push(" ORDER BY serial, issuer LIMIT ")
        .push_bind(one_more_than(query.limit.max(1)));
    sql
}

pub(super) async fn documents(
    executor: impl SqliteExecutor<'_>,
    kind: DocumentKind,
    after: Option<&Cursor<DocumentName>>,
    limit: usize,
) -> Result<Page<Document, DocumentName>, Failure> {
    const DOCUMENTS: &str = "SELECT kind, name, version, expires_at_ms, body FROM documents \
                             WHERE kind = ? AND name > ? ORDER BY name LIMIT ?";
    let limit = limit.max(1);
    // No name is empty, so all come after an empty one.
    let rows = sqlx::query(DOCUMENTS)
        .bind(kind.as_str())
        .bind(after.map_or("", |after| after.key().as_str()))
        .bind(one_more_than(limit))
        .fetch_all(executor)
        .await?;
    let documents = rows.iter().map(rows::document).collect::<Result<_, _>>()?;
    Ok(Page::cut(documents, limit, |document: &Document| {
        document.name.clone()
    }))
}

/// Tells a page that is full from one that others follow.
fn one_more_than(limit: usize) -> i64 {
    integer(limit).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use leafgate_identity::SpkiHash;
    use leafgate_registry::{CertificateStatusKind, Cursor};

    use super::super::schema::tests::{migrated, plan};
    use super::*;

    async fn plan_of(sql: QueryBuilder<Sqlite>) -> String {
        let (_folder, mut connection) = migrated().await;
        plan(&mut connection, sql).await.join("; ")
    }

    #[tokio::test]
    async fn a_page_of_devices_reads_a_page_of_devices() {
        let after = Some(Cursor::after(DeviceId::parse("0001").unwrap()));
        let next = find_sql(&Query {
            after: after.clone(),
            ..Query::default()
        });
        let plan = plan_of(next).await;
        assert!(
            plan.contains("SEARCH devices USING PRIMARY KEY (id>?)"),
            "{plan}"
        );
        assert!(!plan.contains("SCAN devices"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "nothing is sorted: {plan}");

        let pending = Some(DeviceState::Pending);
        let plan = plan_of(find_sql(&Query {
            state: pending,
            after,
            ..Query::default()
        }))
        .await;
        assert!(
            plan.contains("devices_by_state (state=? AND id>?)"),
            "{plan}"
        );
        assert!(!plan.contains("TEMP B-TREE"), "nothing is sorted: {plan}");
    }

    #[tokio::test]
    async fn a_revocation_list_reads_revoked_certificates_only() {
        let plan = plan_of(find_certificates_sql(&CertificateQuery {
            issuer: Some(SpkiHash::from_bytes([1; 32])),
            status: Some(CertificateStatusKind::Revoked),
            ..CertificateQuery::default()
        }));
        let plan = plan.await;
        assert!(plan.contains("certificates_revoked (issuer=?"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "nothing is sorted: {plan}");
    }

    #[tokio::test]
    async fn a_serial_number_is_looked_up() {
        let serial = Some("01ab".parse().unwrap());
        let plan = plan_of(find_certificates_sql(&CertificateQuery {
            serial,
            ..CertificateQuery::default()
        }))
        .await;
        assert!(
            plan.starts_with("SEARCH c USING") && plan.contains("(serial=?)"),
            "{plan}"
        );
    }
}
