-- The spool's tables, as steps: a spool of an older version is brought up to date by the steps that it lacks.
-- Columns that queries need stand alone; everything else of a noun is in `body`, written by codec.py.
-- Times are epoch seconds.

-- version: 1

-- Every message that was judged, also those refused.
CREATE TABLE trace (
    n        INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    received REAL NOT NULL,
    body     BLOB NOT NULL
);
CREATE INDEX trace_received ON trace (received);

-- Content that is kept. A row goes when its content may go; n is the trace's.
CREATE TABLE message (
    n           INTEGER PRIMARY KEY,
    size        INTEGER NOT NULL,
    sha256      BLOB NOT NULL,
    leading_dot INTEGER NOT NULL,
    eight_bit   INTEGER NOT NULL,
    dropped     BLOB NOT NULL,
    evidence    BLOB,              -- NULL: the trace has the same
    held        INTEGER NOT NULL,  -- kept until an admin decides
    reason      TEXT NOT NULL,     -- why it is held
    failed      INTEGER NOT NULL,  -- some recipient ended other than delivered
    kept_until  REAL,              -- NULL while a transfer remains or it is held
    path        TEXT,              -- file name below content/, NULL when the octets are in `data`
    data        BLOB               -- last: the columns above are read without it
);
CREATE INDEX message_kept_until ON message (kept_until) WHERE kept_until IS NOT NULL;
CREATE INDEX message_path ON message (path) WHERE path IS NOT NULL;

-- What is still to be sent. A row goes with its last recipient.
CREATE TABLE transfer (
    n            INTEGER PRIMARY KEY,
    message      INTEGER NOT NULL,
    id           TEXT NOT NULL,
    backend      TEXT NOT NULL,
    wake         REAL,              -- when it may be claimed: `due`, or the end of its lease; NULL when held
    due          REAL NOT NULL,
    leased       INTEGER NOT NULL,
    epoch        INTEGER NOT NULL,  -- grows with each claim and never goes back
    attempts     INTEGER NOT NULL,
    delay_warned INTEGER NOT NULL,
    last_reply   TEXT NOT NULL,
    rcpts        BLOB NOT NULL,
    body         BLOB NOT NULL
);
CREATE UNIQUE INDEX transfer_id ON transfer (message, id);
CREATE INDEX transfer_wake ON transfer (backend, wake);

-- Attempts, each with the final states that it brought.
CREATE TABLE attempt (
    message     INTEGER NOT NULL,
    transfer_id TEXT NOT NULL,
    epoch       INTEGER NOT NULL,
    body        BLOB NOT NULL,
    PRIMARY KEY (message, transfer_id, epoch)
) WITHOUT ROWID;

-- version: 2

-- The content goes out by BDAT, never by DATA.
ALTER TABLE message ADD COLUMN chunks_only INTEGER NOT NULL DEFAULT 0;

-- version: 3

-- Messages that a rule holds until an admin decides.
CREATE TABLE hold (
    message INTEGER PRIMARY KEY,
    domain  TEXT NOT NULL,     -- whose quota it counts against
    size    INTEGER NOT NULL,
    expires REAL NOT NULL
);
CREATE INDEX hold_domain ON hold (domain, size);
CREATE INDEX hold_expires ON hold (expires);

-- What was done with a message by hand, or because its time was over.
CREATE TABLE act (
    n       INTEGER PRIMARY KEY,
    message INTEGER NOT NULL,
    at      REAL NOT NULL,
    what    TEXT NOT NULL,
    body    BLOB NOT NULL
);
CREATE INDEX act_message ON act (message);
CREATE INDEX act_what ON act (what, at);

-- Who sends as whom: how often it passed, and how often not.
CREATE TABLE sender (
    zone    TEXT NOT NULL,     -- the domain of ours, or the organization, that the Author Domain belongs to
    domain  TEXT NOT NULL,     -- the Author Domain
    source  TEXT NOT NULL,     -- the client's network; empty for all that there was no room to tell apart
    signer  TEXT NOT NULL,     -- a passing signature's domain outside the author's organization, or empty
    name    TEXT NOT NULL,     -- the client's name on the last message
    ours    INTEGER NOT NULL,  -- never forgotten
    passed  INTEGER NOT NULL,
    failed  INTEGER NOT NULL,
    first   REAL NOT NULL,
    last    REAL NOT NULL,
    last_id TEXT NOT NULL,
    PRIMARY KEY (domain, source, signer)
) WITHOUT ROWID;
CREATE INDEX sender_zone ON sender (zone);
CREATE INDEX sender_last ON sender (ours, passed > 0, last);

-- version: 4

-- Who has tried before, for the greylist.
CREATE TABLE greylist (
    key     TEXT PRIMARY KEY,  -- an authenticated domain, else a client network and sender
    first   REAL NOT NULL,
    passed  INTEGER NOT NULL,  -- a message was let in
    expires REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX greylist_expires ON greylist (expires);
CREATE INDEX greylist_passed ON greylist (passed, expires);

-- version: 5

-- Refused mail, of which nothing is kept but its trace: `refused` is what that takes, in octets, 0 for all other mail.
ALTER TABLE trace ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;
CREATE INDEX trace_refused ON trace (n) WHERE refused > 0;
CREATE TABLE refused_total (octets INTEGER NOT NULL);
INSERT INTO refused_total VALUES (0);
CREATE TRIGGER refused_in AFTER INSERT ON trace WHEN new.refused > 0 BEGIN
    UPDATE refused_total SET octets = octets + new.refused;
END;
CREATE TRIGGER refused_out AFTER DELETE ON trace WHEN old.refused > 0 BEGIN
    UPDATE refused_total SET octets = octets - old.refused;
END;

-- version: 6

-- Stored messages whose client was not told yet. The row goes with the answer; after a crash, or when the client was
-- gone, it stays for a day, because the same message will come again.
CREATE TABLE unanswered (
    message     INTEGER PRIMARY KEY,  -- the trace's n
    fingerprint BLOB NOT NULL,        -- of content and envelope
    received    REAL NOT NULL,
    unheard     INTEGER NOT NULL      -- the answer did not arrive
);
CREATE INDEX unanswered_unheard ON unanswered (fingerprint) WHERE unheard;

-- version: 7

-- By what a client is known that writes as a domain which never came from it: its network, and who signs for it.
CREATE INDEX sender_source ON sender (source);
CREATE INDEX sender_signer ON sender (signer) WHERE signer <> '';

-- version: 8

-- The names of the keys with which the author's organization signed what passed, the latest first, with a space between.
ALTER TABLE sender ADD COLUMN selectors TEXT NOT NULL DEFAULT '';
