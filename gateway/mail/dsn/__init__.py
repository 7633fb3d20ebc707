"""Delivery status notifications: multipart/report of RFC 6522 with the fields of RFC 3464, in ASCII with CRLFs.

`parts.py` has all of it: the report and its notices, the part for people, the part for programs, and the whole.
"""

from __future__ import annotations

from gateway.mail.dsn.parts import DsnAction, Notice, Report, compose

__all__ = ["DsnAction", "Notice", "Report", "compose"]
