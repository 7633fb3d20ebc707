-- Every statement on the spool's tables, by name.

-- name: insert_trace
INSERT INTO trace (id, received, body, refused) VALUES (?, ?, ?, ?);

-- name: insert_message
INSERT INTO message (n, size, sha256, leading_dot, eight_bit, dropped, evidence, held, reason, failed, kept_until,
                     path, data, chunks_only)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?);

-- name: insert_transfer
INSERT INTO transfer (message, id, backend, wake, due, leased, epoch, attempts, delay_warned, last_reply, rcpts, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?);

-- name: recover_leases
UPDATE transfer SET leased = 0, wake = :now, due = min(due, :now) WHERE leased;

-- name: content_paths
SELECT path FROM message WHERE path IS NOT NULL;

-- name: backends
WITH RECURSIVE one (name) AS (
    SELECT min(backend) FROM transfer
    UNION ALL
    SELECT (SELECT min(backend) FROM transfer WHERE backend > one.name) FROM one WHERE one.name IS NOT NULL
)
SELECT name FROM one WHERE name IS NOT NULL;

-- name: due_transfers
SELECT wake, n FROM transfer WHERE backend = ? AND wake <= ? ORDER BY wake LIMIT ?;

-- name: first_wake
SELECT min(wake) FROM transfer WHERE backend = ?;

-- name: read_claim
SELECT transfer.epoch, transfer.due, transfer.attempts, transfer.delay_warned, transfer.rcpts, transfer.body,
       message.size, message.sha256, message.leading_dot, message.eight_bit, message.dropped,
       message.evidence, trace.body, message.path, message.data, message.chunks_only
FROM transfer JOIN message ON message.n = transfer.message JOIN trace ON trace.n = transfer.message
WHERE transfer.n = ?;

-- name: lease_transfer
UPDATE transfer SET leased = 1, epoch = epoch + 1, wake = ? WHERE n = ?;

-- name: find_claimed
SELECT transfer.n, transfer.message, message.failed, message.path, message.size,
       EXISTS (SELECT 1 FROM transfer AS other WHERE other.message = transfer.message AND other.n <> transfer.n)
FROM trace JOIN transfer ON transfer.message = trace.n JOIN message ON message.n = trace.n
WHERE trace.id = ? AND transfer.id = ? AND transfer.epoch = ? AND transfer.leased;

-- name: find_unclaimed
SELECT transfer.n, transfer.message, message.failed, message.path, message.size,
       EXISTS (SELECT 1 FROM transfer AS other WHERE other.message = transfer.message AND other.n <> transfer.n)
FROM trace JOIN transfer ON transfer.message = trace.n JOIN message ON message.n = trace.n
WHERE trace.id = ? AND transfer.id = ? AND transfer.epoch + 1 = ? AND NOT transfer.leased;

-- name: find_transfers
SELECT transfer.n, transfer.id, transfer.leased, transfer.wake IS NULL
FROM transfer JOIN trace ON trace.n = transfer.message WHERE trace.id = ? ORDER BY transfer.n;

-- name: requeue_transfer
UPDATE transfer SET id = :id, backend = :backend, wake = :wake, due = :due, attempts = :attempts, rcpts = :rcpts,
                    body = :body
WHERE n = :n;

-- name: split_transfer
INSERT INTO transfer (message, id, backend, wake, due, leased, epoch, attempts, delay_warned, last_reply, rcpts, body)
SELECT message, :id, :backend, :wake, :due, 0, 0, :attempts, delay_warned, last_reply, :rcpts, :body
FROM transfer WHERE n = :n;

-- name: unhold_free_message
UPDATE message SET held = 0, reason = ''
WHERE n = (SELECT n FROM trace WHERE id = ?)
      AND NOT EXISTS (SELECT 1 FROM transfer WHERE transfer.message = message.n AND transfer.wake IS NULL);

-- name: end_hold_of_free_message
DELETE FROM hold WHERE message = (SELECT n FROM trace WHERE id = ?)
                       AND NOT EXISTS (SELECT 1 FROM message WHERE message.n = hold.message AND message.held);

-- name: release_transfer
UPDATE transfer SET leased = 0, wake = :due, due = :due WHERE n = :n;

-- name: make_move
-- By how much all times were moved since the last look that the lock has (its time of change in nanoseconds). No step
-- of the schema: the version before opens the spool with it and does not know it.
CREATE TABLE IF NOT EXISTS move (
    n INTEGER PRIMARY KEY CHECK (n = 1), looked INTEGER NOT NULL, seconds REAL NOT NULL
);

-- name: read_move
SELECT seconds FROM move WHERE n = 1 AND looked = ?;

-- name: write_move
INSERT OR REPLACE INTO move (n, looked, seconds) VALUES (1, ?, ?);

-- name: move_transfers
UPDATE transfer SET wake = wake + :seconds, due = due + :seconds;

-- name: move_messages
UPDATE message SET kept_until = kept_until + :seconds WHERE kept_until IS NOT NULL;

-- name: move_holds
UPDATE hold SET expires = expires + :seconds;

-- name: move_unanswered
UPDATE unanswered SET received = received + :seconds;

-- name: move_greylist
UPDATE greylist SET first = first + :seconds, expires = expires + :seconds;

-- name: move_traces
UPDATE trace SET received = received + :seconds WHERE received > :since;

-- name: read_bodies
SELECT n, body FROM transfer WHERE n > ? ORDER BY n LIMIT ?;

-- name: write_body
UPDATE transfer SET body = ? WHERE n = ?;

-- name: name_transfer
SELECT coalesce((SELECT id FROM trace WHERE trace.n = transfer.message), substr(id, 1, instr(id, '-') - 1)), id
FROM transfer WHERE n = ?;

-- name: held_unreadable
SELECT message.n, transfer.n FROM message JOIN transfer ON transfer.message = message.n
WHERE message.held AND instr(message.reason, ?) = 1 AND transfer.wake IS NULL;

-- name: wake_transfer
UPDATE transfer SET wake = :due, due = :due WHERE n = :n;

-- name: lift_hold_of_free
UPDATE message SET held = 0, reason = ''
WHERE n = ? AND NOT EXISTS (SELECT 1 FROM transfer WHERE transfer.message = message.n AND transfer.wake IS NULL);

-- name: hold_transfer
UPDATE transfer SET leased = 0, wake = NULL WHERE n = ?;

-- name: hold_message
UPDATE message SET held = 1, reason = ? WHERE n = (SELECT message FROM transfer WHERE n = ?);

-- name: insert_attempt
INSERT INTO attempt (message, transfer_id, epoch, body) VALUES (?, ?, ?, ?);

-- name: defer_transfer
UPDATE transfer SET leased = 0, wake = :due, due = :due, attempts = attempts + 1, delay_warned = :delay_warned,
                    last_reply = :last_reply, rcpts = :rcpts
WHERE n = :n;

-- name: mark_failed
UPDATE message SET failed = 1 WHERE n = ?;

-- name: delete_transfer
DELETE FROM transfer WHERE n = ?;

-- name: keep_message
UPDATE message SET kept_until = ? WHERE n = ?;

-- name: delete_message
DELETE FROM message WHERE n = ?;

-- name: stale_messages
SELECT n, path FROM message WHERE kept_until <= ? ORDER BY kept_until LIMIT ?;

-- name: stale_traces
SELECT trace.n FROM trace WHERE trace.received <= ? AND NOT EXISTS (SELECT 1 FROM message WHERE message.n = trace.n)
ORDER BY trace.received LIMIT ?;

-- name: refused_octets
SELECT octets FROM refused_total;

-- name: try_to_write
UPDATE refused_total SET octets = octets;

-- name: oldest_refused
SELECT n, refused FROM trace WHERE refused > 0 ORDER BY n LIMIT ?;

-- name: delete_attempts
DELETE FROM attempt WHERE message = ?;

-- name: delete_acts
DELETE FROM act WHERE message = ?;

-- name: delete_trace
DELETE FROM trace WHERE n = ?;

-- name: find_message
SELECT n FROM trace WHERE id = ?;

-- name: read_trace
SELECT n, body FROM trace WHERE id = ?;

-- name: read_message_state
SELECT held FROM message WHERE n = ?;

-- name: read_content
SELECT message.path, message.data FROM message JOIN trace USING (n) WHERE trace.id = ?;

-- name: read_transfers
SELECT due, attempts, delay_warned, rcpts, body, id, wake IS NULL FROM transfer WHERE message = ? ORDER BY n;

-- name: read_attempts
SELECT body FROM attempt WHERE message = ?;

-- name: list_queue
SELECT transfer.due, transfer.attempts, transfer.delay_warned, transfer.rcpts, transfer.body,
       transfer.leased, transfer.wake IS NULL, transfer.last_reply, message.reason, coalesce(message.size, 0),
       coalesce(trace.id, substr(transfer.id, 1, instr(transfer.id, '-') - 1)), coalesce(trace.received, transfer.due),
       transfer.id, transfer.backend
FROM transfer LEFT JOIN message ON message.n = transfer.message LEFT JOIN trace ON trace.n = transfer.message
WHERE transfer.backend = ? ORDER BY transfer.wake LIMIT ?;

-- name: count_backends
SELECT backend, count(wake) FROM transfer GROUP BY backend HAVING count(wake) > 0;

-- name: summarize_backends
-- A transfer's row number grows with its age, so the first one is the oldest; the index holds all that is counted.
SELECT backend, count(wake), count(*) - count(wake), min(n) FILTER (WHERE wake IS NOT NULL) FROM transfer
GROUP BY backend;

-- name: transfer_received
SELECT trace.received FROM transfer JOIN trace ON trace.n = transfer.message WHERE transfer.n = ?;

-- name: held_of_domain
SELECT count(*), total(size) FROM hold WHERE domain = ?;

-- name: held_in_all
SELECT count(*), total(size) FROM hold;

-- name: is_held
SELECT 1 FROM hold WHERE message = ?;

-- name: insert_hold
INSERT INTO hold (message, domain, size, expires) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: find_held
SELECT message.n, message.path, EXISTS (SELECT 1 FROM transfer WHERE transfer.message = message.n AND leased)
FROM trace JOIN hold ON hold.message = trace.n JOIN message USING (n) WHERE trace.id = ?;

-- name: end_hold
DELETE FROM hold WHERE message = ?;

-- name: lift_hold
UPDATE message SET held = 0, reason = '' WHERE n = ?;

-- name: wake_transfers
UPDATE transfer SET wake = :due, due = :due WHERE message = :message AND wake IS NULL;

-- name: delete_transfers
DELETE FROM transfer WHERE message = ?;

-- name: insert_act
INSERT INTO act (message, at, what, body) VALUES (?, ?, ?, ?);

-- name: read_acts
SELECT body FROM act WHERE message = ? ORDER BY n;

-- name: list_held
SELECT trace.id, trace.received, trace.body, hold.expires, hold.domain, message.reason
FROM hold JOIN trace ON trace.n = hold.message JOIN message ON message.n = hold.message ORDER BY hold.message LIMIT ?;

-- name: list_given_up
SELECT trace.id, trace.received, trace.body, act.at, '', '' FROM act JOIN trace ON trace.n = act.message
WHERE act.what = 'expired' AND act.at > ? ORDER BY act.at LIMIT ?;

-- name: overdue_holds
SELECT trace.id FROM hold JOIN trace ON trace.n = hold.message WHERE hold.expires <= ? ORDER BY hold.expires LIMIT ?;

-- name: count_sender
UPDATE sender SET name = :name, ours = :ours, passed = passed + :passed, failed = failed + :failed, last = :last,
                  last_id = :last_id,
                  selectors = CASE WHEN instr(' ' || selectors || ' ', ' ' || :selector || ' ') > 0 THEN selectors
                                   ELSE trim(substr(:selector || ' ' || selectors, 1, 400)) END
WHERE domain = :domain AND source = :source AND signer = :signer;

-- name: count_sources
SELECT count(*) FROM sender WHERE zone = ?;

-- name: insert_sender
INSERT INTO sender (zone, domain, source, signer, name, ours, passed, failed, first, last, last_id, selectors)
VALUES (:zone, :domain, :source, :signer, :name, :ours, :passed, :failed, :last, :last, :last_id, :selector);

-- name: find_failing
SELECT domain, source, signer, failed FROM sender WHERE zone = ? AND passed = 0 AND source <> '' ORDER BY last LIMIT 1;

-- name: delete_sender
DELETE FROM sender WHERE domain = ? AND source = ? AND signer = ?;

-- name: recall_sender
SELECT coalesce(sum(passed), 0), coalesce(sum(passed) FILTER (WHERE source IN (?, '')), 0),
       coalesce(group_concat(selectors, ' '), '')
FROM sender WHERE domain = ?;

-- name: recall_network
SELECT coalesce(sum(passed), 0) FROM sender WHERE source = ?;

-- name: recall_name
SELECT coalesce(sum(passed), 0) FROM sender
WHERE domain = :name OR zone = :name OR (signer = :name AND signer <> '');

-- name: count_senders
SELECT count(*) FROM sender;

-- name: forget_senders
DELETE FROM sender WHERE (domain, source, signer) IN (
    SELECT domain, source, signer FROM sender WHERE NOT ours ORDER BY ours, passed > 0, last LIMIT ?
);

-- name: list_senders
SELECT domain, source, signer, name, passed, failed, first, last, last_id FROM sender
WHERE domain = :domain OR substr(domain, -length(:domain) - 1) = '.' || :domain
ORDER BY last DESC LIMIT :limit;

-- name: list_failing
SELECT domain, source, signer, name, passed, failed, first, last, last_id FROM sender
WHERE failed > 0 AND NOT ours ORDER BY last DESC LIMIT :limit;

-- name: remember_acquaintance
INSERT INTO greylist (key, first, passed, expires) VALUES (?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET
    passed = CASE WHEN expires <= excluded.first THEN excluded.passed ELSE max(passed, excluded.passed) END,
    first = excluded.first, expires = max(expires, excluded.expires);

-- name: recall_acquaintance
SELECT first, passed, expires FROM greylist WHERE key = ?;

-- name: count_acquaintances
SELECT count(*) FROM greylist;

-- name: forget_expired
DELETE FROM greylist WHERE key IN (SELECT key FROM greylist WHERE expires <= ? LIMIT ?);

-- name: forget_surplus
DELETE FROM greylist WHERE key IN (SELECT key FROM greylist ORDER BY passed, expires LIMIT ?);

-- name: count_traces
SELECT count(*) FROM trace WHERE received >= ?;

-- name: read_traces
SELECT received, n, body FROM trace WHERE (received, n) > (?, ?) ORDER BY received, n LIMIT ?;

-- name: inspect_trace
SELECT n, id, body FROM trace WHERE n > ? ORDER BY n LIMIT ?;

-- name: inspect_message
SELECT message.n, trace.id, message.size, message.sha256, message.path, message.data,
       NOT message.held AND message.kept_until IS NULL
       AND NOT EXISTS (SELECT 1 FROM transfer WHERE transfer.message = message.n)
FROM message LEFT JOIN trace USING (n) WHERE message.n > ? ORDER BY message.n LIMIT ?;

-- name: inspect_transfer
SELECT transfer.n, transfer.id, transfer.wake, transfer.rcpts, transfer.body, message.n IS NOT NULL, message.held
FROM transfer LEFT JOIN message ON message.n = transfer.message
WHERE transfer.n > ? ORDER BY transfer.n LIMIT ?;

-- name: has_message
SELECT 1 FROM message WHERE n = ?;

-- name: has_transfer
SELECT 1 FROM transfer WHERE n = ?;

-- name: insert_unanswered
INSERT INTO unanswered (message, fingerprint, received, unheard) VALUES (?, ?, ?, 0);

-- name: forget_answered
DELETE FROM unanswered WHERE message IN (SELECT n FROM trace WHERE id IN (SELECT value FROM json_each(?)));

-- name: mark_unheard
UPDATE unanswered SET unheard = 1 WHERE message IN (SELECT n FROM trace WHERE id IN (SELECT value FROM json_each(?)));

-- name: mark_all_unheard
UPDATE unanswered SET unheard = 1;

-- name: drop_unanswered
DELETE FROM unanswered WHERE message = ?;

-- name: find_unheard
SELECT trace.id FROM unanswered JOIN trace ON trace.n = unanswered.message
WHERE unanswered.unheard AND unanswered.fingerprint IN (?, ?) AND unanswered.received > ?;

-- name: is_unanswered
SELECT 1 FROM (SELECT fingerprint, unheard FROM unanswered ORDER BY message DESC LIMIT 4096)
WHERE NOT unheard AND fingerprint IN (?, ?);

-- name: any_unheard
SELECT EXISTS (SELECT 1 FROM unanswered WHERE unheard);

-- name: forget_unanswered
DELETE FROM unanswered WHERE received <= ?;

-- name: list_failed
SELECT trace.body, attempt.body
FROM message JOIN trace ON trace.n = message.n JOIN attempt ON attempt.message = message.n
WHERE message.failed ORDER BY message.n DESC LIMIT ?;
