"""`waypost headers`: the way of a message and the domains that vouch for it, according to its header.

In: a message's octets. Out: findings in plain words with remedies, and their evidence. The fields are claims of the
servers that wrote them; nothing is judged again, and no DNS is asked.

    paste.py     a pasted header -> its fields
    reading.py   fields -> their contents
    marks.py     the marks of Microsoft's filters
    indirect.py  mailing lists and forwarding
    places.py    the organisation of each hop, by its name
    summary.py   one verdict, with alignment
    causes.py    the reasons why DMARC failed, and the remedies
    findings.py  all findings
    show.py      text and JSON
    texts.py     every sentence
"""

from __future__ import annotations

from gateway.diagnosis.headers.findings import find_all
from gateway.diagnosis.headers.reading import Reading, read_headers
from gateway.diagnosis.headers.show import headers_json, render_headers
from gateway.diagnosis.headers.summary import HeaderFinding, summarise

__all__ = ["HeaderFinding", "Reading", "find_all", "headers_json", "read_headers", "render_headers", "summarise"]
