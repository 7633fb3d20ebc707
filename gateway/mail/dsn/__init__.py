"""Delivery status notifications: multipart/report of RFC 6522 with the fields of RFC 3464, in ASCII with CRLFs.

report.py  what is said: the report and its notices
characters.py  text from elsewhere, made fit
text.py    the part for people: what happened, why, and what to do
status.py  the part for programs
parts.py   the whole, put together
"""

from __future__ import annotations

from gateway.mail.dsn.parts import DsnAction, Notice, Report, compose

__all__ = ["DsnAction", "Notice", "Report", "compose"]
