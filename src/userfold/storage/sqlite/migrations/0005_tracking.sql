-- When tracking sessions end, or are removed, unless something comes. Those that are there end at once.
ALTER TABLE sessions ADD COLUMN expires_at INTEGER;
UPDATE sessions SET
    expires_at = json_extract(document, '$.created_at'),
    document = json_set(document, '$.expires_at', json_extract(document, '$.created_at'))
WHERE json_extract(document, '$.status') = 'active';
CREATE INDEX sessions_by_expiry ON sessions (expires_at) WHERE expires_at IS NOT NULL;
