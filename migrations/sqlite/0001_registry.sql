-- Times are milliseconds since the Unix epoch; hashes, serial numbers and fingerprints lower-case hex without colons.
-- States, statuses and reasons are checked by the program that reads them, not here: a text that it doesn't know admits
-- nobody, and a newer version can add one without rebuilding a table.

-- The end of the chain of events, and the lock that every writer takes.
CREATE TABLE feed_head (
    id    INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch TEXT    NOT NULL,
    seq   INTEGER NOT NULL,
    hash  TEXT    NOT NULL
) STRICT;

CREATE TABLE events (
    seq           INTEGER NOT NULL PRIMARY KEY,
    at_ms         INTEGER NOT NULL,
    actor         TEXT    NOT NULL,
    kind          TEXT    NOT NULL,
    device_id     TEXT,
    detail        TEXT    NOT NULL, -- JSON
    previous_hash TEXT    NOT NULL,
    hash          TEXT    NOT NULL
) STRICT;

CREATE TABLE devices (
    id               TEXT    NOT NULL PRIMARY KEY,
    id_folded        TEXT    NOT NULL UNIQUE,
    trust_domain     TEXT    NOT NULL,
    generation       INTEGER NOT NULL,
    version          INTEGER NOT NULL,
    state            TEXT    NOT NULL,
    device_type      TEXT    NOT NULL,
    site             TEXT,
    attributes       TEXT    NOT NULL, -- JSON object of strings
    registered_at_ms INTEGER NOT NULL,
    updated_at_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX devices_by_state ON devices (state, id);
CREATE INDEX devices_by_type ON devices (device_type, id);

-- Clustered by holder: all certificates of a device lie together, and come with one look-up.
CREATE TABLE certificates (
    holder_kind       TEXT    NOT NULL,  -- device or service
    holder            TEXT    NOT NULL,  -- the device's id or the service's name
    issuer            TEXT    NOT NULL,
    serial            TEXT    NOT NULL,
    holder_generation INTEGER,           -- of the device; null for a service
    profile           TEXT    NOT NULL,
    fingerprint       TEXT,
    public_key        TEXT    NOT NULL,
    status            TEXT    NOT NULL,
    status_at_ms      INTEGER,           -- superseded: end of the overlap; revoked: when
    reason            TEXT,              -- revoked: why
    not_before_ms     INTEGER NOT NULL,
    not_after_ms      INTEGER NOT NULL,
    prepared_at_ms    INTEGER NOT NULL,
    PRIMARY KEY (holder_kind, holder, issuer, serial),
    UNIQUE (serial, issuer)
) STRICT, WITHOUT ROWID;

CREATE INDEX certificates_revoked ON certificates (issuer, serial) WHERE status = 'revoked';

-- The newest CRL number of each issuer.
CREATE TABLE crls (
    issuer         TEXT    NOT NULL PRIMARY KEY,
    number         INTEGER NOT NULL,
    this_update_ms INTEGER NOT NULL,
    next_update_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
