-- How new what another system said of its users was when it was taken over.
CREATE TABLE mirrors (
    project_id TEXT NOT NULL,
    id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;
