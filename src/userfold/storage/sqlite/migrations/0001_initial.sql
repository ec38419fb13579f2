-- The first schema.
-- A rowid table: documents are around a kilobyte, and in a WITHOUT ROWID tree they would fill the inner pages.
-- last_change_id is the head of the user's chain of changes.
CREATE TABLE users (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    last_change_id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
);

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

CREATE TABLE sessions (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;

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
