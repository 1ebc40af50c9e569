use std::collections::BTreeMap;

use leafgate_registry::{
    Certificate, CertificateQuery, CertificateStatusKind, Crl, DeviceRecord, DeviceStore, Document,
    DocumentKind, Event, Holder, Query, verify_chain,
};
use leafgate_testkit::store_conformance::records::{all_events, issuer, load};
use serde_json::Value;

use crate::support::Scratch;

/// What a reader sees of a registry.
#[derive(Debug, PartialEq)]
pub(super) struct Picture {
    pub(super) events: Vec<Event>,
    devices: Vec<DeviceRecord>,
    certificates: Vec<Certificate>,
    revoked: Vec<Certificate>,
    of_service: Vec<Certificate>,
    crl: Option<Crl>,
    documents: Vec<Document>,
}

impl Picture {
    pub(super) async fn of(store: &dyn DeviceStore) -> Self {
        let all = CertificateQuery {
            limit: 1_000,
            ..CertificateQuery::default()
        };
        let find = async |query: CertificateQuery| {
            let page = store.find_certificates(&query).await.unwrap();
            page.items
        };
        let events = all_events(store).await;
        assert_eq!(
            verify_chain(&events),
            Ok(store.position().await.unwrap().head())
        );
        let mut documents = Vec::new();
        for kind in DocumentKind::ALL {
            let page = store.documents(*kind, None, 1_000).await.unwrap();
            documents.extend(page.items);
        }
        let query = Query {
            limit: 1_000,
            ..Query::default()
        };
        let devices = store.find(&query).await.unwrap().items;
        for record in &devices {
            assert_eq!(load(store, record.device.id.as_str()).await, *record);
        }
        Self {
            events,
            devices,
            certificates: find(all.clone()).await,
            revoked: find(CertificateQuery {
                status: Some(CertificateStatusKind::Revoked),
                ..all.clone()
            })
            .await,
            of_service: find(CertificateQuery {
                holder: Some(Holder::Service {
                    name: "leaf-1".to_owned(),
                }),
                ..all
            })
            .await,
            crl: store.crl(&issuer(1)).await.unwrap(),
            documents,
        }
    }
}

/// Every document of the engine but the head, without the random names of commits.
pub(super) async fn dump(scratch: &Scratch) -> BTreeMap<String, Value> {
    let mut folders = vec![String::new()];
    let mut documents = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        let path = format!("{}/metadata/{folder}", scratch.mount);
        let (status, listed) = scratch.admin.try_request("LIST", &path, Value::Null).await;
        assert!(status == 200 || folder.is_empty(), "{listed}");
        for name in listed["data"]["keys"].as_array().into_iter().flatten() {
            let path = format!("{folder}{}", name.as_str().unwrap());
            if path.ends_with('/') {
                folders.push(path);
            } else if path != "leafgate/head" {
                let mut document = scratch.get(&path).await;
                document.as_object_mut().unwrap().remove("commit");
                documents.insert(path, document);
            }
        }
    }
    documents
}
