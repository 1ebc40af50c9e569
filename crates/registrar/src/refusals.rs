use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::slice;

use leafgate_registry::{Act, Change, EventKind};
use serde_json::json;

use crate::error::RegistrarError;
use crate::registrar::Registrar;

/// How many lines one event has; the rest is summed. Whoever asks under ever new names must not fill the chain.
const MAX_LINES: usize = 100;

impl Registrar {
    /// Records how many requests were refused, by actor and reason, in one event. Nothing is recorded of none.
    ///
    /// # Errors
    /// The store fails.
    pub async fn record_refusals(
        &self,
        counts: &BTreeMap<(String, String), u64>,
        act: &Act,
    ) -> Result<(), RegistrarError> {
        let mut lines: Vec<_> = counts.iter().filter(|(_, count)| **count > 0).collect();
        if lines.is_empty() {
            return Ok(());
        }
        lines.sort_by_key(|(_, count)| Reverse(**count));
        let others = lines.split_off(lines.len().min(MAX_LINES));
        let refused: Vec<_> = lines
            .iter()
            .map(|((actor, reason), count)| {
                json!({ "actor": actor, "reason": reason, "count": count })
            })
            .collect();
        let total: u64 = counts.values().sum();
        let mut detail = json!({ "refused": refused, "total": total });
        if !others.is_empty() {
            detail["others"] = others.iter().map(|(_, count)| **count).sum::<u64>().into();
        }
        let change = Change::note(EventKind::RequestsRefused, detail, act);
        let mut tries = self.tries();
        while !self.commit(slice::from_ref(&change)).await? {
            tries.again("the audit trail").await?;
        }
        Ok(())
    }
}
