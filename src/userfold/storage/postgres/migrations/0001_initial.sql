-- What an update writes, and no more: who changes often must not have many indexes.
CREATE TABLE users (
    project_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    updated_at bigint NOT NULL,
    document text NOT NULL,
    PRIMARY KEY (project_id, id)
);
CREATE INDEX users_by_updated_at ON users (project_id, updated_at, id);

-- What users are ordered, filtered and searched by, written only when one of these changes. `text` has the values that
-- a search looks into, each on a line of its own; `terms` is what user_terms has, where one user is looked at.
CREATE TABLE user_index (
    project_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    email text COLLATE "C" NOT NULL,
    phone text COLLATE "C" NOT NULL,
    username text COLLATE "C" NOT NULL,
    first_name text COLLATE "C" NOT NULL,
    last_name text COLLATE "C" NOT NULL,
    text text COLLATE "C" NOT NULL,
    terms text[] COLLATE "C" NOT NULL,
    PRIMARY KEY (project_id, id)
);
CREATE INDEX user_index_by_created_at ON user_index (project_id, created_at, id);
CREATE INDEX user_index_by_email ON user_index (project_id, email, id);
CREATE INDEX user_index_by_phone ON user_index (project_id, phone, id);
CREATE INDEX user_index_by_username ON user_index (project_id, username, id);
CREATE INDEX user_index_by_first_name ON user_index (project_id, first_name, id);
CREATE INDEX user_index_by_last_name ON user_index (project_id, last_name, id);

-- The times of a user's presence, 0 where there is none: apart, because they change with every visit.
CREATE TABLE user_times (
    project_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    last_active_at bigint NOT NULL,
    last_sign_in_at bigint NOT NULL,
    PRIMARY KEY (project_id, id)
);
CREATE INDEX user_times_by_last_active_at ON user_times (project_id, last_active_at, id);
CREATE INDEX user_times_by_last_sign_in_at ON user_times (project_id, last_sign_in_at, id);

-- What users are found by, as `kind|value`: for whole values, and for the beginning of one.
CREATE TABLE user_terms (
    project_id text COLLATE "C" NOT NULL,
    term text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (project_id, term, user_id)
);

CREATE TABLE identifiers (
    project_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    set_by text NOT NULL,
    PRIMARY KEY (project_id, id)
);

CREATE TABLE changes (
    project_id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    document text NOT NULL,
    PRIMARY KEY (project_id, user_id, version)
);
-- Whether an import brings the id of a change that is there already.
CREATE INDEX changes_by_id ON changes (project_id, id);

CREATE TABLE tombstones (
    project_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    document text NOT NULL,
    PRIMARY KEY (project_id, id)
);

-- user_id is '' until the session belongs to somebody. expires_at is NULL where it ended, and stays as long as its user.
CREATE TABLE sessions (
    project_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    expires_at bigint,
    document text NOT NULL,
    PRIMARY KEY (project_id, id)
);
CREATE INDEX sessions_of_user ON sessions (project_id, user_id, id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE projects (
    project_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    document text NOT NULL,
    PRIMARY KEY (project_id, id)
);

CREATE TABLE api_keys (
    project_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    document text NOT NULL,
    PRIMARY KEY (project_id, id)
);

-- Answers to idempotency keys: found by key, erased with their user or when their time is over.
CREATE TABLE answers (
    project_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    expires_at bigint NOT NULL,
    document text NOT NULL,
    PRIMARY KEY (project_id, id)
);
CREATE INDEX answers_of_user ON answers (project_id, user_id, id);
CREATE INDEX answers_by_expiry ON answers (expires_at);

CREATE TABLE sign_ins (
    project_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    expires_at bigint NOT NULL,
    document text NOT NULL,
    PRIMARY KEY (project_id, id)
);
CREATE INDEX sign_ins_of_user ON sign_ins (project_id, user_id, id);
CREATE INDEX sign_ins_by_expiry ON sign_ins (expires_at);

CREATE TABLE events (
    project_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    document text NOT NULL,
    PRIMARY KEY (project_id, id)
);
CREATE INDEX events_of_user ON events (project_id, user_id, id);

CREATE TABLE secrets (
    project_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    document text NOT NULL,
    PRIMARY KEY (project_id, id)
);

CREATE TABLE presences (
    project_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    document text NOT NULL,
    PRIMARY KEY (project_id, id)
);

CREATE TABLE mirrors (
    project_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    document text NOT NULL,
    PRIMARY KEY (project_id, id)
);

CREATE TABLE segments (
    project_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    document text NOT NULL,
    PRIMARY KEY (project_id, id)
);

CREATE TABLE attributes (
    project_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    document text NOT NULL,
    PRIMARY KEY (project_id, id)
);

-- Deleted users of whom something is still to be removed.
CREATE TABLE erasures (
    project_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    document text NOT NULL,
    PRIMARY KEY (project_id, id)
);

-- Of no project, and a row for each process that writes: which batch it committed last. Whoever loses its connection
-- during a COMMIT finds out here what became of it.
CREATE TABLE writers (
    id text COLLATE "C" PRIMARY KEY,
    batch_id text NOT NULL,
    at bigint NOT NULL
);

-- Of no project too: who does what only one process is to do, and until when (ms) nobody else may begin.
CREATE TABLE leases (
    id text COLLATE "C" PRIMARY KEY,
    holder text COLLATE "C" NOT NULL,
    held_until bigint NOT NULL
);
