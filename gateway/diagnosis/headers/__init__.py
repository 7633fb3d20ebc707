"""`waypost headers`: what the header of a message says about its way and about who vouched for it.

In: a message's octets. Out: findings in plain words with remedies, and all that they rest on. The fields are claims of
the servers that wrote them; nothing is judged anew, and no DNS is asked.

    paste.py     a header as it was pasted -> its fields
    reading.py   fields -> what they say
    marks.py     what Microsoft's filters wrote
    indirect.py  mailing lists and forwarding
    places.py    which hop is whose: names compared as people would
    summary.py   one verdict, with alignment
    causes.py    why DMARC failed, and what to do
    findings.py  all that is worth saying
    show.py      text and JSON
    texts.py     every sentence
"""

from __future__ import annotations

from gateway.diagnosis.headers.findings import find_all
from gateway.diagnosis.headers.reading import Reading, read_headers
from gateway.diagnosis.headers.show import headers_json, render_headers
from gateway.diagnosis.headers.summary import HeaderFinding, summarise

__all__ = ["HeaderFinding", "Reading", "find_all", "headers_json", "read_headers", "render_headers", "summarise"]
