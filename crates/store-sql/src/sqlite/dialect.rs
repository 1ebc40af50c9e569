use sqlx::{QueryBuilder, Sqlite};

use crate::search::Dialect;

impl Dialect for Sqlite {
    fn push_text(sql: &mut QueryBuilder<Self>, text: String) {
        sql.push_bind(text);
    }

    fn push_integer(sql: &mut QueryBuilder<Self>, integer: i64) {
        sql.push_bind(integer);
    }

    /// No index serves it: every device is read, for which a million take seconds.
    fn push_attribute(sql: &mut QueryBuilder<Self>, name: &str, value: &str) {
        sql.push("EXISTS (SELECT 1 FROM json_each(attributes) WHERE key = ")
            .push_bind(name.to_owned());
        sql.push(" AND value = ")
            .push_bind(value.to_owned())
            .push(")");
    }
}

#[cfg(test)]
mod tests {
    use leafgate_identity::{DeviceId, SpkiHash, UnixMs};
    use leafgate_registry::{CertificateQuery, CertificateStatusKind, Cursor, DeviceState, Query};

    use super::super::schema::tests::{migrated, plan};
    use super::*;
    use crate::search::{certificates, devices};

    async fn plan_of(sql: QueryBuilder<Sqlite>) -> String {
        let (_folder, mut connection) = migrated().await;
        plan(&mut connection, sql).await.join("; ")
    }

    #[tokio::test]
    async fn a_page_of_devices_reads_a_page_of_devices() {
        let after = Some(Cursor::after(DeviceId::parse("0001").unwrap()));
        let next = devices(&Query {
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
        let plan = plan_of(devices(&Query {
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
    async fn the_beginning_of_an_id_is_looked_up() {
        let plan = plan_of(devices(&Query {
            id_prefix: Some("pump-00".to_owned()),
            ..Query::default()
        }))
        .await;
        assert!(
            plan.contains("SEARCH devices USING PRIMARY KEY (id>? AND id<?)"),
            "{plan}"
        );
        assert!(!plan.contains("TEMP B-TREE"), "nothing is sorted: {plan}");
    }

    /// SQLite 3.51 looks at the value of a limit that is bound, and plans the statement anew for every further one.
    #[test]
    fn limits_are_written_out() {
        let devices = devices::<Sqlite>(&Query::default()).into_string();
        assert!(devices.contains(" LIMIT 101)"), "{devices}");
        let certificates = certificates::<Sqlite>(&CertificateQuery::default()).into_string();
        assert!(certificates.ends_with(" LIMIT 101"), "{certificates}");
    }

    #[tokio::test]
    async fn what_ends_soon_looks_at_the_certificates_of_one_device_at_a_time() {
        let plan = plan_of(devices(&Query {
            expires_by: Some(UnixMs::new(1)),
            ..Query::default()
        }))
        .await;
        // One for each condition, and one for the certificates of what was found.
        let look_ups = plan.matches("PRIMARY KEY (holder_kind=? AND holder=?)");
        assert_eq!(look_ups.count(), 3, "{plan}");
        assert!(!plan.contains("LIST SUBQUERY"), "{plan}");
    }

    #[tokio::test]
    async fn a_revocation_list_reads_revoked_certificates_only() {
        let plan = plan_of(certificates(&CertificateQuery {
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
        let plan = plan_of(certificates(&CertificateQuery {
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
