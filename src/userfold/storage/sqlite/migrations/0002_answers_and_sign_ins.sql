-- Answers to idempotency keys: found by key, erased with their user.
CREATE TABLE answers (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;
CREATE INDEX answers_of_user ON answers (project_id, user_id);

CREATE TABLE sign_ins (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;
CREATE INDEX sign_ins_of_user ON sign_ins (project_id, user_id);
