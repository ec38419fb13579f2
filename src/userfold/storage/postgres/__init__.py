"""Records in PostgreSQL: several processes over one database, each a writer that commits in groups."""
