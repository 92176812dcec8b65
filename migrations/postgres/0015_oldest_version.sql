-- The oldest version of the gate that can still use this database, by the number of its last
-- migration. Migrations only add, so that the version before goes on beside the new one. One that takes away
-- what a version still in use reads raises this number, and older versions refuse to begin.
CREATE TABLE oldest_version (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    migration BIGINT NOT NULL CHECK (migration >= 0)
);

INSERT INTO oldest_version (id, migration) VALUES (1, 0);
