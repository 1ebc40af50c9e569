use std::fmt::Display;
use std::str::FromStr;

use leafgate_identity::{DeviceId, UnixMs};
use leafgate_registry::{
    Certificate, CertificateId, CertificateStatus, CertificateStatusKind, Crl, Device,
    DeviceRecord, Document, DocumentKind, DocumentName, Event, EventKind, FeedPosition, Holder,
    Outstanding,
};

use crate::failure::Failure;

pub(crate) const DEVICE: &str = "device";
pub(crate) const SERVICE: &str = "service";

/// The columns of [`certificate`].
macro_rules! certificate_columns {
    () => {
        "c.holder_kind, c.holder, c.issuer, c.serial, c.holder_generation, c.profile, c.fingerprint, c.public_key, \
         c.status, c.status_at_ms, c.reason, c.not_before_ms, c.not_after_ms, c.prepared_at_ms"
    };
}
pub(crate) use certificate_columns;

/// The columns of [`device`].
macro_rules! device_columns {
    () => {
        "d.id, d.trust_domain, d.generation, d.version, d.state, d.device_type, d.site, d.attributes, \
         d.registered_at_ms, d.updated_at_ms"
    };
}
pub(crate) use device_columns;

/// The columns of [`document`].
macro_rules! document_columns {
    () => {
        "kind, name, version, expires_at_ms, body"
    };
}
pub(crate) use document_columns;

/// Integers are signed 64-bit ones everywhere; no number here comes near their end.
pub(crate) fn integer(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// A row of any database: the schema knows texts and 64-bit integers only.
pub(crate) trait Columns {
    fn text(&self, name: &'static str) -> Result<Option<&str>, sqlx::Error>;
    fn integer(&self, name: &'static str) -> Result<Option<i64>, sqlx::Error>;
}

/// The records of rows that are ordered by device, one for each certificate.
pub(crate) fn records<R: Columns>(rows: &[R]) -> Result<Vec<DeviceRecord>, Failure> {
    let of_one_device = |a: &R, b: &R| a.text("id").ok() == b.text("id").ok();
    rows.chunk_by(of_one_device)
        .map(|rows| {
            let certificates = rows
                .iter()
                .filter_map(|row| optional_certificate(row).transpose());
            Ok(DeviceRecord::new(
                device(&rows[0])?,
                certificates.collect::<Result<_, _>>()?,
            ))
        })
        .collect()
}

fn device(row: &impl Columns) -> Result<Device, Failure> {
    let of = Of::new(row, "devices", "id");
    Ok(Device {
        id: of.parse("id")?,
        trust_domain: of.parse("trust_domain")?,
        generation: of.number("generation")?,
        version: of.number("version")?,
        state: of.parse("state")?,
        device_type: of.parse("device_type")?,
        site: of.optional("site")?,
        attributes: of.json("attributes")?,
        registered_at_ms: of.time("registered_at_ms")?,
        updated_at_ms: of.time("updated_at_ms")?,
    })
}

/// The certificate of a row of an outer join, if there is one.
fn optional_certificate(row: &impl Columns) -> Result<Option<Certificate>, Failure> {
    match row.text("serial")? {
        Some(_) => certificate(row).map(Some),
        None => Ok(None),
    }
}

pub(crate) fn certificate(row: &impl Columns) -> Result<Certificate, Failure> {
    let of = Of::new(row, "certificates", "serial");
    Ok(Certificate {
        serial: of.parse("serial")?,
        issuer: of.parse("issuer")?,
        holder: match of.text("holder_kind")? {
            DEVICE => Holder::Device {
                id: of.parse("holder")?,
                generation: of.number("holder_generation")?,
            },
            SERVICE => Holder::Service {
                name: of.parse("holder")?,
            },
            other => {
                return Err(of.wrong(
                    "holder_kind",
                    format_args!("{other:?} is neither device nor service"),
                ));
            }
        },
        profile: of.parse("profile")?,
        fingerprint: of.optional("fingerprint")?,
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

pub(crate) fn device_version(row: &impl Columns) -> Result<(DeviceId, u64), Failure> {
    let of = Of::new(row, "devices", "id");
    Ok((of.parse("id")?, of.number("version")?))
}

pub(crate) fn certificate_id(row: &impl Columns) -> Result<CertificateId, Failure> {
    let of = Of::new(row, "certificates", "serial");
    Ok(CertificateId {
        issuer: of.parse("issuer")?,
        serial: of.parse("serial")?,
    })
}

/// Of the columns of a count.
pub(crate) fn outstanding(row: &impl Columns) -> Result<Outstanding, Failure> {
    let count = |name| -> Result<usize, Failure> {
        let count = row.integer(name)?.unwrap_or(0);
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    };
    let time =
        |name| -> Result<Option<UnixMs>, Failure> { Ok(row.integer(name)?.map(UnixMs::new)) };
    Ok(Outstanding {
        certificates: count("certificates")?,
        holders: count("holders")?,
        last_not_after: time("last_not_after_ms")?,
        unexpired: count("unexpired")?,
        last_unexpired: time("last_unexpired_ms")?,
    })
}

pub(crate) fn event(row: &impl Columns) -> Result<Event, Failure> {
    let of = Of::new(row, "events", "seq");
    Ok(Event {
        seq: of.number("seq")?,
        at: of.time("at_ms")?,
        actor: of.parse("actor")?,
        kind: EventKind::from(of.text("kind")?),
        device: of.optional("device_id")?,
        detail: of.json("detail")?,
        previous_hash: of.parse("previous_hash")?,
        hash: of.parse("hash")?,
    })
}

pub(crate) fn crl(row: &impl Columns) -> Result<Crl, Failure> {
    let of = Of::new(row, "crls", "issuer");
    Ok(Crl {
        issuer: of.parse("issuer")?,
        number: of.number("number")?,
        this_update: of.time("this_update_ms")?,
        next_update: of.time("next_update_ms")?,
    })
}

pub(crate) fn document(row: &impl Columns) -> Result<Document, Failure> {
    let of = Of::new(row, "documents", "name");
    Ok(Document {
        kind: of.parse("kind")?,
        name: of.parse("name")?,
        version: of.number("version")?,
        expires_at: row.integer("expires_at_ms")?.map(UnixMs::new),
        body: of.json("body")?,
    })
}

pub(crate) fn document_version(
    row: &impl Columns,
) -> Result<(DocumentKind, DocumentName, u64), Failure> {
    let of = Of::new(row, "documents", "name");
    Ok((of.parse("kind")?, of.parse("name")?, of.number("version")?))
}

pub(crate) fn position(row: &impl Columns) -> Result<FeedPosition, Failure> {
    let of = Of::new(row, "feed_head", "seq");
    Ok(FeedPosition {
        epoch: of.parse("epoch")?,
        seq: of.number("seq")?,
        hash: of.parse("hash")?,
    })
}

/// A row, and how to name it in an error.
struct Of<'a, R> {
    row: &'a R,
    table: &'static str,
    /// The column that tells it from others.
    key: &'static str,
}

impl<'a, R: Columns> Of<'a, R> {
    const fn new(row: &'a R, table: &'static str, key: &'static str) -> Self {
        Self { row, table, key }
    }

    fn text(&self, name: &'static str) -> Result<&'a str, Failure> {
        self.row
            .text(name)?
            .ok_or_else(|| self.wrong(name, "is missing"))
    }

    fn parse<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<T, Failure> {
        self.text(name)?
            .parse()
            .map_err(|error| self.wrong(name, error))
    }

    fn optional<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<Option<T>, Failure> {
        let text = self.row.text(name)?;
        text.map(str::parse)
            .transpose()
            .map_err(|error| self.wrong(name, error))
    }

    fn json<T: serde::de::DeserializeOwned>(&self, name: &'static str) -> Result<T, Failure> {
        serde_json::from_str(self.text(name)?).map_err(|error| self.wrong(name, error))
    }

    fn integer(&self, name: &'static str) -> Result<i64, Failure> {
        self.row
            .integer(name)?
            .ok_or_else(|| self.wrong(name, "is missing"))
    }

    fn number<T: TryFrom<i64, Error: Display>>(&self, name: &'static str) -> Result<T, Failure> {
        T::try_from(self.integer(name)?).map_err(|error| self.wrong(name, error))
    }

    fn time(&self, name: &'static str) -> Result<UnixMs, Failure> {
        self.integer(name).map(UnixMs::new)
    }

    fn wrong(&self, column: &'static str, problem: impl Display) -> Failure {
        let key = match (self.row.text(self.key), self.row.integer(self.key)) {
            (Ok(Some(text)), _) => format!("{text:?}"),
            (_, Ok(Some(number))) => number.to_string(),
            _ => "a row without key".to_owned(),
        };
        Failure::Record(format!("{column} of {key} in {}: {problem}", self.table))
    }
}
