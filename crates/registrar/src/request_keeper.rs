use std::collections::{HashMap, HashSet};
use std::time::Duration;

use leafgate_identity::{SerialNumber, SpkiHash, UnixMs};
use leafgate_pki::{Inventory, certificate_key};
use leafgate_registry::{Act, CertificateQuery, DocumentKind, DocumentName};

use crate::content::decode;
use crate::error::RegistrarError;
use crate::registrar::Registrar;
use crate::requests::{CertificateRequest, RequestState, inventory_of};

/// After which time a request without a certificate is looked after. Longer than any issuer is waited for, and than Vault
/// works on a request (90 s).
const PATIENCE: Duration = Duration::from_secs(300);
/// How many documents are read at a time.
const PAGE: usize = 100;

/// Finds what issuers signed and nobody recorded, because a process died or an answer was lost, and has it revoked there.
///
/// What is searched for is the key of a request that stayed open: certificates that others had the same issuer sign have
/// other keys, and are left alone.
pub struct RequestKeeper {
    registrar: Registrar,
    /// Certificates that belong to somebody, which need not be read again.
    seen: HashMap<SpkiHash, HashSet<SerialNumber>>,
}

/// What a [`RequestKeeper`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptRequests {
    /// Requests that had come to nothing.
    pub not_signed: usize,
    /// Certificates that were found and revoked.
    pub found: usize,
    /// Requests whose certificates an issuer has still to revoke.
    pub to_revoke: usize,
}

impl RequestKeeper {
    /// Has seen nothing yet.
    pub fn new(registrar: Registrar) -> Self {
        Self {
            registrar,
            seen: HashMap::new(),
        }
    }

    /// Goes through all requests once. To be called every minute.
    ///
    /// # Errors
    /// The store or an issuer fails; what could not be done is done by a later call.
    pub async fn keep(&mut self, act: &Act) -> Result<KeptRequests, RegistrarError> {
        let mut kept = KeptRequests::default();
        let mut failed = None;
        for (issuer, requests) in by_issuer(self.unsettled().await?) {
            if Searched::of(&requests, act.at).requests.is_empty() {
                continue;
            }
            if let Err(error) = self.search(issuer, act, &mut kept).await {
                failed = Some(error);
            }
        }
        for (name, request) in self.unsettled().await? {
            if request.revoke.is_empty() {
                continue;
            }
            if let Err(error) = self.registrar.revoke_abandoned(&name, act).await {
                kept.to_revoke += 1;
                failed = Some(error);
            }
        }
        failed.map_or(Ok(kept), Err)
    }

    /// Requests that are open, or leave something to revoke.
    async fn unsettled(&self) -> Result<Vec<(DocumentName, CertificateRequest)>, RegistrarError> {
        let mut unsettled = Vec::new();
        let mut after = None;
        loop {
            let kind = DocumentKind::CertificateRequest;
            let documents = self.registrar.store.documents(kind, after.as_ref(), PAGE);
            let page = documents.await?;
            for document in &page.items {
                let request: CertificateRequest = decode(document)?;
                if request.state == RequestState::Open || !request.revoke.is_empty() {
                    unsettled.push((document.name.clone(), request));
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(unsettled),
            }
        }
    }

    /// Finds what was signed for the requests of an issuer that have been open for too long.
    ///
    /// The requests are read after the issuer's list: whatever is on it was asked for before, so that its request is read
    /// too, unless its certificate is recorded.
    async fn search(
        &mut self,
        issuer: SpkiHash,
        act: &Act,
        kept: &mut KeptRequests,
    ) -> Result<(), RegistrarError> {
        let keeper = self.registrar.keeper_of(&issuer)?;
        let inventory = inventory_of(&*keeper)?;
        let serials = inventory.serials().await?;
        let requests = by_issuer(self.unsettled().await?).remove(&issuer);
        let requests = requests.unwrap_or_default();
        let searched = Searched::of(&requests, act.at);
        let mut found = self
            .find_signed(issuer, inventory, serials, &searched)
            .await?;
        for (name, request) in searched.requests {
            // Of several requests for one key the first takes all.
            let serials = found.remove(&request.public_key).unwrap_or_default();
            if self.registrar.give_up(name, &serials, act).await? {
                kept.found += serials.len();
                kept.not_signed += usize::from(serials.is_empty());
            }
        }
        Ok(())
    }

    /// The certificates for the searched keys that the registry doesn't know.
    async fn find_signed(
        &mut self,
        issuer: SpkiHash,
        inventory: &dyn Inventory,
        serials: Vec<SerialNumber>,
        searched: &Searched<'_>,
    ) -> Result<HashMap<SpkiHash, Vec<SerialNumber>>, RegistrarError> {
        let seen = self.seen.entry(issuer).or_default();
        let mut found: HashMap<SpkiHash, Vec<SerialNumber>> = HashMap::new();
        for serial in serials {
            if seen.contains(&serial) {
                continue;
            }
            let query = CertificateQuery {
                issuer: Some(issuer),
                serial: Some(serial),
                limit: 1,
                ..CertificateQuery::default()
            };
            let known = self.registrar.store.find_certificates(&query).await?;
            if !known.items.is_empty() {
                seen.insert(serial);
                continue;
            }
            // A certificate that the issuer does not show yet is looked for again.
            let Some(der) = inventory.certificate(&serial).await? else {
                continue;
            };
            match certificate_key(&der) {
                Some(key) if searched.keys.contains(&key) => {
                    found.entry(key).or_default().push(serial);
                }
                Some(key) if searched.in_flight.contains(&key) => {}
                _ => {
                    seen.insert(serial);
                }
            }
        }
        Ok(found)
    }
}

/// What is searched for among what an issuer signed.
struct Searched<'a> {
    /// The requests that have been open for too long.
    requests: Vec<&'a (DocumentName, CertificateRequest)>,
    /// Their keys.
    keys: HashSet<SpkiHash>,
    /// The keys of younger requests. Whoever asks for one just now may have it signed and not recorded yet.
    in_flight: HashSet<SpkiHash>,
}

impl<'a> Searched<'a> {
    fn of(requests: &'a [(DocumentName, CertificateRequest)], now: UnixMs) -> Self {
        let open = requests
            .iter()
            .filter(|(_, request)| request.state == RequestState::Open);
        let is_old = |request: &CertificateRequest| now.since(request.at) >= PATIENCE;
        let (mut old, young): (Vec<_>, Vec<_>) = open.partition(|(_, request)| is_old(request));
        let in_flight: HashSet<_> = young.iter().map(|(_, it)| it.public_key).collect();
        old.retain(|(_, request)| !in_flight.contains(&request.public_key));
        Self {
            keys: old.iter().map(|(_, request)| request.public_key).collect(),
            requests: old,
            in_flight,
        }
    }
}

type Requests = Vec<(DocumentName, CertificateRequest)>;

fn by_issuer(requests: Requests) -> HashMap<SpkiHash, Requests> {
    let mut by_issuer: HashMap<SpkiHash, Requests> = HashMap::new();
    for (name, request) in requests {
        let of_issuer = by_issuer.entry(request.issuer).or_default();
        of_issuer.push((name, request));
    }
    by_issuer
}
