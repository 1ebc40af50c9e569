use std::fmt::Display;
use std::str::FromStr;

use leafgate_identity::{DeviceId, UnixMs};
use leafgate_registry::{
    Certificate, CertificateId, CertificateStatus, CertificateStatusKind, Crl, Device, Event,
    EventKind, FeedPosition, Holder,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row, Sqlite, Type};

use super::error::Failure;

pub(super) const DEVICE: &str = "device";
pub(super) const SERVICE: &str = "service";

/// The columns of [`certificate`].
macro_rules! certificate_columns {
    () => {
        "c.holder_kind, c.holder, c.issuer, c.serial, c.holder_generation, c.profile, c.fingerprint, c.public_key, \
         c.status, c.status_at_ms, c.reason, c.not_before_ms, c.not_after_ms, c.prepared_at_ms"
    };
}
pub(super) use certificate_columns;

/// The columns of [`device`].
macro_rules! device_columns {
    () => {
        "d.id, d.trust_domain, d.generation, d.version, d.state, d.device_type, d.site, d.attributes, \
         d.registered_at_ms, d.updated_at_ms"
    };
}
pub(super) use device_columns;

pub(super) fn device(row: &SqliteRow) -> Result<Device, Failure> {
    let of = Of {
        row,
        table: "devices",
        key: column(row, "id")?,
    };
    Ok(Device {
        id: of.parse("id")?,
        trust_domain: of.parse("trust_domain")?,
        generation: of.number("generation")?,
        version: of.number("version")?,
        state: of.parse("state")?,
        device_type: column(row, "device_type")?,
        site: column(row, "site")?,
        attributes: serde_json::from_str(of.text("attributes")?)
            .map_err(|error| of.wrong("attributes", &error))?,
        registered_at_ms: of.time("registered_at_ms")?,
        updated_at_ms: of.time("updated_at_ms")?,
    })
}

/// The certificate of a row of an outer join, if there is one.
pub(super) fn optional_certificate(row: &SqliteRow) -> Result<Option<Certificate>, Failure> {
    match column::<Option<&str>>(row, "serial")? {
        Some(_) => certificate(row).map(Some),
        None => Ok(None),
    }
}

pub(super) fn certificate(row: &SqliteRow) -> Result<Certificate, Failure> {
    let of = Of {
        row,
        table: "certificates",
        key: column(row, "serial")?,
    };
    Ok(Certificate {
        serial: of.parse("serial")?,
        issuer: of.parse("issuer")?,
        holder: match of.text("holder_kind")? {
            DEVICE => Holder::Device {
                id: of.parse("holder")?,
                generation: of.number("holder_generation")?,
            },
            SERVICE => Holder::Service {
                name: column(row, "holder")?,
            },
            other => {
                return Err(of.wrong(
                    "holder_kind",
                    &format_args!("{other:?} is neither device nor service"),
                ));
            }
        },
        profile: column(row, "profile")?,
        fingerprint: match column::<Option<&str>>(row, "fingerprint")? {
            Some(_) => Some(of.parse("fingerprint")?),
            None => None,
        },
        public_key: of.parse("public_key")?,
        status: match of.parse("status")? {
            CertificateStatusKind::Prepared => CertificateStatus::Prepared,
            CertificateStatusKind::Issued => CertificateStatus::Issued,
            CertificateStatusKind::Superseded => CertificateStatus::Superseded {
                at: of.time("status_at_ms")?,
            },
            CertificateStatusKind::Revoked => CertificateStatus::Revoked {
                at: of.time("status_at_ms")?,
                reason: of.parse("reason")?,
            },
        },
        not_before: of.time("not_before_ms")?,
        not_after: of.time("not_after_ms")?,
        prepared_at: of.time("prepared_at_ms")?,
    })
}

pub(super) fn device_version(row: &SqliteRow) -> Result<(DeviceId, u64), Failure> {
    let of = Of {
        row,
        table: "devices",
        key: column(row, "id")?,
    };
    Ok((of.parse("id")?, of.number("version")?))
}

pub(super) fn certificate_id(row: &SqliteRow) -> Result<CertificateId, Failure> {
    let of = Of {
        row,
        table: "certificates",
        key: column(row, "serial")?,
    };
    Ok(CertificateId {
        issuer: of.parse("issuer")?,
        serial: of.parse("serial")?,
    })
}

pub(super) fn event(row: &SqliteRow) -> Result<Event, Failure> {
    let seq: i64 = column(row, "seq")?;
    let key = seq.to_string();
    let of = Of {
        row,
        table: "events",
        key: &key,
    };
    Ok(Event {
        seq: of.number("seq")?,
        at: of.time("at_ms")?,
        actor: column(row, "actor")?,
        kind: EventKind::from(of.text("kind")?),
        device: match column::<Option<&str>>(row, "device_id")? {
            Some(_) => Some(of.parse::<DeviceId>("device_id")?),
            None => None,
        },
        detail: serde_json::from_str(of.text("detail")?)
            .map_err(|error| of.wrong("detail", &error))?,
        previous_hash: of.parse("previous_hash")?,
        hash: of.parse("hash")?,
    })
}

pub(super) fn crl(row: &SqliteRow) -> Result<Crl, Failure> {
    let of = Of {
        row,
        table: "crls",
        key: column(row, "issuer")?,
    };
    Ok(Crl {
        issuer: of.parse("issuer")?,
        number: of.number("number")?,
        this_update: of.time("this_update_ms")?,
        next_update: of.time("next_update_ms")?,
    })
}

pub(super) fn position(row: &SqliteRow) -> Result<FeedPosition, Failure> {
    let of = Of {
        row,
        table: "feed_head",
        key: "1",
    };
    Ok(FeedPosition {
        epoch: of.parse("epoch")?,
        seq: of.number("seq")?,
        hash: of.parse("hash")?,
    })
}

/// A row, and how to name it in an error.
struct Of<'a> {
    row: &'a SqliteRow,
    table: &'static str,
    key: &'a str,
}

impl<'a> Of<'a> {
    fn text(&self, name: &'static str) -> Result<&'a str, Failure> {
        column(self.row, name)
    }

    fn time(&self, name: &'static str) -> Result<UnixMs, Failure> {
        Ok(UnixMs::new(column(self.row, name)?))
    }

    fn parse<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<T, Failure> {
        self.text(name)?
            .parse()
            .map_err(|error| self.wrong(name, &error))
    }

    fn number<T: TryFrom<i64, Error: Display>>(&self, name: &'static str) -> Result<T, Failure> {
        T::try_from(column(self.row, name)?).map_err(|error| self.wrong(name, &error))
    }

    fn wrong(&self, column: &'static str, error: &dyn Display) -> Failure {
        Failure::Record(format!(
            "{column} of {:?} in {}: {error}",
            self.key, self.table
        ))
    }
}

fn column<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(
    row: &'r SqliteRow,
    name: &'static str,
) -> Result<T, Failure> {
    Ok(row.try_get(name)?)
}
