-- The schema as it is today. `migrations/` holds the way here; a test says that both end in the same place.
-- Rules: project_id leads every key, ids come from the application, documents are JSON text, no triggers.

-- Its own `row` is the key: documents are around a kilobyte, and in a WITHOUT ROWID tree they would fill the inner
-- pages. A named one, because the search index refers to it and VACUUM may renumber a rowid that has no name.
-- last_change_id is the head of the user's chain of changes. The columns from email on are what lists are ordered by: names,
-- and the times of the user's presence, 0 if there is none.
CREATE TABLE users (
    row INTEGER PRIMARY KEY,
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    last_change_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    document TEXT NOT NULL,
    email TEXT NOT NULL DEFAULT '',
    phone TEXT NOT NULL DEFAULT '',
    username TEXT NOT NULL DEFAULT '',
    first_name TEXT NOT NULL DEFAULT '',
    last_name TEXT NOT NULL DEFAULT '',
    last_active_at INTEGER NOT NULL DEFAULT 0,
    last_sign_in_at INTEGER NOT NULL DEFAULT 0,
    UNIQUE (project_id, id)
);
CREATE INDEX users_by_created_at ON users (project_id, created_at, id);
CREATE INDEX users_by_updated_at ON users (project_id, updated_at, id);
CREATE INDEX users_by_email ON users (project_id, email, id);
CREATE INDEX users_by_phone ON users (project_id, phone, id);
CREATE INDEX users_by_username ON users (project_id, username, id);
CREATE INDEX users_by_first_name ON users (project_id, first_name, id);
CREATE INDEX users_by_last_name ON users (project_id, last_name, id);
CREATE INDEX users_by_last_active_at ON users (project_id, last_active_at, id);
CREATE INDEX users_by_last_sign_in_at ON users (project_id, last_sign_in_at, id);

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

CREATE TABLE identifiers (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    set_by TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;

-- Keyed by the time-sorted id, so that writing only appends; each row names the one before it.
CREATE TABLE changes (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    previous_id TEXT,
    version INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;

-- Every 128th change of a user, so that a page in the middle of a long history is found without walking all of it.
CREATE TABLE change_marks (
    project_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    change_id TEXT NOT NULL,
    PRIMARY KEY (project_id, user_id, version)
) WITHOUT ROWID;

CREATE TABLE tombstones (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;

CREATE TABLE mirrors (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;

-- user_id is '' until the session belongs to somebody. expires_at is NULL where it ended, and stays as long as its user.
CREATE TABLE sessions (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    document TEXT NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;
CREATE INDEX sessions_of_user ON sessions (project_id, user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE projects (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;

CREATE TABLE api_keys (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;

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

CREATE TABLE presences (
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
