-- Times are microseconds since 1970-01-01 UTC. Digests are 64 lower-case hexadecimal characters.
-- The same tables stand in migrations/sqlite; only the names of the types differ.

-- The tree of the ledger: every writer takes this one row first, so writers are serial.
CREATE TABLE ledger_head (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    size BIGINT NOT NULL CHECK (size >= 0),
    subtrees BYTEA NOT NULL CHECK (length(subtrees) % 32 = 0)
);

INSERT INTO ledger_head (id, size, subtrees) VALUES (1, 0, '');

-- The complete subtrees of the ledger, which never change: proofs are read from here.
CREATE TABLE ledger_nodes (
    level BIGINT NOT NULL CHECK (level >= 0),
    position BIGINT NOT NULL CHECK (position >= 0),
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (level, position)
);

-- What witnesses signed of the tree's heads, by their verifier keys. It is verified again when it is read.
CREATE TABLE cosignatures (
    size BIGINT NOT NULL CHECK (size >= 1),
    witness TEXT NOT NULL,
    cosignature TEXT NOT NULL,
    PRIMARY KEY (size, witness)
);

CREATE TABLE policies (
    digest TEXT NOT NULL PRIMARY KEY CHECK (length(digest) = 64),
    policy TEXT NOT NULL
);

CREATE TABLE approvals (
    id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 30),
    -- The index of the ledger entry that created it: the order of all lists.
    first_entry BIGINT NOT NULL UNIQUE CHECK (first_entry >= 0),
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    requester_key TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_digest TEXT NOT NULL CHECK (length(request_digest) = 64),
    -- The requester's token and the key that verified it, for the evidence.
    token TEXT NOT NULL,
    token_key TEXT NOT NULL,
    deployment TEXT NOT NULL,
    deployment_digest TEXT NOT NULL UNIQUE CHECK (length(deployment_digest) = 64),
    policy_digest TEXT NOT NULL REFERENCES policies (digest),
    status TEXT NOT NULL CHECK (status IN (
        'pending', 'approved', 'executing', 'succeeded', 'failed', 'rolled_back',
        'needs_attention', 'rejected', 'expired', 'cancelled', 'superseded', 'withdrawn')),
    version BIGINT NOT NULL CHECK (version >= 1),
    state TEXT NOT NULL,
    decisions TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    CHECK (version > 1 OR status = 'pending'),
    UNIQUE (requester_key, idempotency_key)
);

CREATE INDEX approvals_by_status ON approvals (status, expires_at);
CREATE INDEX approvals_by_requester ON approvals (requester_key, first_entry);
CREATE INDEX approvals_by_environment ON approvals (environment, status, first_entry);

CREATE TABLE ledger_entries (
    entry_index BIGINT NOT NULL PRIMARY KEY CHECK (entry_index >= 0),
    kind TEXT NOT NULL,
    approval_id TEXT REFERENCES approvals (id),
    -- Who did it, as the record says: for lists.
    party TEXT,
    record TEXT NOT NULL,
    salt BYTEA NOT NULL CHECK (length(salt) = 32),
    entry_hash TEXT NOT NULL CHECK (length(entry_hash) = 64),
    root TEXT NOT NULL CHECK (length(root) = 64),
    signature BYTEA NOT NULL CHECK (length(signature) = 64),
    at BIGINT NOT NULL
);

-- Read before each rollout begins; there are few of them.
CREATE INDEX ledger_entries_of_revocations ON ledger_entries (entry_index)
    WHERE kind = 'credential.revoked';
CREATE INDEX ledger_entries_by_approval ON ledger_entries (approval_id, entry_index);
CREATE INDEX ledger_entries_by_kind ON ledger_entries (kind, entry_index);
CREATE INDEX ledger_entries_by_party ON ledger_entries (party, entry_index);
CREATE INDEX ledger_entries_by_time ON ledger_entries (at, entry_index);

-- A person decides once: the primary key says so.
CREATE TABLE decisions (
    approval_id TEXT NOT NULL REFERENCES approvals (id),
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- The size of the ledger when it was written: the order of the decisions of one approval.
    position BIGINT NOT NULL CHECK (position >= 1),
    statement TEXT NOT NULL,
    credential_id BYTEA NOT NULL,
    authenticator_data BYTEA NOT NULL,
    client_data_json BYTEA NOT NULL,
    signature BYTEA NOT NULL,
    user_handle BYTEA,
    id_token TEXT NOT NULL,
    issuer_key TEXT NOT NULL,
    decided_at BIGINT NOT NULL,
    PRIMARY KEY (approval_id, issuer, subject)
);

-- The worker's list: a row stands here exactly while an approval is approved or executing.
CREATE TABLE jobs (
    approval_id TEXT NOT NULL PRIMARY KEY REFERENCES approvals (id),
    due_at BIGINT NOT NULL,
    owner TEXT,
    lease_until BIGINT,
    epoch BIGINT NOT NULL CHECK (epoch >= 0),
    attempts BIGINT NOT NULL CHECK (attempts >= 0),
    last_error TEXT,
    CHECK ((owner IS NULL) = (lease_until IS NULL))
);

CREATE INDEX jobs_by_due ON jobs (due_at);

CREATE TABLE credentials (
    id BYTEA NOT NULL PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 1023),
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    name TEXT NOT NULL,
    public_key BYTEA NOT NULL,
    sign_count BIGINT NOT NULL CHECK (sign_count BETWEEN 0 AND 4294967295),
    backup_eligible BIGINT NOT NULL CHECK (backup_eligible IN (0, 1)),
    backup_state BIGINT NOT NULL CHECK (backup_state IN (0, 1)),
    aaguid BYTEA NOT NULL CHECK (length(aaguid) = 16),
    transports TEXT NOT NULL,
    registration TEXT NOT NULL,
    id_token TEXT NOT NULL,
    issuer_key TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'suspended', 'revoked')),
    suspended_why TEXT,
    -- The ledger's entry about the enrolment.
    enrolment_entry BIGINT NOT NULL CHECK (enrolment_entry >= 0),
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    -- A key that is backed up must be one that can be (WebAuthn Level 3, section 6.1.3).
    CHECK (backup_state <= backup_eligible),
    CHECK (status <> 'suspended' OR suspended_why IS NOT NULL)
);

CREATE INDEX credentials_by_person ON credentials (issuer, subject);

-- A person endorses a key once: the primary key says so.
CREATE TABLE endorsements (
    credential_id BYTEA NOT NULL REFERENCES credentials (id),
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- The ledger's entry about it: the order of the endorsements of one key.
    entry_index BIGINT NOT NULL CHECK (entry_index >= 0),
    statement TEXT NOT NULL,
    signed_with BYTEA NOT NULL,
    authenticator_data BYTEA NOT NULL,
    client_data_json BYTEA NOT NULL,
    signature BYTEA NOT NULL,
    user_handle BYTEA,
    id_token TEXT NOT NULL,
    issuer_key TEXT NOT NULL,
    endorsed_at BIGINT NOT NULL,
    PRIMARY KEY (credential_id, issuer, subject)
);

-- Links of the first key, by the hash of their tokens.
CREATE TABLE first_key_links (
    token TEXT NOT NULL PRIMARY KEY CHECK (length(token) = 64),
    expires_at BIGINT NOT NULL,
    session TEXT CHECK (length(session) = 64),
    credential_id BYTEA,
    -- A key is registered in the session that opened the link.
    CHECK (credential_id IS NULL OR session IS NOT NULL)
);

-- One-time links to a recovery of the log, by the hash of their tokens. Nothing here is believed: the
-- statement is compared with what is so, and the signatures are verified.
CREATE TABLE recovery_links (
    token TEXT NOT NULL PRIMARY KEY CHECK (length(token) = 64),
    statement TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    -- SHA-256 of the secret of the browser that opened it.
    browser TEXT UNIQUE CHECK (length(browser) = 64),
    signature TEXT,
    CHECK (signature IS NULL OR browser IS NOT NULL)
);

CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 64),
    profile TEXT NOT NULL,
    id_token TEXT NOT NULL,
    issuer_key TEXT NOT NULL,
    auth_time BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE logins (
    state TEXT NOT NULL PRIMARY KEY,
    nonce TEXT NOT NULL,
    pkce_verifier TEXT NOT NULL,
    browser TEXT NOT NULL CHECK (length(browser) = 64),
    return_to TEXT NOT NULL,
    ceremony TEXT,
    expires_at BIGINT NOT NULL
);

CREATE INDEX logins_by_expiry ON logins (expires_at);

CREATE TABLE ceremonies (
    id TEXT NOT NULL PRIMARY KEY,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    session TEXT NOT NULL CHECK (length(session) = 64),
    state TEXT NOT NULL,
    registration TEXT,
    verified TEXT,
    expires_at BIGINT NOT NULL,
    -- Nothing was verified before there was something to verify.
    CHECK (verified IS NULL OR registration IS NOT NULL)
);

CREATE INDEX ceremonies_by_expiry ON ceremonies (expires_at);

CREATE TABLE statements (
    nonce TEXT NOT NULL PRIMARY KEY,
    -- The approval that is decided, or the credential that is endorsed.
    about TEXT NOT NULL,
    session TEXT NOT NULL CHECK (length(session) = 64),
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    statement TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);

CREATE INDEX statements_by_expiry ON statements (expires_at);

-- A requester's token may create under one idempotency key only.
CREATE TABLE spent_tokens (
    token_id TEXT NOT NULL PRIMARY KEY,
    requester_key TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX spent_tokens_by_expiry ON spent_tokens (expires_at);

-- Written again and again, to learn whether anything can be written: a full disk shows itself at no earlier
-- moment, and what is written must differ, since SQLite leaves out a write of what is there already.
CREATE TABLE write_probe (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    written BIGINT NOT NULL
);

INSERT INTO write_probe (id, written) VALUES (1, 0);
