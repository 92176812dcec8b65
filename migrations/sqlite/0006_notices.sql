-- The outbox: what receivers are still to be told, one row for each entry of the ledger and receiver. A row
-- is written in the transaction of its entry and deleted when the receiver took it.
CREATE TABLE notices (
    entry_index INTEGER NOT NULL REFERENCES ledger_entries (entry_index),
    receiver TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    owner TEXT,
    lease_until INTEGER,
    epoch INTEGER NOT NULL CHECK (epoch >= 0),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    last_error TEXT,
    -- When it was tried for the last time, in vain.
    given_up_at INTEGER,
    PRIMARY KEY (entry_index, receiver),
    CHECK ((owner IS NULL) = (lease_until IS NULL)),
    CHECK (given_up_at IS NULL OR owner IS NULL)
) STRICT;

CREATE INDEX notices_by_due ON notices (due_at);

-- What there is to know of an approval for its notices.
CREATE TABLE approval_notices (
    approval_id TEXT NOT NULL PRIMARY KEY REFERENCES approvals (id),
    -- The webhook that the requester named.
    receiver TEXT,
    -- Whether somebody was told that the request expires soon.
    expiring INTEGER NOT NULL CHECK (expiring IN (0, 1))
) STRICT;
