-- Every statement on the search index, by name. {part} is the name of one day's table of terms.

-- name: make_tables
CREATE TABLE entry (
    at   INTEGER PRIMARY KEY,   -- microseconds of reception, made unique
    id   TEXT NOT NULL UNIQUE,
    open INTEGER NOT NULL       -- 1: some recipient waits; 2: some recipient is held
);
CREATE INDEX entry_open ON entry (at, open) WHERE open > 0;
CREATE TABLE part (day INTEGER PRIMARY KEY);
CREATE TABLE shard (name TEXT PRIMARY KEY, trace INTEGER NOT NULL, act INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- name: make_part
-- Contentless: it has the terms and no text. Without deletion, because a part goes as a whole.
CREATE VIRTUAL TABLE {part} USING fts5(
    terms, content='', columnsize=0, detail=none,
    tokenize="ascii tokenchars '!#$&()*+,-./:;<=>?@[\]^_`{{|}}~%'"
);

-- name: note_part
INSERT INTO part (day) VALUES (?);

-- name: parts
SELECT day FROM part ORDER BY day DESC;

-- name: drop_part
DROP TABLE {part};

-- name: forget_part
DELETE FROM part WHERE day = ?;

-- name: has_entries
SELECT 1 FROM entry WHERE at >= ? AND at < ? LIMIT 1;

-- name: read_position
SELECT trace, act FROM shard WHERE name = ?;

-- name: write_position
INSERT OR REPLACE INTO shard (name, trace, act) VALUES (?, ?, ?);

-- name: read_setting
SELECT value FROM setting WHERE name = ?;

-- name: write_setting
INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?);

-- name: insert_entry
INSERT OR IGNORE INTO entry (at, id, open) VALUES (?, ?, ?);

-- name: find_entry
SELECT at, open FROM entry WHERE id = ?;

-- name: has_entry_at
SELECT 1 FROM entry WHERE at = ?;

-- name: set_open
UPDATE entry SET open = ? WHERE at = ?;

-- name: delete_entry
DELETE FROM entry WHERE id = ?;

-- name: insert_terms
INSERT INTO {part} (rowid, terms) VALUES (?, ?);

-- name: open_ids
SELECT id FROM entry WHERE open > 0;

-- name: ids_after
SELECT id FROM entry WHERE id > ? ORDER BY id LIMIT ?;

-- name: count_entries
SELECT count(*) FROM entry;

-- name: newest
SELECT at, id FROM entry WHERE at >= :since AND at < :before ORDER BY at DESC;

-- name: newest_open
SELECT at, id FROM entry WHERE open > 0 AND open & :open AND at >= :since AND at < :before ORDER BY at DESC;

-- name: find_terms
SELECT entry.at, entry.id FROM {part} JOIN entry ON entry.at = {part}.rowid
WHERE {part} MATCH :terms AND {part}.rowid >= :since AND {part}.rowid < :before ORDER BY {part}.rowid DESC;

-- name: count_terms
SELECT count(*) FROM (SELECT 1 FROM {part} WHERE {part} MATCH :terms LIMIT :limit);

-- name: count_open
SELECT count(*) FROM entry WHERE open > 0 AND open & ?;

-- Statements on a shard's tables, for the one who derives the index from them.

-- name: heads
SELECT coalesce((SELECT max(n) FROM trace), 0), coalesce((SELECT max(n) FROM act), 0),
       coalesce((SELECT min(received) FROM trace), 0);

-- name: traces_after
SELECT n FROM trace WHERE n > ? AND n <= ? ORDER BY n LIMIT ?;

-- name: traces_between
SELECT n FROM trace WHERE n > :after AND n <= :head AND received >= :since AND received <= :until;

-- name: acted_after
SELECT n, message FROM act WHERE n > ? AND n <= ? ORDER BY n;

-- name: transfers
SELECT n, wake FROM transfer;

-- name: messages_of
SELECT DISTINCT message FROM transfer WHERE n IN (SELECT value FROM json_each(?));

-- name: numbers_of
SELECT trace.n FROM json_each(?) AS asked JOIN trace ON trace.id = asked.value;

-- name: trace_ids
SELECT id FROM trace WHERE id > ? AND id <= ? ORDER BY id LIMIT ?;

-- name: stories_traces
SELECT trace.n, trace.body, message.n IS NOT NULL, coalesce(message.held, 0) FROM json_each(?) AS asked
JOIN trace ON trace.n = asked.value LEFT JOIN message ON message.n = trace.n;

-- name: stories_attempts
SELECT attempt.message, attempt.body FROM json_each(?) AS asked JOIN attempt ON attempt.message = asked.value;

-- name: stories_transfers
SELECT transfer.message, transfer.n, transfer.wake, transfer.due, transfer.attempts, transfer.delay_warned,
       transfer.rcpts, transfer.body, transfer.id
FROM json_each(?) AS asked JOIN transfer ON transfer.message = asked.value;

-- name: stories_acts
SELECT act.message, act.body FROM json_each(?) AS asked JOIN act ON act.message = asked.value ORDER BY act.n;
