//! API keys and enrolment tokens of the registry in a folder.

use std::time::Duration;

use leafgate_access::{Authority, NewApiKey, NewEnrolmentToken};
use leafgate_api::{
    ApiKey, ApiKeyList, CreateApiKey, CreateEnrolmentToken, CreatedApiKey, CreatedEnrolmentToken,
    EnrolmentToken, EnrolmentTokenList,
};
use leafgate_registrar::Registrar;
use leafgate_registry::Act;
use secrecy::ExposeSecret;

use super::described::trust_domain;
use crate::cli::error::CliError;
use crate::cli::registry::Part;

/// How long an API key lasts whose maker does not say, as with the registry API.
const API_KEY_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

pub(super) async fn create_api_key(
    registrar: &Registrar,
    new: CreateApiKey,
    act: &Act,
) -> Result<CreatedApiKey, CliError> {
    let new = NewApiKey {
        name: new.name,
        authority: Authority {
            roles: new.roles,
            scope: new.scope,
        },
        created_by: act.actor.to_string(),
        expires_at: new
            .expires_at
            .unwrap_or_else(|| act.at.saturating_add(API_KEY_LIFETIME)),
    };
    let (key, text) = registrar.create_api_key(new, act).await?;
    Ok(CreatedApiKey {
        api_key: ApiKey::from(&key),
        key: text.expose().expose_secret().to_owned(),
    })
}

pub(super) async fn api_keys(registrar: &Registrar, part: &Part) -> Result<ApiKeyList, CliError> {
    let page = registrar
        .api_keys(part.cursor()?.as_ref(), part.limit())
        .await?;
    Ok(ApiKeyList {
        api_keys: page.items.iter().map(ApiKey::from).collect(),
        next_page_token: page.next.as_ref().map(ToString::to_string),
    })
}

pub(super) async fn create_enrolment_token(
    registrar: &Registrar,
    new: CreateEnrolmentToken,
    act: &Act,
) -> Result<CreatedEnrolmentToken, CliError> {
    let new = NewEnrolmentToken {
        name: new.name,
        admits: new.admits.into(),
        trust_domain: new.trust_domain.unwrap_or_else(trust_domain),
        device_type: new.device_type,
        site: new.site,
        attributes: new.attributes,
        created_by: act.actor.to_string(),
        expires_at: new
            .expires_at
            .unwrap_or_else(|| act.at.saturating_add(Registrar::DEFAULT_TOKEN_LIFETIME)),
    };
    let (token, text) = registrar.create_enrolment_token(new, act).await?;
    Ok(CreatedEnrolmentToken {
        enrolment_token: EnrolmentToken::new(&token, 0),
        token: text.expose().expose_secret().to_owned(),
    })
}

pub(super) async fn enrolment_tokens(
    registrar: &Registrar,
    part: &Part,
) -> Result<EnrolmentTokenList, CliError> {
    let page = registrar
        .enrolment_tokens(part.cursor()?.as_ref(), part.limit())
        .await?;
    let tokens = page.items.iter();
    Ok(EnrolmentTokenList {
        enrolment_tokens: tokens
            .map(|status| EnrolmentToken::new(&status.token, status.uses))
            .collect(),
        next_page_token: page.next.as_ref().map(ToString::to_string),
    })
}
