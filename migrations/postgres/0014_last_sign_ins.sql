-- The last sign-in of each person, where the rules let it count while the directory cannot be reached. It is the
-- directory's signature and gives nobody a right: whose it is and how old, is read from what is signed.
CREATE TABLE last_sign_ins (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    sign_in TEXT NOT NULL,
    issuer_key TEXT NOT NULL,
    kept_until BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
