//! Logging in as a service account. Vault is real; the Kubernetes API that it asks about the account's token is a double
//! that knows TokenReview (<https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/>).

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use data_encoding::BASE64URL_NOPAD;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use leafgate_testkit::scratch_ca::ScratchCa;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Reviews tokens: of all, one is good.
#[derive(Clone)]
struct Reviews {
    good: Arc<Mutex<String>>,
    /// With whose token Vault asked.
    reviewers: Arc<Mutex<Vec<String>>>,
}

struct Kubernetes {
    address: String,
    reviews: Reviews,
}

impl Kubernetes {
    async fn start(ca: &ScratchCa, good: &str) -> Self {
        let certificate = transport::server_certificate(ca);
        let chain = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(certificate.private_key_pem.as_bytes());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key.unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let reviews = Reviews {
            good: Arc::new(Mutex::new(good.to_owned())),
            reviewers: Arc::default(),
        };
        let router = Router::new()
            .route("/apis/authentication.k8s.io/v1/tokenreviews", post(review))
            .with_state(reviews.clone());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, router) = (acceptor.clone(), router.clone());
                tokio::spawn(async move {
                    let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
                    let service = TowerToHyperService::new(router);
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(stream, service).await;
                });
            }
        });
        Self { address, reviews }
    }
}

async fn review(
    State(reviews): State<Reviews>,
    headers: HeaderMap,
    Json(review): Json<Value>,
) -> (axum::http::StatusCode, Json<Value>) {
    let reviewer = headers["authorization"].to_str().unwrap().to_owned();
    reviews.reviewers.lock().unwrap().push(reviewer);
    let authenticated = review["spec"]["token"] == json!(*reviews.good.lock().unwrap());
    let status = if authenticated {
        json!({
            "authenticated": true,
            "audiences": review["spec"]["audiences"],
            "user": { "username": "system:serviceaccount:nats-leaf:leafgate", "uid": "account-1" },
        })
    } else {
        json!({ "authenticated": false })
    };
    let answer = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "status": status,
    });
    (axum::http::StatusCode::CREATED, Json(answer))
}

/// A token in the form of a pod's. Nobody checks the signature but the Kubernetes API.
fn service_account_token(account: &str, number: u32) -> String {
    let part = |json: Value| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
    let header = part(json!({ "alg": "RS256", "kid": "k" }));
    let claims = part(json!({
        "iss": "https://kubernetes.default.svc.cluster.local",
        "aud": ["vault"],
        "exp": 4_000_000_000_u32,
        "iat": number,
        "sub": format!("system:serviceaccount:nats-leaf:{account}"),
        "kubernetes.io": {
            "namespace": "nats-leaf",
            "serviceaccount": { "name": account, "uid": "account-1" },
        },
    }));
    format!("{header}.{claims}.{}", BASE64URL_NOPAD.encode(&[7; 256]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_logs_in_with_the_token_that_it_has_by_then() {
    let scratch = Scratch::new().await;
    let admin = &scratch.admin;
    let ca = ScratchCa::root("Kubernetes CA");
    let first = service_account_token("leafgate", 1);
    let kubernetes = Kubernetes::start(&ca, &first).await;
    let mount = format!("kubernetes-{}", scratch.mount);
    let method = json!({ "type": "kubernetes" });
    admin
        .request("POST", &format!("sys/auth/{mount}"), method)
        .await;
    let config = json!({
        "kubernetes_host": kubernetes.address,
        "kubernetes_ca_cert": ca.certificate_pem(),
        "token_reviewer_jwt": service_account_token("vault", 1),
    });
    admin
        .request("POST", &format!("auth/{mount}/config"), config)
        .await;
    admin.put_policy(&mount, &all_of(&scratch.mount)).await;
    let role = json!({
        "bound_service_account_names": ["leafgate"],
        "bound_service_account_namespaces": ["nats-leaf"],
        "audience": "vault",
        "token_policies": [mount],
        "token_ttl": "1h",
    });
    admin
        .request("POST", &format!("auth/{mount}/role/leafgate"), role)
        .await;

    let folder = TempDir::new().unwrap();
    let jwt_file = folder.path().join("token");
    // As Kubernetes leaves it: readable for every user of the pod.
    fs::write(&jwt_file, &first).unwrap();
    let proxy = Proxy::start(&scratch.address).await;
    let watched = Watched::on(&proxy);
    let config = VaultConfig {
        address: Some(proxy.address.clone()),
        log_in: Some(VaultLogInConfig::Kubernetes {
            role: "leafgate".to_owned(),
            jwt_file: jwt_file.clone(),
            mount,
        }),
        ..VaultConfig::default()
    };
    let vault = Vault::connect(&config, &Default::default()).await.unwrap();
    let store = VaultStore::open(&vault, &scratch.config()).await.unwrap();
    let record = register(&store, "0001").await;
    let reviewer = format!("Bearer {}", service_account_token("vault", 1));
    assert_eq!(*kubernetes.reviews.reviewers.lock().unwrap(), [reviewer]);

    // Kubernetes replaces the token from time to time, and the old one ends.
    let second = service_account_token("leafgate", 2);
    fs::write(&jwt_file, &second).unwrap();
    *kubernetes.reviews.good.lock().unwrap() = second;
    let revoke = json!({ "token": watched.token() });
    admin.request("POST", "auth/token/revoke", revoke).await;
    assert_eq!(load(&store, "0001").await, record);
    assert_eq!(watched.log_ins(), 2);

    fs::write(&jwt_file, &first).unwrap();
    let refused = Vault::connect(&config, &Default::default()).await;
    let Err(StoreError::Unavailable { what, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert!(what.contains("Kubernetes role leafgate"), "{what}");
    assert!(!what.contains(&first), "{what}");
}
