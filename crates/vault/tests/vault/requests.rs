//! Nothing that Vault signs is lost, and nothing that is lost stays good.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leafgate_access::{Admits, NewEnrolmentToken};
use leafgate_identity::{
    Binding, SerialNumber, TrustDomain, TrustDomainName, TrustDomains, UnixMs,
};
use leafgate_pki::{Inventory, Issuer, KeyPairPem, write_csr};
use leafgate_registrar::{
    CertificateKey, ErrorKind, Issuers, KeptRequests, Registrar, RegistrarError, RequestKeeper,
    Service,
};
use leafgate_registry::{
    Act, Actor, CertificateStatusKind, DeviceStore, MemoryStore, NewDevice, RevocationReason,
};
use leafgate_vault::VaultIssuer;
use serde_json::json;

use super::issuer::{Documented, config, now};
use crate::proxy::{Deal, Proxy, Seen};
use crate::support::random;

/// Longer than any request is left alone.
const LATER: Duration = Duration::from_secs(301);

/// A registry in memory whose certificates a Vault behind a proxy signs.
struct Bench {
    documented: Documented,
    proxy: Proxy,
    store: Arc<MemoryStore>,
    registrar: Registrar,
    /// Past the proxy.
    issuer: VaultIssuer,
}

impl Bench {
    async fn new() -> Self {
        let documented = Documented::new().await;
        let scratch = &documented.scratch;
        let proxy = Proxy::start(&scratch.address).await;
        let vault = scratch.vault_at(&proxy.address, &scratch.token).await;
        let open = async |role| Arc::new(VaultIssuer::open(&vault, &config(role)).await.unwrap());
        let (devices, servers) = (open("device-mtls").await, open("nats-cluster").await);
        let domain = TrustDomain {
            name: TrustDomainName::parse("default").unwrap(),
            issuers: vec![devices.spki()],
            cn_pattern: leafgate_identity::CnPattern::default(),
            binding: Binding::Issued,
        };
        let store = Arc::new(MemoryStore::new());
        let registrar = Registrar::new(
            store.clone(),
            Issuers::new(devices, servers),
            Arc::new(TrustDomains::try_from(vec![domain]).unwrap()),
            random,
        );
        Self {
            issuer: documented.issuer("device-mtls").await,
            documented,
            proxy,
            store,
            registrar,
        }
    }

    async fn kinds(&self) -> Vec<String> {
        let events = self.store.events_after(0, 1000).await.unwrap();
        events.iter().map(|event| event.kind.to_string()).collect()
    }

    async fn keep(&self, after: Duration) -> KeptRequests {
        let act = Act {
            at: now().saturating_add(after),
            ..act()
        };
        let mut keeper = RequestKeeper::new(self.registrar.clone());
        keeper.keep(&act).await.unwrap()
    }

    async fn registered(&self, id: &str) {
        self.registrar.register(device(id), &act()).await.unwrap();
    }

    /// The certificates that a device's record holds, by their status.
    async fn recorded(&self, id: &str) -> Vec<CertificateStatusKind> {
        let id = id.parse().unwrap();
        let record = self.store.load(&id).await.unwrap().unwrap();
        let statuses = record.certificates.iter().map(|c| c.status.kind());
        statuses.collect()
    }

    /// What Vault has signed for leaves, and what of that it has revoked.
    async fn signed(&self) -> (Vec<SerialNumber>, Vec<SerialNumber>) {
        let authority = leafgate_pki::certificate_serial(
            pem::parse(self.issuer.certificate_pem())
                .unwrap()
                .contents(),
        );
        let mut signed = self.issuer.serials().await.unwrap();
        signed.retain(|serial| Some(*serial) != authority);
        (signed, self.issuer.revoked().await.unwrap())
    }
}

fn act() -> Act {
    Act {
        actor: Actor::parse("cli:test").unwrap(),
        at: now(),
    }
}

fn device(id: &str) -> NewDevice {
    NewDevice {
        id: id.parse().unwrap(),
        trust_domain: TrustDomainName::parse("default").unwrap(),
        pending: false,
        device_type: "pump".to_owned(),
        site: None,
        attributes: BTreeMap::new(),
    }
}

fn csr() -> String {
    write_csr(&KeyPairPem::generate().unwrap().private_key_pem, "any").unwrap()
}

fn signs(request: &Seen<'_>) -> bool {
    request.path.contains("/sign/")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_is_recorded_before_and_what_is_signed_in_one_step() {
    let bench = Bench::new().await;
    let made = bench
        .registrar
        .register_with_certificate(device("0001"), CertificateKey::New, &act())
        .await
        .unwrap();
    assert_eq!(
        bench.recorded("0001").await,
        [CertificateStatusKind::Issued]
    );
    let kinds = [
        "device-registered",
        "certificate-requested",
        "certificate-prepared",
        "certificate-issued",
    ];
    assert_eq!(bench.kinds().await, kinds);
    assert_eq!(bench.signed().await, (vec![made.issued.serial], vec![]));
    assert_eq!(bench.keep(LATER).await, KeptRequests::default());
    assert_eq!(bench.signed().await.1, []);

    let service = Service::NatsServer {
        dns_names: vec!["leaf-1".to_owned()],
        ip_addresses: Vec::new(),
    };
    let first = bench
        .registrar
        .issue_service_certificate(&service, CertificateKey::New, &act())
        .await
        .unwrap();
    assert_eq!(first.record.status.kind(), CertificateStatusKind::Issued);
    let second = bench
        .registrar
        .issue_service_certificate(&service, CertificateKey::Csr(&csr()), &act())
        .await
        .unwrap();
    let all = bench
        .store
        .find_certificates(&Default::default())
        .await
        .unwrap();
    let status = |serial| {
        let found = all.items.iter().find(|c| c.serial == serial).unwrap();
        found.status.kind()
    };
    assert_eq!(
        status(first.issued.serial),
        CertificateStatusKind::Superseded
    );
    assert_eq!(status(second.issued.serial), CertificateStatusKind::Issued);
    assert_eq!(bench.keep(LATER).await, KeptRequests::default());
}

/// An answer that never came, as after a crash: Vault has signed, and nobody has the certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_nobody_recorded_is_found_and_revoked() {
    let bench = Bench::new().await;
    bench.registered("0001").await;
    let id = "0001".parse().unwrap();
    bench.proxy.deal(|request| match signs(request) {
        true => Deal::PassAndFail,
        false => Deal::Pass,
    });
    bench.proxy.release();
    let csr = csr();
    let lost = bench
        .registrar
        .sign_csr(&id, &csr, &act())
        .await
        .unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Unavailable, "{lost}");
    bench.proxy.pass();
    let (signed, _) = bench.signed().await;
    let [orphan] = signed[..] else {
        panic!("{signed:?}")
    };

    // Somebody else has Vault sign past the registry, and the device comes again.
    let by_script = bench.documented.scratch.admin.request(
        "POST",
        "pki-int/sign/device-mtls",
        json!({ "csr": self::csr(), "common_name": "device-0009.device.synadia.local" }),
    );
    by_script.await;
    let again = bench.registrar.sign_csr(&id, &csr, &act()).await.unwrap();

    assert_eq!(bench.keep(Duration::ZERO).await, KeptRequests::default());
    assert_eq!(bench.signed().await.1, []);
    let kept = bench.keep(LATER).await;
    assert_eq!((kept.found, kept.not_signed, kept.to_revoke), (1, 0, 0));
    let (signed, revoked) = bench.signed().await;
    assert_eq!(signed.len(), 3);
    assert_eq!(revoked, [orphan]);
    assert_ne!(again.issued.serial, orphan);
    assert_eq!(bench.keep(LATER).await, KeptRequests::default());
    let kinds = bench.kinds().await;
    let abandoned = kinds.iter().filter(|kind| *kind == "certificate-abandoned");
    assert_eq!(abandoned.count(), 2, "found, and revoked: {kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_never_signed_is_closed_and_takes_no_token_twice() {
    let bench = Bench::new().await;
    let token = NewEnrolmentToken {
        name: "line 4".to_owned(),
        admits: Admits::Unnamed { max_uses: 1 },
        trust_domain: TrustDomainName::parse("default").unwrap(),
        device_type: "pump".to_owned(),
        site: None,
        attributes: BTreeMap::new(),
        created_by: "cli:test".to_owned(),
        expires_at: now().saturating_add(Duration::from_secs(3600)),
    };
    let act = act();
    let made = bench.registrar.create_enrolment_token(token, &act);
    let (_, text) = made.await.unwrap();
    let (id, csr) = ("0001".parse().unwrap(), csr());
    bench.proxy.deal(|request| match signs(request) {
        true => Deal::Fail,
        false => Deal::Pass,
    });
    let down = bench.registrar.enrol(&text, &id, &csr, &act).await;
    assert_eq!(down.unwrap_err().kind(), ErrorKind::Unavailable);
    bench.proxy.pass();
    let kept = bench.keep(LATER).await;
    assert_eq!((kept.found, kept.not_signed), (0, 1));
    let enrolled = bench.registrar.enrol(&text, &id, &csr, &act).await.unwrap();
    assert!(enrolled.newly_issued);
    let again = bench.registrar.enrol(&text, &id, &csr, &act).await.unwrap();
    assert_eq!(again.issued.serial, enrolled.issued.serial);
    let (other, fresh) = ("0002".parse().unwrap(), self::csr());
    let other = bench.registrar.enrol(&text, &other, &fresh, &act);
    let refused = other.await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden, "{refused}");
    assert_eq!(bench.signed().await.0.len(), 1);
}

/// What a role lets into certificates is revoked at once; or, where Vault doesn't take that, later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_as_asked_for_is_revoked_until_vault_has_taken_it() {
    let bench = Bench::new().await;
    bench.registered("0001").await;
    let id = "0001".parse().unwrap();
    let role = "pki-int/roles/device-mtls";
    let found = bench
        .documented
        .scratch
        .admin
        .request("GET", role, json!(null));
    let mut wrong = found.await["data"].clone();
    wrong["organization"] = json!(["Example"]);
    bench.documented.write(role, wrong).await;

    let refused = bench
        .registrar
        .sign_csr(&id, &csr(), &act())
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, RegistrarError::NotSigned { .. }) && refused.kind() == ErrorKind::Failed,
        "{refused:?}"
    );
    let (signed, revoked) = bench.signed().await;
    assert_eq!((signed.len(), &revoked), (1, &signed));

    bench
        .proxy
        .deal(|request| match request.path.ends_with("/revoke") {
            true => Deal::Fail,
            false => Deal::Pass,
        });
    bench
        .registrar
        .sign_csr(&id, &csr(), &act())
        .await
        .unwrap_err();
    assert_eq!(bench.signed().await.1, revoked);
    let mut keeper = RequestKeeper::new(bench.registrar.clone());
    for _ in 0..3 {
        let failed = keeper.keep(&act()).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Unavailable, "{failed}");
    }
    bench.proxy.pass();
    assert_eq!(keeper.keep(&act()).await.unwrap(), KeptRequests::default());
    let (signed, revoked) = bench.signed().await;
    assert_eq!((signed.len(), revoked.len()), (2, 2));
    assert_eq!(bench.recorded("0001").await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_revoked_while_vault_signs_gets_nothing() {
    let bench = Bench::new().await;
    bench.registered("0001").await;
    let id = "0001".parse().unwrap();
    bench.proxy.deal(|request| match signs(request) {
        true => Deal::Hold,
        false => Deal::Pass,
    });
    let registrar = bench.registrar.clone();
    let signing = tokio::spawn({
        let id: leafgate_identity::DeviceId = "0001".parse().unwrap();
        async move { registrar.sign_csr(&id, &csr(), &act()).await }
    });
    bench.proxy.dealt().await;
    let reason = RevocationReason::KeyCompromise;
    bench.registrar.revoke(&id, reason, &act()).await.unwrap();
    bench.proxy.release();
    let refused = signing.await.unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused:?}");
    assert_eq!(bench.recorded("0001").await, []);
    let (signed, revoked) = bench.signed().await;
    assert_eq!((signed.len(), &revoked), (1, &signed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_goes_to_one_device() {
    let bench = Bench::new().await;
    bench.registered("0001").await;
    bench.registered("0002").await;
    bench.proxy.deal(|request| match signs(request) {
        true => Deal::Hold,
        false => Deal::Pass,
    });
    let csr = csr();
    let ask = |id: &'static str| {
        let (registrar, csr) = (bench.registrar.clone(), csr.clone());
        tokio::spawn(async move {
            let id = id.parse().unwrap();
            registrar.sign_csr(&id, &csr, &act()).await
        })
    };
    let both = [ask("0001"), ask("0002")];
    bench.proxy.dealt().await;
    bench.proxy.dealt().await;
    bench.proxy.release();
    let mut given = 0;
    for asked in both {
        match asked.await.unwrap() {
            Ok(_) => given += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
        }
    }
    assert!(given <= 1);
    let held: usize = [bench.recorded("0001").await, bench.recorded("0002").await]
        .iter()
        .flatten()
        .filter(|status| **status == CertificateStatusKind::Issued)
        .count();
    assert_eq!(held, given);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_asks_without_end_is_slowed_down() {
    let bench = Bench::new().await;
    bench.registered("0001").await;
    let id = "0001".parse().unwrap();
    bench.proxy.deal(|request| match signs(request) {
        true => Deal::Fail,
        false => Deal::Pass,
    });
    let mut refusals = 0;
    for _ in 0..30 {
        let refused = bench.registrar.sign_csr(&id, &csr(), &act()).await;
        refusals += usize::from(refused.unwrap_err().kind() == ErrorKind::TooMany);
    }
    assert_eq!(refusals, 6, "24 a day");
    let later = Act {
        at: UnixMs::new(now().as_i64() + 3_700_000),
        ..act()
    };
    let refused = bench.registrar.sign_csr(&id, &csr(), &later).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
}
