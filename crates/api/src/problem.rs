use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! problems {
    ($($variant:ident = $name:literal, $status:literal, $title:literal, $page:literal;)+) => {
        /// What can be wrong with a request, or with answering it: the one list for answers, metrics, log and pages.
        /// Types are never renamed; clients tell problems apart by them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ProblemType {
            $(#[doc = concat!($title, ".")] $variant,)+
        }

        impl ProblemType {
            /// Every problem, by status.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in kebab-case.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The type as problem documents have it: a URI that the API itself answers.
            pub const fn uri(self) -> &'static str {
                match self { $(Self::$variant => concat!("/problems/", $name),)+ }
            }

            /// The status that an answer with this problem has.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// What it is, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }

            /// What it means and what to do, for the page of the problem.
            pub const fn page(self) -> &'static str {
                match self { $(Self::$variant => $page,)+ }
            }
        }
    };
}

problems! {
    RequestMalformed = "request-malformed", 400, "The request can't be read",
        "The body is not the JSON that the endpoint takes, or a parameter of the path or the query is not what it \
         should be. The detail names the place. Fields and parameters that are not known are refused rather than \
         skipped, so that a misspelt filter never widens a list. See /v1/openapi.json.";
    ValueMalformed = "value-malformed", 400, "A value breaks a rule of the registry",
        "The request is well formed, but a value in it can't be registered: a device id that no certificate can carry, \
         a type or site that is no subject token, too many attributes. The detail names the value and the rule.";
    TrustDomainUnknown = "trust-domain-unknown", 400, "There is no such trust domain",
        "The device is to belong to a trust domain that this registry does not serve, or it names none where there are \
         several. The detail lists those that there are.";
    CertificateRequestRefused = "certificate-request-refused", 400, "The certificate request is refused",
        "The PKCS #10 request can't be read, is not signed by its own key, or has a key that is too weak or of a kind \
         that is not certified. Of a request only the public key is used; its names and extensions have no effect. Make \
         a new P-256, P-384, Ed25519 or RSA key of 2048 to 4096 bits and sign the request with it.";
    PageTokenInvalid = "page-token-invalid", 400, "The page token does not belong to this list",
        "A page token is good only for the list that gave it, with the same filters. Repeat the filters of the first \
         request unchanged, or leave out page_token to begin anew.";
    CredentialsInvalid = "credentials-invalid", 401, "The request is not authenticated",
        "There is no API key in the request and no access token, or none that counts. Send it as `Authorization: Bearer \
         lgk_…`, or, where the service takes access tokens of an identity provider, `Authorization: Bearer <token>`. A \
         key may have expired or been revoked; whoever manages API keys can see that and make a new one. Scripts may \
         connect with a client certificate instead, where the service is told of one. A device's certificate is no \
         credential here.";
    EnrolmentTokenInvalid = "enrolment-token-invalid", 401, "There is no such enrolment token",
        "The request holds no enrolment token, or one that this registry never gave or has forgotten. Send it as \
         `Authorization: Bearer lge_…`, over EST as the password of HTTP Basic with any user name.";
    RoleInsufficient = "role-insufficient", 403, "None of your roles allows this",
        "It is known who asks, but their roles do not give the permission that the detail names. Ask for an API key, or \
         at your identity provider, for a role that has it.";
    ScopeExceeded = "scope-exceeded", 403, "This is outside of your scope",
        "The API key, or the role at your identity provider, is limited to some trust domains, sites or device types. What was asked for reaches beyond them: \
         a device would be registered or moved outside of the scope, or the endpoint is about the registry as a whole.";
    GrantExceeded = "grant-exceeded", 403, "Nobody gives away more than they hold",
        "The new key would have roles or a scope that its maker does not have. Ask for fewer roles or a narrower scope.";
    EnrolmentTokenEnded = "enrolment-token-ended", 403, "This enrolment token lets nobody in any more",
        "The token has expired, was revoked, or has let as many devices in as it may; the detail says which. Ask for a \
         new one.";
    EnrolmentRefused = "enrolment-refused", 403, "This enrolment token does not let this device in",
        "The token lets other devices in, or this one with another key. A token that names no ids lets in only devices \
         that are not registered. The name of a device that enrols over EST is the common name of its request, by the \
         pattern of the token's trust domain.";
    CertificateRequired = "certificate-required", 403, "A device renews with the certificate that it has",
        "The connection was made without a client certificate. Connect with the device's present certificate and key \
         (mutual TLS); it may have expired not too long ago. A certificate in a header counts only where the service \
         listens for the proxies that it was told to trust.";
    RenewalRefused = "renewal-refused", 403, "This certificate can't be renewed",
        "The certificate that the client presented is not one that its device may renew: it was not issued here, is \
         revoked, was superseded longer ago than the overlap, or expired longer ago than the grace. Such a device needs \
         a certificate from somebody who may issue it.";
    ProxyUntrusted = "proxy-untrusted", 403, "This address is none of the trusted proxies",
        "Certificates in headers are believed only from the addresses that the service's configuration names under \
         [http.proxied]. Devices connect to the proxy, or to the service's own address.";
    RouteUnknown = "route-unknown", 404, "There is nothing here",
        "No endpoint has this path. Paths are exact, without a trailing slash. See /v1/openapi.json.";
    DeviceUnknown = "device-unknown", 404, "There is no such device",
        "No device has this id, or your scope does not reach it. Ids are exact, case included.";
    CertificateUnknown = "certificate-unknown", 404, "There is no such certificate",
        "No certificate has this serial number, or your scope does not reach its holder.";
    ApiKeyUnknown = "api-key-unknown", 404, "There is no such API key",
        "No API key has this id, or it holds more than you do.";
    EnrolmentTokenUnknown = "enrolment-token-unknown", 404, "There is no such enrolment token",
        "No enrolment token has this id, or it is for devices outside of your scope.";
    IssuerUnknown = "issuer-unknown", 404, "There is no such issuer",
        "No issuer has this key. They are named by the SHA-256 of their public key; GET /v1/issuers lists them. One that \
         was prepared a moment ago is listed once this registry has read its files.";
    MethodNotAllowed = "method-not-allowed", 405, "The endpoint does not know this method",
        "The header Allow lists the methods that the endpoint has.";
    RequestTimeout = "request-timeout", 408, "The request took too long to arrive",
        "The body did not arrive within the time that is given for it. Send it again.";
    DeviceExists = "device-exists", 409, "A device with this id exists",
        "Ids are unique ignoring case. Choose another id, or delete the device first: its id can then be registered \
         again, as a new generation that accepts none of the old certificates.";
    StateIllegal = "state-illegal", 409, "The present state does not allow this",
        "A device or a certificate is in a state from which the act does not lead on: a revocation is final, a pending \
         device is approved before it is disabled. The detail says what to do first, where there is something to do.";
    CountDiffers = "count-differs", 409, "The devices are more or fewer than was confirmed",
        "A change of many devices is made only if they are as many as the request says. Devices were registered or \
         changed since that number was told. Nothing was done: plan again, look at the number, and confirm that one.";
    KeyConflict = "key-conflict", 409, "The public key is in use elsewhere",
        "Another device holds a certificate with this key. Two devices with one key could not be told apart: make a new \
         key on the device.";
    KeyCompromised = "key-compromised", 409, "The key is known to be in other hands",
        "A certificate with this key was revoked because the key was compromised. Make a new key.";
    CertificateAmbiguous = "certificate-ambiguous", 409, "Two certificates have this serial number",
        "Two issuers gave out the same serial number. Name the certificate as ISSUER:SERIAL; the detail has the issuers.";
    IssuerForeign = "issuer-foreign", 409, "Certificates of this trust domain are issued elsewhere",
        "The trust domain does not list the issuer that signs here. Ask where its certificates come from.";
    IssuerStateIllegal = "issuer-state-illegal", 409, "The issuer's place in its rotation does not allow this",
        "A retired issuer never signs again. The active one can't be retired: activate another first. One that no trust \
         domain of this registry names can't be activated, since its devices would be let in nowhere.";
    IssuerTooYoung = "issuer-too-young", 409, "The issuer was prepared too short a time ago",
        "Listeners and callouts that do not know an issuer yet keep its devices out. Wait as long as the detail says, \
         or, if all of them know it, say so with {\"now\": true}.";
    IdempotencyKeySpent = "idempotency-key-spent", 409, "What this request gave can't be given twice",
        "A request with this Idempotency-Key was carried out, and its answer held a private key or an API key, which is \
         kept nowhere. If the answer was lost, revoke what it made, and ask again with another Idempotency-Key.";
    FeedRestarted = "feed-restarted", 409, "The events are not those that you followed",
        "The registry was restored from a backup: its event numbers may stand for other events than those you read. \
         Drop what you derived from them and begin anew, without a position.";
    VersionMismatch = "version-mismatch", 412, "The device is not of this version any more",
        "If-Match names another version than the present one: somebody changed the device meanwhile. Read it again, see \
         whether the change still applies, and send it with the new ETag.";
    BodyTooLarge = "body-too-large", 413, "The body is too large",
        "A request's body has at most 1 MiB.";
    MediaTypeUnsupported = "media-type-unsupported", 415, "The body is of a type that the endpoint does not take",
        "Send application/json; a PATCH may also be application/merge-patch+json.";
    IdempotencyKeyReused = "idempotency-key-reused", 422, "This Idempotency-Key belongs to another request",
        "An Idempotency-Key stands for one request: same method, path and body. Use a new one for each act, and repeat \
         it only to repeat that act.";
    AttemptsTooMany = "attempts-too-many", 429, "Too many attempts with wrong credentials",
        "Too many requests with wrong credentials came from this address or for this key. The header Retry-After says \
         when to try again; attempts before that are not even looked at.";
    IssuanceLimited = "issuance-limited", 429, "Too many certificates for this device",
        "The device was given as many certificates as it may have in this time, or holds as many as it may. A device \
         that asks again and again with new keys is usually one that loses them: look at its storage. The header \
         Retry-After says when it may ask again.";
    Internal = "internal", 500, "Something is broken here",
        "Neither asking again nor asking differently helps. The service's log holds the cause under the request_id.";
    NotSupported = "not-supported", 501, "This registry can't do that",
        "The store behind this registry, or its configuration, does not allow this. The detail says what would.";
    OutcomeUnknown = "outcome-unknown", 503, "It is not known whether this was done",
        "The registry's store failed while writing: the change may or may not have been made. Read before trying again; \
         with an Idempotency-Key the same request can be repeated safely.";
    RevocationNotServed = "revocation-not-served", 503, "The revocation is done, and not on the lists yet",
        "The device or certificate is revoked, and no log-in is let in any more. The revocation lists and status answers \
         that are served do not hold it yet: the issuer or the store is slow or can't be reached. They will as soon as \
         they can be made; read the device or certificate to see that it is revoked.";
    RegistryUnavailable = "registry-unavailable", 503, "The registry can't be reached",
        "The service runs, but the store behind it does not answer. Nothing was done. Try again later.";
    IssuerUnavailable = "issuer-unavailable", 503, "The certificate issuer can't be reached",
        "The service runs, but the issuer that signs certificates does not answer. A certificate that was prepared admits \
         nobody. Try again later.";
    IdentityProviderUnavailable = "identity-provider-unavailable", 503, "Access tokens can't be verified now",
        "The service can't read the keys of the identity provider, without which nobody can tell whether the access token \
         is good. Try again later. Requests with an API key are answered meanwhile.";
    IssuerKeyMissing = "issuer-key-missing", 503, "This registry lacks the key that is to sign",
        "The registry's records say which issuer signs, and its key is not in this process's CA folder. Nothing was \
         signed. Copy the files that the detail names from the folder that has them; they are read within seconds.";
    SessionsUnavailable = "sessions-unavailable", 503, "Sessions can't be found or ended now",
        "The service runs, but the nats-servers that hold the devices' sessions do not answer, or one of them did not. \
         Some sessions may have been ended. Try again later.";
    Busy = "busy", 503, "Others keep changing the same record",
        "The change was tried several times, and somebody else was faster each time. Nothing was done. Try again.";
    Overloaded = "overloaded", 503, "The service has too much to do",
        "The service is working on as many requests or streams as it may hold. Try again shortly.";
}

impl ProblemType {
    /// The problem of this type URI, if it is a known one.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|problem| problem.uri() == uri)
            .copied()
    }
}

/// A problem as an answer tells it (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemDocument {
    /// What kind of problem: a URI that the API itself answers with a page about it.
    #[serde(rename = "type")]
    #[schema(example = "/problems/device-exists")]
    pub type_uri: String,
    /// The kind of problem in words.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What is wrong with this request, and how to mend it.
    pub detail: String,
    /// The path that was asked for.
    pub instance: String,
    /// The request's id, as in the header `X-Request-Id` and in the service's log.
    pub request_id: String,
}

impl ProblemDocument {
    /// The kind of problem, if this version knows it.
    pub fn problem_type(&self) -> Option<ProblemType> {
        ProblemType::from_uri(&self.type_uri)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_kebab_case_and_unique_and_problems_come_by_status() {
        let mut names = BTreeSet::new();
        for problem in ProblemType::ALL {
            let name = problem.as_str();
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
            );
            assert!(names.insert(name), "{name} stands twice");
            assert_eq!(problem.uri(), format!("/problems/{name}"));
            assert_eq!(ProblemType::from_uri(problem.uri()), Some(*problem));
            assert!((400..600).contains(&problem.status()));
            assert!(!problem.title().ends_with('.') && problem.page().ends_with('.'));
        }
        assert!(ProblemType::ALL.is_sorted_by_key(|problem| problem.status()));
        assert_eq!(ProblemType::from_uri("device-exists"), None);
    }
}
