"""The demo's gateway.toml: an admin's file for a domain split between Google and Microsoft."""

from __future__ import annotations

import json
from collections.abc import Mapping

from gateway.demo.layout import BACKEND_NAMES, DOMAIN, HOSTNAME, MAILBOXES, Layout

_PRESETS = {"google": "google-workspace", "microsoft": "microsoft-365"}


def make_settings(layout: Layout, port: int, admin_port: int, backend_ports: Mapping[str, int]) -> str:
    """The file's text. `backend_ports` are the stand-ins' by backend. Paths are relative to the file."""
    lines = [
        "# Written anew each time the demo starts.",
        *_table("server", hostname=HOSTNAME, spool="spool", drain_timeout=5),
        *_table(
            "[listener]",
            name="demo",
            address=f"127.0.0.1:{port}",
            certificate=layout.certificate("gateway").name,
            key=layout.key("gateway").name,
        ),
        *_table("[domain]", name=DOMAIN, backend="google"),
    ]
    for name, backend_port in backend_ports.items():
        lines += _table(
            f"backend.{name}",
            preset=_PRESETS[name],
            hosts=[f"127.0.0.1:{backend_port}"],
            tls_names=[BACKEND_NAMES[name]],
            ca_file=layout.ca_file.name,
        )
    lines += ["", "[routing.addresses]", *(f"{_toml(key)} = {_toml(value)}" for key, value in MAILBOXES.items())]
    lines += _table("dns", zone=layout.zone.name)
    lines += _table("delivery", schedule=[2, 5, 15, 60])
    lines += _table("admin", address=f"127.0.0.1:{admin_port}")
    return "\n".join(lines) + "\n"


def _table(heading: str, **settings: object) -> list[str]:
    return ["", f"[{heading}]", *(f"{name} = {_toml(value)}" for name, value in settings.items())]


def _toml(value: object) -> str:
    """Strings, numbers and lists of them have the same form in TOML and JSON."""
    return json.dumps(value)
