"""The kinds of alarms as data. docs/alarms.md shows the same table."""

from __future__ import annotations

from gateway.model.value import Value


class AlarmKind(Value):
    """One kind of alarm."""

    name: str
    """The name of its event."""
    means: str
    """Its meaning in Markdown, like the steps."""
    steps: str
    cleared_by: tuple[str, ...] = ()
    """The events that end it, about the same backend, file or listener. Without such events it is over when it has not
    been raised for `repeat_after` seconds."""


KINDS = (
    AlarmKind(
        "route-stopped",
        "three attempts in a row were refused because of us: address, reverse DNS, certificate, connector, "
        "login ([delivery.md](delivery.md))",
        "what `fix` says; nothing bounces meanwhile",
        ("route-restored",),
    ),
    AlarmKind(
        "route-restored",
        "that is over",
        "nothing",
    ),
    AlarmKind(
        "deferred",
        "mail waits, or was given up at its end, because of a fault of ours, or because TLS that is "
        "required does not come about",
        "what `fix` and `reply` say",
    ),
    AlarmKind(
        "failed",
        "mail waits, or was given up at its end, because of a fault of ours, or because TLS that is "
        "required does not come about",
        "what `fix` and `reply` say",
    ),
    AlarmKind(
        "role-mail-kept",
        "a backend took mail to postmaster@ or abuse@ for spam; it is held",
        "`waypost hold show ID`",
    ),
    AlarmKind(
        "hold-full",
        "as much is held as may be; such mail is told to come back, or refused as the backend did",
        "`waypost hold list`, decide; or more room in `[hold]`",
    ),
    AlarmKind(
        "content-altered",
        "content on disk is not what was received; it is held, not sent",
        "look at the disk; `waypost spool check`",
    ),
    AlarmKind(
        "storage-refused",
        "there is no room for new mail, which gets 452; `free`, `free_inside` and `reserve` are octets "
        "([queue.md](queue.md))",
        "free space on the spool's disk, or mend it; it comes back by itself",
        ("storage-restored",),
    ),
    AlarmKind(
        "storage-restored",
        "that is over",
        "nothing",
    ),
    AlarmKind(
        "clock-jumped",
        "the wall clock was set by `seconds`; the times of what waits moved along ([queue.md](queue.md))",
        "see to the machine's clock (NTP)",
    ),
    AlarmKind(
        "row-unreadable",
        "what is stored of a transfer cannot be read; it is held",
        "`waypost spool check`; a newer version that wrote it sends it by itself",
    ),
    AlarmKind(
        "error",
        "a fault of the gateway; the client got 451 and the same id",
        "report it",
    ),
    AlarmKind(
        "unplanned",
        "a DSN could not be made, or what became of an attempt not written whole; whoever has the message "
        "does not get it again, a failed recipient is held",
        "`waypost explain ID`, report it; end it by `waypost queue bounce ID`",
    ),
    AlarmKind(
        "rule-failed",
        "a rule could not be asked about a message: 451",
        "mend the rule; `waypost policy test`",
    ),
    AlarmKind(
        "reload-refused",
        "nothing was taken over, all stays as it was",
        "`waypost check`",
        ("reloaded",),
    ),
    AlarmKind(
        "users-refused",
        "a file that changed cannot be used; what was read before counts",
        "mend the file",
        ("users-read",),
    ),
    AlarmKind(
        "keyring-unreadable",
        "the keyring, or a key that signs, cannot be read; what was read before signs until the next start",
        "mend the file or its rights; `waypost key list`",
        ("keyring-read",),
    ),
    AlarmKind(
        "certificates-refused",
        "a file that changed cannot be used; what was read before counts",
        "mend the file",
        ("certificates-reloaded",),
    ),
    AlarmKind(
        "map-unreadable",
        "an address map cannot be read or fetched; its last good copy counts",
        "mend the map or its source",
        ("map-read",),
    ),
    AlarmKind(
        "map-unavailable",
        "an address map cannot be read or fetched; its last good copy counts",
        "mend the map or its source",
        ("map-fetched",),
    ),
    AlarmKind(
        "map-stale",
        "that has lasted for `stale_after`: who is not listed gets 451",
        "the same, soon",
        ("map-read",),
    ),
    AlarmKind(
        "logins-unavailable",
        "the directory of logins does not answer; its people get 454",
        "look at the directory",
    ),
    AlarmKind(
        "login-locked",
        "somebody guesses at a login",
        "a better password for it, if it is not a good one",
    ),
    AlarmKind(
        "sender-suspended",
        "a sender, tenant or domain sent more than it may",
        "find out who sends; `waypost outbound resume NAME`",
    ),
    AlarmKind(
        "suspension-failed",
        "the same, but the suspension could not be written: it sends on",
        "mend the disk, then `waypost outbound suspend NAME`",
    ),
    AlarmKind(
        "dns-outage",
        "the resolver gives no answers; mail is deferred",
        "look at the resolver",
        ("dns-restored",),
    ),
    AlarmKind(
        "dnsbl-ignored",
        "a block list failed its test at the start and is not asked",
        "mend or remove the `[[dnsbl]]`",
    ),
    AlarmKind(
        "worker-died",
        "a worker process ended; `status` is its exit status, or minus the signal",
        "another takes its place by itself; report it, with the log",
        ("worker-restored",),
    ),
    AlarmKind(
        "control-died",
        "the control plane ended or hung ([control-plane.md](control-plane.md)); mail goes on, search is slower "
        "meanwhile; `status` is its exit status, or minus the signal",
        "it is started again by itself; report it, with the log",
        ("control-restored",),
    ),
    AlarmKind(
        "few-descriptors",
        "fewer files may be open than the configured limits can need",
        "raise the limit on open files (`LimitNOFILE`, ulimits), or lower `[limits] connections`",
    ),
    AlarmKind(
        "no-connection-taken",
        "the system had no descriptor or memory for a connection",
        "the same",
    ),
    AlarmKind(
        "route-silent",
        "mail waits for a backend that has taken none for `silent_after`; `waiting` transfers, the `oldest` in seconds",
        "see why: `waypost status`, `waypost queue list --backend NAME`",
        ("route-takes",),
    ),
    AlarmKind(
        "queue-old",
        "the oldest mail that waits for a backend is older than `queue_age`",
        "`waypost queue list --backend NAME` shows the last reply of each",
        ("queue-young",),
    ),
    AlarmKind(
        "storage-low",
        "little room is left on the spool's disk; at the reserve new mail is refused",
        "free space on the spool's disk",
        ("storage-ample",),
    ),
    AlarmKind(
        "certificate-ending",
        "a certificate ends within 14 days; `where` names the listener or backend",
        "renew it; it is read again by itself",
        ("certificate-good",),
    ),
    AlarmKind(
        "certificate-urgent",
        "a certificate ends within 3 days, or has ended",
        "renew it now; it is read again by itself",
        ("certificate-good",),
    ),
    AlarmKind(
        "certificate-foreign",
        "none of a listener's certificates has the gateway's host name, which clients compare",
        "get one for the host name, or correct `[server] hostname`",
        ("certificate-good",),
    ),
    AlarmKind(
        "certificate-unreadable",
        "a certificate's file cannot be read; the one that was read before is used until the next start",
        "mend the file",
        ("certificate-good",),
    ),
    AlarmKind(
        "draining-long",
        "no new mail is taken for ten minutes, because somebody drains the spool",
        "`waypost queue list` shows what is left; a restart ends the draining",
    ),
    AlarmKind(
        "log-lines-lost",
        "log lines were dropped, because whoever reads the log is too slow or gone; `lines` since the start",
        "look at the reader of standard output and its disk",
    ),
)
"""All kinds, in the order of the page."""

_KINDS = {kind.name: kind for kind in KINDS}
ENDED_BY: dict[str, list[str]] = {}
"""The kinds that an event ends."""
for _kind in KINDS:
    for _event in _kind.cleared_by:
        ENDED_BY.setdefault(_event, []).append(_kind.name)
CLEARING = frozenset(ENDED_BY)
"""The events that end alarms."""


def kind_named(name: str) -> AlarmKind:
    """The kind; one without an explanation for a name of another version."""
    return _KINDS.get(name) or AlarmKind(name, "", "")
