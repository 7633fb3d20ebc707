"""The first configuration file, as `waypost init` writes it."""

from __future__ import annotations

import json
from pathlib import Path

_TEMPLATE = Path(__file__).with_name("first.toml")


def write_first(hostname: str = "", domain: str = "") -> str:
    """The commented file. A missing value stays an empty string; `load` reports it with its line."""
    text = _TEMPLATE.read_text("utf-8")
    # A JSON string is also a TOML basic string (TOML 1.0), whatever a person typed.
    for blank, value in (("@hostname@", hostname), ("@domain@", domain)):
        text = text.replace(blank, json.dumps(value))
    return text
