-- Who takes a yes back may decide again, so a person may have several decisions on one approval: the key
-- is the entry that tells of it. That a person counts once, the approval's own rules say.
CREATE TABLE decisions_by_entry (
    approval_id TEXT NOT NULL REFERENCES approvals (id),
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- The size of the ledger when it was written: the order of the decisions of one approval.
    position INTEGER NOT NULL CHECK (position >= 1),
    statement TEXT NOT NULL,
    credential_id BLOB NOT NULL,
    authenticator_data BLOB NOT NULL,
    client_data_json BLOB NOT NULL,
    signature BLOB NOT NULL,
    user_handle BLOB,
    id_token TEXT NOT NULL,
    issuer_key TEXT NOT NULL,
    decided_at INTEGER NOT NULL,
    PRIMARY KEY (approval_id, position)
) STRICT;

INSERT INTO decisions_by_entry (approval_id, issuer, subject, position, statement, credential_id,
    authenticator_data, client_data_json, signature, user_handle, id_token, issuer_key, decided_at)
SELECT approval_id, issuer, subject, position, statement, credential_id,
    authenticator_data, client_data_json, signature, user_handle, id_token, issuer_key, decided_at
FROM decisions;

DROP TABLE decisions;
ALTER TABLE decisions_by_entry RENAME TO decisions;
