"""The table of signs: provider, status and text of one reply -> its cause.

The rows are data: `codes/` has a file for Waypost's own replies, one for each big provider, one for filters and one for
all servers, each table with its source and date. The first row that fits counts, so a provider's own meaning stands
above what all servers mean, words above numbers. No row may trust a number alone across providers: 5.7.27 is SPF at
Google and a null MX in the registry, 5.7.30 DKIM there, a refused login at Microsoft and REQUIRETLS here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from datetime import date
from functools import cache, lru_cache
from pathlib import Path

from gateway.mail.refusal.cause import Cause
from gateway.mail.refusal.provider import Provider
from gateway.model.reply import Reply
from gateway.model.value import Value

_CODES = Path(__file__).with_name("codes")
_FILES = ("waypost", "google", "microsoft", "yahoo", "apple", "filters", "any")
_CAUSES = {cause.value: cause for cause in Cause}
_MOST_TEXT = 2000
"""Characters of a reply that are searched."""
_MOST_KEPT = 1024
"""Replies whose cause is cached."""
_MAILBOXES = re.compile(r"<?[^\s<>\"'()@]{1,64}@[^\s<>\"'()@,;]+>?")
"""An address says nothing about the cause: `spam@` and `spf@` are ordinary mailboxes."""
_IN_TEXT = re.compile(r"(?<![\w.])#?([45])\.(\d{1,3}\.\d{1,3})(?![\w.])")


class RefusalSign(Value):
    """One row: a reply that fits all of it has this cause."""

    provider: Provider | None
    """None: any."""
    reply: str
    """A pattern for the start of the basic code; empty: any."""
    status: str
    """A pattern for all of subject and detail of the enhanced code; empty: any or none."""
    words: str
    """A pattern to be found in the text, in any case; empty: any."""
    cause: Cause
    sample: str
    """A reply that this row is for."""


class CodeTable(Value):
    """Rows from one source."""

    source: str
    date: date
    signs: tuple[RefusalSign, ...]


@cache
def read_tables() -> tuple[CodeTable, ...]:
    """All tables, in order of precedence. Read once, when the first reply is looked up."""
    return tuple(_read_files())


def _read_files() -> Iterator[CodeTable]:
    for name in _FILES:
        for table in tomllib.loads((_CODES / f"{name}.toml").read_text("utf-8"))["table"]:
            provider = Provider(table["provider"]) if table["provider"] else None
            signs = (
                RefusalSign(
                    provider,
                    row.get("reply", ""),
                    row.get("status", ""),
                    row.get("words", ""),
                    _CAUSES[row["cause"]],
                    row["sample"],
                )
                for row in table["codes"]
            )
            yield CodeTable(table["source"], table["date"], tuple(signs))


_compile = cache(re.compile)
"""A pattern is compiled when the first reply reaches its row, because most are never needed."""


def find_cause(reply: Reply, provider: Provider) -> Cause:
    """The cause of one reply, taken by itself."""
    text = _MAILBOXES.sub("<>", reply.text[:_MOST_TEXT]).replace("_", " ")
    return _look_up(str(reply.code), reply.detail or _find_detail(text, str(reply.code)[0]), text, provider)


@lru_cache(maxsize=_MOST_KEPT)
def _look_up(code: str, detail: str, text: str, provider: Provider) -> Cause:
    """The cached lookup: a server that refuses many recipients repeats its reply except for the address."""
    for table in read_tables():
        for sign in table.signs:
            if (
                sign.provider in (None, provider)
                and _compile(sign.reply).match(code)
                and (not sign.status or _compile(sign.status).fullmatch(detail))
                and (not sign.words or _compile(sign.words, re.IGNORECASE).search(text))
            ):
                return sign.cause
    return Cause.UNKNOWN


def _find_detail(text: str, digit: str) -> str:
    """The enhanced code in the text. Some servers put it after words of their own: `553 sorry (#5.7.1)`."""
    return next((found[2] for found in _IN_TEXT.finditer(text) if found[1] == digit), "")
