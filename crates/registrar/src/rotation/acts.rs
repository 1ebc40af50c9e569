use std::slice;
use std::time::Duration;

use leafgate_identity::SpkiHash;
use leafgate_pki::Intermediate;
use leafgate_registry::{Act, Change, Document, DocumentKind, DocumentWrite, EventKind};
use serde_json::{Value, json};

use super::record::{IssuerState, Rotation};
use super::{IssuerStatus, KINDS};
use crate::content::{document_name, encode};
use crate::error::RegistrarError;
use crate::registrar::Registrar;

impl Registrar {
    /// Records those of this process's issuers that are not: as prepared, but for the first where nothing was. An
    /// installation that never had but one issuer of a kind records nothing of that kind. To be called when the issuers
    /// of this process have changed. Gives the keys of those that were recorded.
    ///
    /// # Errors
    /// The store fails.
    pub async fn note_issuers(&self, act: &Act) -> Result<Vec<SpkiHash>, RegistrarError> {
        let mut noted = Vec::new();
        for intermediate in KINDS {
            noted.extend(self.note_issuers_of(intermediate, act).await?);
        }
        Ok(noted)
    }

    async fn note_issuers_of(
        &self,
        intermediate: Intermediate,
        act: &Act,
    ) -> Result<Vec<SpkiHash>, RegistrarError> {
        let mut tries = self.tries();
        loop {
            let (document, recorded) = self.recorded(intermediate).await?;
            if document.is_none() && self.issuers.of(intermediate).len() < 2 {
                return Ok(Vec::new());
            }
            let mut rotation = self.with_unrecorded(intermediate, recorded);
            let mut noted = Vec::new();
            for placed in rotation.issuers.iter_mut().filter(|it| it.since.is_none()) {
                placed.since = Some(act.at);
                noted.push((placed.issuer, placed.state));
            }
            if noted.is_empty() {
                return Ok(Vec::new());
            }
            let mut changes: Vec<Change> = noted
                .iter()
                .map(|(issuer, state)| told(intermediate, issuer, *state, None, act))
                .collect();
            let last = changes.pop().expect("there is one for each that was noted");
            changes.push(last.with_document(write(document, intermediate, &rotation)));
            if self.commit(&changes).await? {
                return Ok(noted.into_iter().map(|(issuer, _)| issuer).collect());
            }
            tries.again(what(intermediate)).await?;
        }
    }

    /// Lets an issuer sign in the place of the present one of its kind, which can be activated again until it is retired.
    /// One that is active already stays as it is. One that was prepared less than `ripe` ago is refused: whoever does not
    /// know it yet would keep its devices out.
    ///
    /// # Errors
    /// There is no such issuer, it is retired or too young, its key is not here, no trust domain here names it, or the
    /// store fails.
    pub async fn activate_issuer(
        &self,
        issuer: &SpkiHash,
        ripe: Duration,
        act: &Act,
    ) -> Result<IssuerStatus, RegistrarError> {
        self.guard.everywhere()?;
        let mut tries = self.tries();
        loop {
            self.beside_request().note_issuers(act).await?;
            let (intermediate, document, mut rotation) = self.find_recorded(issuer, act).await?;
            let before = rotation.active();
            if before == Some(*issuer) {
                return self.issuer_status(issuer, act.at).await;
            }
            self.check_activation(intermediate, &rotation, issuer, ripe, act)?;
            if let Some(before) = before {
                rotation.place(&before, IssuerState::Superseded, act.at);
            }
            rotation.place(issuer, IssuerState::Active, act.at);
            let change = told(intermediate, issuer, IssuerState::Active, before, act)
                .with_document(write(document, intermediate, &rotation));
            if self.commit(slice::from_ref(&change)).await? {
                return self.issuer_status(issuer, act.at).await;
            }
            tries.again(what(intermediate)).await?;
        }
    }

    fn check_activation(
        &self,
        intermediate: Intermediate,
        rotation: &Rotation,
        issuer: &SpkiHash,
        ripe: Duration,
        act: &Act,
    ) -> Result<(), RegistrarError> {
        let placed = rotation.find(issuer);
        let placed = placed.ok_or(RegistrarError::IssuerUnknown { issuer: *issuer })?;
        let issuer = *issuer;
        match (placed.state, placed.since) {
            (IssuerState::Retired, _) => {
                return Err(RegistrarError::IssuerRetired { issuer });
            }
            (IssuerState::Prepared, Some(since)) => {
                let left = since.saturating_add(ripe).since(act.at);
                if !left.is_zero() {
                    return Err(RegistrarError::IssuerTooYoung {
                        issuer,
                        since,
                        left,
                    });
                }
            }
            _ => {}
        }
        if self.issuers.find_of(intermediate, &issuer).is_none() {
            let issuer = Some(issuer);
            return Err(RegistrarError::IssuerKeyMissing {
                intermediate,
                issuer,
            });
        }
        let is_named = self.domains.load().by_issuer(&issuer).is_some();
        if intermediate == Intermediate::Devices && !is_named {
            return Err(RegistrarError::IssuerUntrusted { issuer });
        }
        Ok(())
    }

    /// Lets an issuer sign no certificate ever again. One that is retired already stays as it is.
    ///
    /// # Errors
    /// There is no such issuer, it is the active one, or the store fails.
    pub async fn retire_issuer(
        &self,
        issuer: &SpkiHash,
        act: &Act,
    ) -> Result<IssuerStatus, RegistrarError> {
        self.guard.everywhere()?;
        let mut tries = self.tries();
        loop {
            self.beside_request().note_issuers(act).await?;
            let (intermediate, document, mut rotation) = self.find_recorded(issuer, act).await?;
            match rotation.find(issuer).map(|it| it.state) {
                Some(IssuerState::Retired) => return self.issuer_status(issuer, act.at).await,
                Some(IssuerState::Active) => {
                    return Err(RegistrarError::IssuerActive { issuer: *issuer });
                }
                _ => {}
            }
            rotation.place(issuer, IssuerState::Retired, act.at);
            let change = told(intermediate, issuer, IssuerState::Retired, None, act)
                .with_document(write(document, intermediate, &rotation));
            if self.commit(slice::from_ref(&change)).await? {
                return self.issuer_status(issuer, act.at).await;
            }
            tries.again(what(intermediate)).await?;
        }
    }

    /// Where an issuer is recorded. The only one of its kind is active though it is recorded nowhere.
    async fn find_recorded(
        &self,
        issuer: &SpkiHash,
        act: &Act,
    ) -> Result<(Intermediate, Option<Document>, Rotation), RegistrarError> {
        for intermediate in KINDS {
            let (document, recorded) = self.recorded(intermediate).await?;
            let mut rotation = self.with_unrecorded(intermediate, recorded);
            if rotation.find(issuer).is_some() {
                let unrecorded = rotation.issuers.iter_mut().filter(|it| it.since.is_none());
                unrecorded.for_each(|it| it.since = Some(act.at));
                return Ok((intermediate, document, rotation));
            }
        }
        Err(RegistrarError::IssuerUnknown { issuer: *issuer })
    }

    async fn recorded(
        &self,
        intermediate: Intermediate,
    ) -> Result<(Option<Document>, Rotation), RegistrarError> {
        let found = self.document(DocumentKind::Issuer, intermediate.as_str());
        Ok(match found.await? {
            Some((document, rotation)) => (Some(document), rotation),
            None => (None, Rotation::default()),
        })
    }
}

fn write(before: Option<Document>, intermediate: Intermediate, after: &Rotation) -> DocumentWrite {
    let body = encode(after);
    match before {
        Some(before) => before.replaced(body, None),
        None => DocumentWrite::new(
            DocumentKind::Issuer,
            document_name(intermediate.as_str()),
            body,
            None,
        ),
    }
}

/// The event of an issuer's new place.
fn told(
    intermediate: Intermediate,
    issuer: &SpkiHash,
    state: IssuerState,
    superseded: Option<SpkiHash>,
    act: &Act,
) -> Change {
    let mut detail = json!({
        "intermediate": intermediate.as_str(),
        "issuer": issuer,
        "state": state,
    });
    if let (Some(superseded), Value::Object(detail)) = (superseded, &mut detail) {
        detail.insert("superseded".to_owned(), json!(superseded));
    }
    Change::note(EventKind::IssuerRotated, detail, act)
}

fn what(intermediate: Intermediate) -> String {
    format!("the issuers of {intermediate}")
}
