-- What GitHub is shown of approvals, and what GitHub said that is still to be looked at.
-- Times are microseconds since 1970-01-01 UTC.

-- One row for each approval that a pinned repository asked for. It is written and brought up to date in the
-- transaction of the ledger's entry: GitHub is to be shown the version `wanted`, and was shown `shown`.
CREATE TABLE github_reports (
    approval_id TEXT NOT NULL PRIMARY KEY REFERENCES approvals (id),
    repository_id INTEGER NOT NULL CHECK (repository_id >= 1),
    commit_sha TEXT NOT NULL,
    -- The run of Actions that asked, where the token names one.
    run_id INTEGER CHECK (run_id >= 1),
    -- The pull request that the commit came with; 0 if there is none, none before it was looked for.
    pull INTEGER CHECK (pull >= 0),
    wanted INTEGER NOT NULL CHECK (wanted >= 1),
    shown INTEGER NOT NULL CHECK (shown BETWEEN 0 AND wanted),
    -- What there is at GitHub, as the gate remembers it.
    made TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    last_error TEXT
) STRICT;

CREATE INDEX github_reports_by_due ON github_reports (due_at) WHERE shown < wanted;
CREATE INDEX github_reports_by_pull ON github_reports (repository_id, pull);
CREATE INDEX github_reports_by_run ON github_reports (repository_id, run_id);

-- The one comment of a pull request.
CREATE TABLE github_comments (
    repository_id INTEGER NOT NULL CHECK (repository_id >= 1),
    pull INTEGER NOT NULL CHECK (pull >= 1),
    -- None while it is not known whether there is one.
    comment_id INTEGER CHECK (comment_id >= 1),
    text_digest TEXT NOT NULL,
    PRIMARY KEY (repository_id, pull)
) STRICT;

-- Who speaks to GitHub: one at a time, as GitHub asks of an App, and nobody before `paused_until`.
CREATE TABLE github_speaker (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    owner TEXT,
    lease_until INTEGER,
    epoch INTEGER NOT NULL CHECK (epoch >= 0),
    paused_until INTEGER,
    CHECK ((owner IS NULL) = (lease_until IS NULL))
) STRICT;

INSERT INTO github_speaker (id, epoch) VALUES (1, 0);

-- Runs of GitHub Actions that wait at an environment for the gate's answer, as webhooks said.
CREATE TABLE github_rules (
    delivery TEXT NOT NULL PRIMARY KEY,
    -- The name of a delivery is not signed: a body counts once under whatever name it comes.
    body_digest TEXT NOT NULL UNIQUE CHECK (length(body_digest) = 64),
    repository_id INTEGER NOT NULL CHECK (repository_id >= 1),
    run_id INTEGER NOT NULL CHECK (run_id >= 1),
    environment TEXT NOT NULL,
    -- The attempt of the run, once GitHub was asked.
    attempt INTEGER CHECK (attempt >= 1),
    -- The answer that was announced in the ledger, and the one that was given; `gone`: it waits no more.
    announced TEXT CHECK (announced IN ('approved', 'rejected')),
    answer TEXT CHECK (answer IN ('approved', 'rejected', 'gone')),
    received_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    last_error TEXT
) STRICT;

CREATE INDEX github_rules_by_due ON github_rules (due_at) WHERE answer IS NULL;
