//! The registrar over every store, in good times and in bad.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

/// Makes each `async fn name(bench: Bench)` a test over every store.
macro_rules! over_every_store {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::support::Bench::in_memory()).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::support::Bench::on_sqlite().await).await;
            })+
        }
    };
}

mod api_keys;
mod audit;
mod bulk;
mod certificates;
mod checkpoints;
mod crash;
mod crls;
mod devices;
mod enrolment;
mod enrolment_races;
mod enrolment_tokens;
mod faulty_store;
mod guard;
mod import;
mod issuance;
mod keys;
mod once;
mod overlap;
mod refusals;
mod renewal;
mod requests;
mod revocation;
mod rotation;
mod rotation_issuance;
mod services;
mod support;
