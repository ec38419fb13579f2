"""Records in one SQLite file: one writing process, group commit, durable when answered."""
