"""`waypost bounce`: the reason why a message was not delivered, the refusing party, and the remedy.

In: a bounce as it came, forwarded, pasted or saved by Outlook, a feedback report, a server's log line, or a
reply alone. Out: the result for each recipient, in plain words and as JSON. Nothing is asked of DNS; nothing raises.

    handed.py    the input -> the bounce or report in it
    dsn.py       the fields of a delivery status notification
    prose.py     bounces without fields
    logline.py   log lines
    bounced.py   the values, and words -> the refusal behind them
    arf.py       feedback reports
    feedback.py  the meaning of a feedback report
    report.py    text, JSON and the table of a folder
    texts.py     every sentence
"""

from __future__ import annotations

from gateway.diagnosis.bounce.bounced import Bounce, Bounced
from gateway.diagnosis.bounce.handed import decode, read_handed, read_reply
from gateway.diagnosis.bounce.report import bounce_json, render_bounce, render_folder

__all__ = ["Bounce", "Bounced", "bounce_json", "decode", "read_handed", "read_reply", "render_bounce", "render_folder"]
