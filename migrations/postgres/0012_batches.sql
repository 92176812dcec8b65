-- Which requests their requester calls one batch. Pages show them together; nothing that anybody signs rests
-- on these rows.
CREATE TABLE batch_members (
    approval_id TEXT NOT NULL PRIMARY KEY REFERENCES approvals (id),
    -- The digest of requester, run and label.
    batch TEXT NOT NULL CHECK (length(batch) = 64),
    label TEXT NOT NULL,
    -- How many members the requester announced.
    announced BIGINT CHECK (announced BETWEEN 2 AND 32)
);

CREATE INDEX batch_members_by_batch ON batch_members (batch);
