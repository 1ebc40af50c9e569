//! Messages to the callout in place of nats-server's: those that no known server has made get no
//! answer, those about a connection that may not come in get a signed refusal.

mod answered;
mod limits;
mod silent;

use crate::support::bench::{Bench, Message};
use crate::support::decisions::Witness;

struct Row {
    name: &'static str,
    message: Message,
    reason: &'static str,
}

impl Row {
    fn new(name: &'static str, message: Message, reason: &'static str) -> Self {
        Self {
            name,
            message,
            reason,
        }
    }
}

/// Sends the row's message, sees it refused in log and metrics, and then a good one granted, whose
/// answer is the first.
async fn assert_ignored(bench: &mut Bench, row: &Row) {
    let witness = Witness::begin(&mut bench.callout).await;
    bench.send(&row.message).await;
    witness
        .saw(&mut bench.callout, row.name, &[row.reason])
        .await;
    bench.assert_goes_on(row.name).await;
}

/// The same for a message whose answer is a refusal with the row's reason.
async fn assert_refused(bench: &mut Bench, row: &Row) {
    let witness = Witness::begin(&mut bench.callout).await;
    let inbox = bench.send(&row.message).await;
    let answer = bench.answer(&row.message, &inbox, row.name).await;
    assert_eq!(answer.outcome, Err(row.reason.to_owned()), "{}", row.name);
    witness
        .saw(&mut bench.callout, row.name, &[row.reason])
        .await;
    bench.assert_goes_on(row.name).await;
}
