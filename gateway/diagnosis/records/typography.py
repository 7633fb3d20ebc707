"""Characters that a word processor puts in place of those a DNS record needs: they void a tag, or the record."""

from __future__ import annotations

import unicodedata

_MEANT = {
    **dict.fromkeys("“”„‟″", '"'),
    **dict.fromkeys("‘’‚‛′", "'"),  # noqa: RUF001 and single ones
    **dict.fromkeys("‐‑‒–—―−", "-"),  # noqa: RUF001 and dashes
    **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u202f\u3000", " "),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", ""),
    **dict.fromkeys("；;", ";"),  # noqa: RUF001 full-width, and the Greek question mark
    **dict.fromkeys("：", ":"),  # noqa: RUF001
    **dict.fromkeys("＝", "="),  # noqa: RUF001
    **dict.fromkeys("，", ","),  # noqa: RUF001
}


def read_text(record: str) -> str:
    """A TXT record as people see it. DNS gives octets, one latin-1 character each; they are UTF-8 if anything."""
    octets = record.encode("latin-1", "replace")
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def find_odd(text: str) -> tuple[str, ...]:
    """The names of characters outside ASCII, each once."""
    odd = dict.fromkeys(char for char in text if not " " <= char <= "~")
    return tuple(f"{unicodedata.name(char, f'U+{ord(char):04X}').lower()} ({ascii(char)[1:-1]})" for char in odd)


def repair(text: str) -> str:
    """What was probably meant, quotes around the whole removed."""
    meant = "".join(_MEANT.get(char, char) for char in text).strip()
    return meant.strip("\"'").strip()
