"""`waypost queue failed`: who did not get what, and whether its sender was told."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from gateway.mail.refusal import classify
from gateway.model.delivery import Final
from gateway.model.failure import Failure
from gateway.tools.narrative import clean
from gateway.tools.results import Json, safe_json
from gateway.tools.text import show_time

_WORDS = {
    Final.FAILED: "told",
    Final.EXPIRED: "told",
    Final.WITHHELD: "DSN withheld",
    Final.DELETED: "deleted",
}


def failures_json(failures: Sequence[Failure]) -> Json:
    """One object for each recipient; times are epoch seconds."""
    return [
        safe_json(
            {
                "id": one.message_id,
                "at": one.at,
                "mail_from": one.mail_from,
                "rcpt": one.rcpt,
                "backend": one.backend,
                "state": one.state.value,
                "reply": str(one.reply),
                "cause": classify(one.reply).cause.value,
            }
        )
        for one in failures
    ]


def render_failures(failures: Sequence[Failure]) -> Table | Text:
    """A line for each recipient, the newest message first."""
    if not failures:
        return Text("Nothing has failed, as far as it is kept.")
    table = Table(box=None)
    for heading in ("id", "when", "from", "to", "sender", "answer"):
        table.add_column(heading)
    for one in failures:
        cells = (one.message_id, show_time(one.at), one.mail_from or "<>", one.rcpt, _WORDS.get(one.state, one.state))
        table.add_row(*(Text(clean(cell)) for cell in (*cells, str(one.reply))))
    return table
