-- Orders by name. The values are filled in by the program afterwards (search.py): folding text is not SQL's.
ALTER TABLE users ADD COLUMN email TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN phone TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN username TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN first_name TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN last_name TEXT NOT NULL DEFAULT '';
CREATE INDEX users_by_email ON users (project_id, email, id);
CREATE INDEX users_by_phone ON users (project_id, phone, id);
CREATE INDEX users_by_username ON users (project_id, username, id);
CREATE INDEX users_by_first_name ON users (project_id, first_name, id);
CREATE INDEX users_by_last_name ON users (project_id, last_name, id);
