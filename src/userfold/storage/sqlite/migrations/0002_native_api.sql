-- Lists and search, answers to idempotency keys, sign-ins, events, segments, attributes, secrets.
-- What users are found by is filled in by the program afterwards (search.py): folding text is not SQL's.
ALTER TABLE users RENAME TO users_1;
CREATE TABLE users (
    row INTEGER PRIMARY KEY,
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    last_change_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    document TEXT NOT NULL,
    UNIQUE (project_id, id)
);
CREATE INDEX users_by_created_at ON users (project_id, created_at, id);
CREATE INDEX users_by_updated_at ON users (project_id, updated_at, id);
INSERT INTO users (project_id, id, version, last_change_id, created_at, updated_at, document)
SELECT project_id, id, version, last_change_id,
    json_extract(document, '$.created_at'), json_extract(document, '$.updated_at'), document
FROM users_1 ORDER BY project_id, id;
DROP TABLE users_1;

-- What users are found by, as `kind|value`: for whole values, and for the beginning of one.
CREATE TABLE user_terms (
    project_id TEXT NOT NULL,
    term TEXT NOT NULL,
    user_id TEXT NOT NULL,
    PRIMARY KEY (project_id, term, user_id)
) WITHOUT ROWID;

-- For any part of a value of at least three characters. The rowid is the user's `row`; no text is kept twice.
CREATE VIRTUAL TABLE user_search USING fts5 (text, content = '', tokenize = 'trigram');
-- What is deleted is overwritten, as `PRAGMA secure_delete` does for the other tables.
INSERT INTO user_search (user_search, rank) VALUES ('secure-delete', 1);

ALTER TABLE sessions RENAME TO sessions_1;
CREATE TABLE sessions (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;
CREATE INDEX sessions_of_user ON sessions (project_id, user_id);
INSERT INTO sessions (project_id, id, user_id, document)
SELECT project_id, id, coalesce(json_extract(document, '$.user_id'), ''), document FROM sessions_1;
DROP TABLE sessions_1;

-- Answers to idempotency keys: found by key, erased with their user or when their time is over.
CREATE TABLE answers (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;
CREATE INDEX answers_of_user ON answers (project_id, user_id);
CREATE INDEX answers_by_expiry ON answers (expires_at);

CREATE TABLE sign_ins (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;
CREATE INDEX sign_ins_of_user ON sign_ins (project_id, user_id);
CREATE INDEX sign_ins_by_expiry ON sign_ins (expires_at);

CREATE TABLE events (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;
CREATE INDEX events_of_user ON events (project_id, user_id);

CREATE TABLE secrets (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;

CREATE TABLE segments (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;

CREATE TABLE attributes (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;

-- Deleted users of whom something is still to be removed.
CREATE TABLE erasures (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;
