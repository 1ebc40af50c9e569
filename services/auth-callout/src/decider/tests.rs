use std::collections::HashMap;
use std::sync::Mutex;

use leafgate_identity::{
    Binding, CnPattern, Fingerprint, SerialNumber, TrustDomain, TrustDomainName, TrustDomains,
    spki_hash_of_certificate_pem,
};
use leafgate_nats_jwt::{
    ClientInfo, ClientTls, ConnectOptions, KeyKind, RequestClaims, ServerInfo, ServerKey,
    UnverifiedRequest, UserKey,
};
use leafgate_policy::{Constants, PolicySet, PolicySource};
use leafgate_registry::{CertificateId, Change, MemoryStore, NewDevice};
use leafgate_testkit::scratch_ca::{ScratchCa, ScratchLeaf};
use leafgate_testkit::store_conformance::records::{act, apply, new_certificate, new_device};
#[expect(clippy::disallowed_types, reason = "a test draws its own keys")]
use rand_core::OsRng;

use super::*;

const NOW: UnixMs = UnixMs::from_secs(1_795_226_584);
const DEADLINE: Duration = Duration::from_millis(1_200);

const POLICY: &str = r#"
[[policy]]
name = "device"
account = "DEVICES"
match = { device_type = "*" }
publish.allow = ["device.{id}.status"]
"#;

/// Wall time that stands still until it is moved; no time passes by the monotonic clock.
#[derive(Default)]
struct StillClock(Mutex<Duration>);

impl StillClock {
    fn pass(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for StillClock {
    fn now(&self) -> UnixMs {
        NOW.saturating_add(*self.0.lock().unwrap())
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

struct Stage {
    clock: Arc<StillClock>,
    store: Arc<MemoryStore>,
    decider: Decider,
    case: Case,
    certificate: CertificateId,
    fingerprint: Fingerprint,
}

/// Device 0001 asks to come in; the registry has not been asked for it yet.
fn stage() -> Stage {
    let ca = ScratchCa::root("devices");
    let device = ca.sign(&ScratchLeaf::device(
        "device-0001.device.synadia.local",
        NOW,
    ));
    let fingerprint = device.fingerprint;
    let certificate = CertificateId {
        issuer: spki_hash_of_certificate_pem(ca.certificate_pem()).unwrap(),
        serial: SerialNumber::from_be_bytes(&[7]).unwrap(),
    };
    let chain = vec![device.certificate_pem, ca.certificate_pem().to_owned()];
    let name = TrustDomainName::parse("default").unwrap();
    let policy = PolicySource {
        name: "devices.toml".to_owned(),
        text: POLICY.to_owned(),
    };
    let policies = PolicySet::load(&[policy], &Constants::default()).unwrap();
    let domain = TrustDomain {
        name: name.clone(),
        issuers: vec![spki_hash_of_certificate_pem(ca.certificate_pem()).unwrap()],
        cn_pattern: CnPattern::default(),
        binding: Binding::Issued,
    };
    let issuer = SigningKey::generate(KeyKind::Account, &mut OsRng);
    let case = Case {
        request: request(issuer.public().as_str(), chain),
        server_xkey: None,
        received: Duration::ZERO,
    };
    let clock = Arc::new(StillClock::default());
    let store = Arc::new(MemoryStore::new());
    let decider = Decider::new(
        Servers::new(None, None, clock.clone()),
        Records::new(store.clone(), 10, Duration::ZERO),
        clock.clone(),
        Arc::new(Trust {
            domains: TrustDomains::try_from(vec![domain]).unwrap(),
            policies: HashMap::from([(name, policies)]),
        }),
        issuer,
        "demo".to_owned(),
        DEADLINE,
    );
    Stage {
        clock,
        store,
        decider,
        case,
        certificate,
        fingerprint,
    }
}

fn request(issuer: &str, chain: Vec<String>) -> AuthorizationRequest {
    let server = SigningKey::generate(KeyKind::Server, &mut OsRng);
    let user = SigningKey::generate(KeyKind::User, &mut OsRng);
    let claims = RequestClaims {
        subject: issuer.to_owned(),
        issued_at_secs: NOW.as_secs(),
        expires_at_secs: NOW.as_secs() + 2,
        user_nkey: UserKey::try_from(*user.public()).unwrap(),
        server: ServerInfo {
            name: "leaf-1".to_owned(),
            host: "0.0.0.0".to_owned(),
            id: ServerKey::try_from(*server.public()).unwrap(),
            version: String::new(),
            cluster: String::new(),
            tags: Vec::new(),
            xkey: None,
        },
        client: ClientInfo {
            id: 14,
            kind: "Client".to_owned(),
            kind_type: "nats".to_owned(),
            ..ClientInfo::default()
        },
        connect: ConnectOptions::default(),
        tls: Some(ClientTls {
            verified_chains: vec![chain],
            ..ClientTls::default()
        }),
    };
    let token = claims.encode(&server).unwrap();
    let request = UnverifiedRequest::decode(token.as_bytes()).unwrap();
    request.verify().unwrap()
}

#[tokio::test]
async fn a_request_that_runs_out_while_its_device_is_looked_up_leaves_no_session_behind() {
    let Stage {
        clock,
        decider,
        case,
        ..
    } = stage();
    assert!(matches!(decider.try_decide(&case), Step::LookUp(_)));
    assert_eq!(decider.grants.len(), 1);
    clock.pass(Duration::from_secs(120));
    let answer = decider.decide_fully(&case).await;
    assert_eq!(answer.outcome.err().unwrap().reason, Reason::RequestExpired);
    assert!(answer.payload.is_none());
    assert_eq!(decider.grants.len(), 0);
}

/// As when a device renews and comes back at once.
#[tokio::test]
async fn a_certificate_that_memory_does_not_know_is_looked_up_before_it_is_refused() {
    let Stage {
        store,
        decider,
        case,
        certificate,
        fingerprint,
        ..
    } = stage();
    let new = NewDevice {
        trust_domain: TrustDomainName::parse("default").unwrap(),
        site: None,
        ..new_device("0001")
    };
    let record = apply(&*store, Change::register(None, new, &act(1)).unwrap()).await;
    decider.records.confirm(Duration::ZERO);
    let refused = decider.decide_fully(&case).await;
    let reason = refused.outcome.err().unwrap().reason;
    assert_eq!(reason, Reason::CertificateUnknown);

    let prepare = Change::prepare_certificate(&record, new_certificate(certificate), &act(2));
    let record = apply(&*store, prepare.unwrap()).await;
    let issue = Change::record_issued(&record, &certificate, fingerprint, &act(3));
    apply(&*store, issue.unwrap()).await;
    // Nobody has evicted the device: the feed tells of the certificate later.
    let admitted = decider.decide_fully(&case).await.outcome.unwrap();
    assert_eq!(admitted.source, Source::Store);
    let admitted = decider.decide_fully(&case).await.outcome.unwrap();
    assert_eq!(admitted.source, Source::Cache);
}

#[tokio::test]
async fn a_refused_device_leaves_no_session_behind() {
    let Stage { decider, case, .. } = stage();
    let answer = decider.decide_fully(&case).await;
    assert_eq!(answer.outcome.err().unwrap().reason, Reason::DeviceUnknown);
    assert!(answer.payload.is_some());
    assert_eq!(decider.grants.len(), 0);
}
