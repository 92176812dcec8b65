-- The sign-in that the signature over a freeze, or over its end, rests on. The rest stands in its entry.
CREATE TABLE freeze_sign_ins (
    entry_index INTEGER NOT NULL PRIMARY KEY,
    id_token TEXT NOT NULL,
    issuer_key TEXT NOT NULL
) STRICT;
