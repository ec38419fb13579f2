-- When and where users were last active. The two columns are what users are found by; 0 is never.
CREATE TABLE presences (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;
ALTER TABLE users ADD COLUMN last_active_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN last_sign_in_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX users_by_last_active_at ON users (project_id, last_active_at, id);
CREATE INDEX users_by_last_sign_in_at ON users (project_id, last_sign_in_at, id);
