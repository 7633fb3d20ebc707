"""The section about alarms: who is told of what must be looked at."""

from __future__ import annotations

from gateway.config.section import Section
from gateway.config.values import Mailboxes, Seconds, WebAddress


class AlarmSettings(Section):
    """Where alarms go besides the log."""

    webhook: WebAddress = ""
    """`https://...`: gets a POST of JSON, whose `text` chat services show."""
    mail: Mailboxes = ()
    """Mailboxes that are written to. At least one should not live behind this gateway."""
    repeat_after: Seconds = 3600.0
    """Seconds for which the same alarm is not told again."""
