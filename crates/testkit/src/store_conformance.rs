//! What every [`DeviceStore`] has to do, as cases that run on any of them.
//!
//! A store's test target names a function that makes an empty registry, and gets one test per case:
//!
//! ```ignore
//! leafgate_testkit::store_conformance!(Scratch::new);
//! leafgate_testkit::store_tampering_conformance!(Scratch::new);
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use leafgate_identity::DeviceId;
use leafgate_registry::{CertificateId, DeviceStore};

use self::features::Feature;

pub mod certificates;
pub mod commits;
pub mod concurrency;
pub mod devices;
pub mod documents;
pub mod features;
pub mod feed;
pub mod find;
pub mod find_certificates;
pub mod records;
pub mod searches;
pub mod tampering;

/// One registry, empty when made, which goes when this is dropped.
#[async_trait]
pub trait StoreFixture: Send + Sync {
    /// A further handle on the registry, as independent of the others as the store allows: with
    /// connections of its own, as another process would have.
    async fn open(&self) -> Arc<dyn DeviceStore>;

    /// Whether the store has a feature that a store may lack.
    fn supports(&self, _feature: Feature) -> bool {
        true
    }
}

/// A registry whose records can be spoiled behind the store's back.
#[async_trait]
pub trait StoreTampering: StoreFixture {
    /// Overwrites the state of a device with any text.
    async fn set_state(&self, id: &DeviceId, state: &str);

    /// Overwrites the status of a certificate with any text.
    async fn set_certificate_status(&self, id: &CertificateId, status: &str);

    /// Overwrites the actor of an event.
    async fn set_event_actor(&self, seq: u64, actor: &str);

    /// Removes an event.
    async fn remove_event(&self, seq: u64);
}

/// One test for each case, on a fixture of its own that the given async function makes.
#[macro_export]
macro_rules! store_conformance {
    ($make:expr) => {
        $crate::store_conformance_cases! { $make,
            devices::an_unknown_device_is_none,
            devices::a_device_is_loaded_as_it_was_committed_by_its_exact_spelling,
            devices::every_step_of_a_life_is_loaded_as_committed,
            devices::ids_are_unique_ignoring_case,
            devices::a_tombstone_keeps_its_id_for_the_next_generation,
            devices::the_next_generation_knows_the_certificates_of_the_last,
            devices::revoked_is_final_for_whoever_knew_the_device_before,

            certificates::serials_are_unique_per_issuer,
            certificates::a_device_deleted_during_a_signature_gets_no_certificate,
            certificates::service_certificates_live_the_same_way,
            certificates::a_stale_service_certificate_is_refused,
            certificates::crl_numbers_are_given_once,
            certificates::older_certificates_are_superseded_by_a_newer_one_in_use,

            commits::an_empty_commit_writes_nothing,
            commits::a_stale_version_is_refused_and_writes_nothing,
            commits::a_device_that_was_never_registered_cannot_change,
            commits::several_changes_of_one_device_go_together,
            commits::all_or_nothing_whatever_fails,
            commits::thousands_of_changes_go_at_once,

            feed::a_new_registry_has_an_empty_feed,
            feed::every_change_appends_its_event,
            feed::events_come_in_pages_without_gaps,
            feed::a_refused_commit_leaves_no_event,
            feed::a_follower_on_another_handle_sees_every_commit,
            feed::wake_tells_of_a_commit_from_before_it_was_called,
            feed::wake_tells_of_a_commit_of_its_own_handle,
            feed::wake_ends_without_a_commit,
            feed::a_new_epoch_keeps_the_chain,
            feed::unknown_positions_are_told_from_known_ones,

            find::devices_come_in_order_with_their_certificates,
            find::each_condition_narrows,
            find::pages_list_everything_once,
            find::pages_hold_under_writes,

            find_certificates::certificates_are_found_by_each_condition,
            find_certificates::certificates_come_in_pages,
            find_certificates::certificates_are_found_by_serial_numbers,
            find_certificates::what_is_left_of_an_issuer_is_counted,

            searches::devices_are_found_by_site,
            searches::devices_are_found_by_the_end_of_their_last_certificate,
            searches::certificates_are_found_by_key_fingerprint_and_id_prefix,

            documents::a_document_is_read_as_it_was_written,
            documents::a_name_is_given_once,
            documents::a_stale_document_is_refused_with_all_that_comes_with_it,
            documents::a_document_goes_with_its_change_or_not_at_all,
            documents::documents_come_in_pages_by_kind,
            documents::only_what_expired_is_forgotten,

            concurrency::two_writers_make_one_chain,
            concurrency::two_writers_of_one_device_never_lose_a_change,
            concurrency::one_id_is_given_once,
            concurrency::a_conflict_of_one_caller_is_not_that_of_others,
            concurrency::readers_see_whole_commits_only,
        }

        #[tokio::test]
        async fn two_registries_have_two_epochs() {
            let (one, other) = ($make().await, $make().await);
            $crate::store_conformance::feed::two_registries_have_two_epochs(&one, &other).await;
        }
    };
}

/// One test for each case about records that were spoiled behind the store's back.
#[macro_export]
macro_rules! store_tampering_conformance {
    ($make:expr) => {
        $crate::store_conformance_cases! { $make,
            tampering::an_unknown_state_denies,
            tampering::an_unknown_certificate_status_denies,
            tampering::an_unknown_state_survives_no_write,
            tampering::a_spoiled_record_is_the_business_of_its_caller,
            tampering::an_altered_event_shows,
            tampering::a_removed_event_shows,
        }
    };
}

/// The tests of a list of cases.
#[doc(hidden)]
#[macro_export]
macro_rules! store_conformance_cases {
    ($make:expr, $($module:ident::$case:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let fixture = $make().await;
                $crate::store_conformance::$module::$case(&fixture).await;
            }
        )+
    };
}
