-- Times are milliseconds since the Unix epoch; hashes, serial numbers and fingerprints lower-case hex without colons.
-- States, statuses and reasons are checked by the program that reads them, not here: a text that it doesn't know admits
-- nobody, and a newer version can add one without rewriting a table.
--
-- Every text is compared byte by byte: pages, cursors and prefixes rest on it, and an index that follows a locale is
-- spoiled when an upgrade of the system changes that locale.

-- The end of the chain of events, and the lock that every writer takes.
CREATE TABLE feed_head (
    id    BIGINT           NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch TEXT COLLATE "C" NOT NULL,
    seq   BIGINT           NOT NULL,
    hash  TEXT COLLATE "C" NOT NULL
);

CREATE TABLE events (
    seq           BIGINT           NOT NULL PRIMARY KEY,
    at_ms         BIGINT           NOT NULL,
    actor         TEXT COLLATE "C" NOT NULL,
    kind          TEXT COLLATE "C" NOT NULL,
    device_id     TEXT COLLATE "C",
    detail        TEXT COLLATE "C" NOT NULL, -- JSON, as it was hashed: JSONB would write its numbers anew
    previous_hash TEXT COLLATE "C" NOT NULL,
    hash          TEXT COLLATE "C" NOT NULL
);

CREATE TABLE devices (
    id               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    id_folded        TEXT COLLATE "C" NOT NULL UNIQUE,
    trust_domain     TEXT COLLATE "C" NOT NULL,
    generation       BIGINT           NOT NULL,
    version          BIGINT           NOT NULL,
    state            TEXT COLLATE "C" NOT NULL,
    device_type      TEXT COLLATE "C" NOT NULL,
    site             TEXT COLLATE "C",
    attributes       TEXT COLLATE "C" NOT NULL, -- JSON object of strings
    registered_at_ms BIGINT           NOT NULL,
    updated_at_ms    BIGINT           NOT NULL
);

CREATE INDEX devices_by_state ON devices (state, id);
CREATE INDEX devices_by_type ON devices (device_type, id);
CREATE INDEX devices_by_site ON devices (site, id) WHERE site IS NOT NULL;
CREATE INDEX devices_by_attribute ON devices USING gin ((attributes::jsonb) jsonb_path_ops);

CREATE TABLE certificates (
    holder_kind       TEXT COLLATE "C" NOT NULL,  -- device or service
    holder            TEXT COLLATE "C" NOT NULL,  -- the device's id or the service's name
    issuer            TEXT COLLATE "C" NOT NULL,
    serial            TEXT COLLATE "C" NOT NULL,
    holder_generation BIGINT,                     -- of the device; null for a service
    profile           TEXT COLLATE "C" NOT NULL,
    fingerprint       TEXT COLLATE "C",
    public_key        TEXT COLLATE "C" NOT NULL,
    status            TEXT COLLATE "C" NOT NULL,
    status_at_ms      BIGINT,                     -- superseded: end of the overlap; revoked: when
    reason            TEXT COLLATE "C",           -- revoked: why
    not_before_ms     BIGINT           NOT NULL,
    not_after_ms      BIGINT           NOT NULL,
    prepared_at_ms    BIGINT           NOT NULL,
    PRIMARY KEY (holder_kind, holder, issuer, serial),
    UNIQUE (serial, issuer)
);

CREATE INDEX certificates_revoked ON certificates (issuer, serial) WHERE status = 'revoked';
CREATE INDEX certificates_by_public_key ON certificates (public_key, serial, issuer);
CREATE INDEX certificates_by_fingerprint ON certificates (fingerprint, serial, issuer) WHERE fingerprint IS NOT NULL;
CREATE INDEX certificates_by_end ON certificates (not_after_ms) WHERE status = 'issued';

-- The newest CRL number of each issuer.
CREATE TABLE crls (
    issuer         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    number         BIGINT           NOT NULL,
    this_update_ms BIGINT           NOT NULL,
    next_update_ms BIGINT           NOT NULL
);

-- Small records beside the devices: API keys, enrolment tokens, signed certificates, requests, issuers.
CREATE TABLE documents (
    kind          TEXT COLLATE "C" NOT NULL,
    name          TEXT COLLATE "C" NOT NULL,
    version       BIGINT           NOT NULL,
    expires_at_ms BIGINT,                     -- null: never forgotten
    body          TEXT COLLATE "C" NOT NULL,  -- JSON
    PRIMARY KEY (kind, name)
);

CREATE INDEX documents_by_end ON documents (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
