"""What every tool shows people alike: sections with a heading, sentences, moments."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from rich.text import Text

from gateway.tools.narrative import clean


def render_section(title: str, lines: Iterable[str]) -> list[Text]:
    """A heading and its lines; nothing at all when there are none."""
    shown = [Text(f"  {clean(line)}") for line in lines]
    return [Text(), Text(title, "bold"), *shown] if shown else []


def show_times(epoch: float) -> str:
    """A moment, in UTC and in the time of this machine."""
    local = datetime.fromtimestamp(int(epoch)).astimezone()
    there = "" if not local.utcoffset() else f" ({local.strftime('%Y-%m-%d %H:%M:%S %z')} here)"
    return f"{show_time(epoch)}{there}"


def show_time(epoch: float) -> str:
    """A moment, in UTC."""
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
