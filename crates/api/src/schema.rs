//! Schemas of values whose types belong to crates that know nothing of OpenAPI, under the names that the description of
//! the API has for them.

use leafgate_access as access;
use leafgate_registry::{self as registry, CertificateStatusKind};
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, OneOfBuilder};
use utoipa::openapi::{KnownFormat, Object, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! named {
    ($($(#[doc = $doc:literal])+ $name:ident = $schema:expr;)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug)]
            pub enum $name {}

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    let mut schema: Object = $schema;
                    schema.description = Some(concat!($($doc),+).trim().to_owned());
                    schema.into()
                }
            }

            impl ToSchema for $name {}
        )+
    };
}

named! {
    /// A device's name: one subject token, unique ignoring case.
    DeviceId = token().examples(["0001"]).build();
    /// One subject token.
    Token = token().build();
    /// A moment in UTC (RFC 3339).
    Time = text()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .examples(["2026-03-01T12:00:00.000Z"])
        .build();
    /// A certificate's serial number in lower-case hex.
    SerialNumber = text()
        .pattern(Some("^(0[1-9a-f]|[1-9a-f][0-9a-f])([0-9a-f]{2}){0,19}$"))
        .examples(["3fa1c2559c"])
        .build();
    /// A SHA-256 in lower-case hex.
    Sha256 = text().pattern(Some("^[0-9a-f]{64}$")).build();
    /// A random number in lower-case hex that changes when the registry is restored.
    Epoch = text().pattern(Some("^[0-9a-f]{32}$")).build();
    /// Where a device stands.
    DeviceState = names(registry::DeviceState::ALL.iter().map(|it| it.as_str()));
    /// What became of a certificate.
    CertificateStatus = names(CertificateStatusKind::ALL.iter().map(|it| it.as_str()));
    /// Why a certificate was revoked, as revocation lists say it (RFC 5280 section 5.3.1).
    RevocationReason = names(registry::RevocationReason::ALL.iter().map(|it| it.as_str()));
    /// What somebody is for.
    Role = names(access::Role::ALL.iter().map(|it| it.as_str()));
    /// The devices that somebody reaches: those of all three. What is left out is "*".
    Scope = ObjectBuilder::new()
        .property("trust_domains", selection())
        .property("sites", selection())
        .property("device_types", selection())
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
        .build();
}

/// All names, or some.
fn selection() -> Schema {
    let some = ArrayBuilder::new().items(text()).unique_items(true);
    let all = names(["*"]);
    OneOfBuilder::new()
        .item(all)
        .item(some)
        .description(Some("\"*\" for all, or a list."))
        .build()
        .into()
}

fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> Object {
    text().enum_values(Some(names)).build()
}

fn token() -> ObjectBuilder {
    text()
        .pattern(Some("^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?$"))
        .max_length(Some(leafgate_identity::DeviceId::MAX_LEN))
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}
