-- Small records beside the devices: API keys, enrolment tokens, signed certificates, requests, issuers.
CREATE TABLE documents (
    kind          TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    version       INTEGER NOT NULL,
    expires_at_ms INTEGER,          -- null: never forgotten
    body          TEXT    NOT NULL, -- JSON
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX documents_by_end ON documents (expires_at_ms) WHERE expires_at_ms IS NOT NULL;

CREATE INDEX certificates_by_public_key ON certificates (public_key, serial, issuer);
CREATE INDEX certificates_by_fingerprint ON certificates (fingerprint, serial, issuer) WHERE fingerprint IS NOT NULL;
CREATE INDEX certificates_by_end ON certificates (not_after_ms) WHERE status = 'issued';
CREATE INDEX devices_by_site ON devices (site, id) WHERE site IS NOT NULL;
