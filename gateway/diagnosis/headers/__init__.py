"""`waypost headers`: what the header of a message says about its way and about who vouched for it.

In: a message's octets. Out: findings in plain words with remedies, and all that they rest on. The fields are claims of
the servers that wrote them; nothing is judged anew, and no DNS is asked.

    reading.py   fields -> what they say
    findings.py  what follows from it, and what to do
    places.py    which hop is whose: names compared as people would
    show.py      text and JSON
"""

from __future__ import annotations

from gateway.diagnosis.headers.findings import HeaderFinding, find_all
from gateway.diagnosis.headers.reading import Reading, read_headers
from gateway.diagnosis.headers.show import headers_json, render_headers

__all__ = ["HeaderFinding", "Reading", "find_all", "headers_json", "read_headers", "render_headers"]
