use leafgate_api::{IssuedCertificate, ProblemType};
use leafgate_identity::UnixMs;
use leafgate_pki::{KeyPairPem, write_csr};
use leafgate_runtime::Clock;
use secrecy::SecretString;

use super::Agent;
use super::pair::Pair;
use crate::cli::error::{CliError, Exit};
use crate::cli::files::load_roots;
use crate::cli::registry::{Presented, renew_at};

/// Asks the registry for the next certificate, and checks what it gives; with the time of the renewal after this one.
pub(super) async fn renew(agent: &Agent<'_>, present: &Pair) -> Result<(Pair, UnixMs), CliError> {
    let key = match agent.keep_key {
        true => present.key_pem.clone(),
        false => new_key(agent)?,
    };
    let csr = write_csr(&key, &present.common_name)
        .map_err(|error| CliError::caused(Exit::Usage, &error))?;
    let presented =
        Presented::parse(&present.chain_pem, &present.key_pem).map_err(CliError::usage)?;
    let issued = match renew_at(&agent.url, agent.ca_file(), presented, &csr).await {
        Err(error) if is_about_the_key(&error) => {
            agent.files.forget_pending_key()?;
            return Err(error);
        }
        other => other?,
    };
    let renew_after = issued.renew_after;
    Ok((checked(agent, present, issued, key)?, renew_after))
}

/// Whether the same key would be refused again.
fn is_about_the_key(error: &CliError) -> bool {
    matches!(
        error.problem(),
        Some(ProblemType::KeyConflict | ProblemType::KeyCompromised)
    )
}

/// The key of a renewal that was not brought to its end, or a new one, kept before anything is asked for it.
fn new_key(agent: &Agent<'_>) -> Result<SecretString, CliError> {
    if let Some(pending) = agent.files.pending_key() {
        return Ok(pending);
    }
    let made = KeyPairPem::generate().map_err(|error| CliError::caused(Exit::Wrong, &error))?;
    agent.files.keep_pending_key(&made.private_key_pem)?;
    Ok(made.private_key_pem)
}

/// What nobody should use is not put in place of what works.
fn checked(
    agent: &Agent<'_>,
    present: &Pair,
    issued: IssuedCertificate,
    key: SecretString,
) -> Result<Pair, CliError> {
    let refused = |what: String| {
        CliError::new(
            Exit::Wrong,
            format!("the new certificate is not used: {what}"),
        )
        .hint("the present one stays in place")
    };
    let new = Pair::parse(issued.chain, key).map_err(|error| refused(error.to_string()))?;
    if new.common_name != present.common_name {
        return Err(refused(format!(
            "it is for {:?} in place of {:?}",
            new.common_name, present.common_name
        )));
    }
    let roots = load_roots(&agent.root).map_err(refused)?;
    new.verify(roots, agent.context.clock.now())
        .map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let cause = cause.unwrap_or_default();
            refused(format!("{error}: {cause}")).hint(format!(
                "is {} the root of this registry, and is the clock right?",
                agent.root.display()
            ))
        })?;
    Ok(new)
}
