"""`waypost demo`: its directory and its ports."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.demo.layout import ADMIN_PORT, ADMIN_PORT_VARIABLE, PORT, PORT_VARIABLE, Layout
from gateway.demo.supervisor import supervise


def run_demo(root: Path) -> int:
    """Run the demo below `root` until SIGINT or SIGTERM; returns the exit status. Raises ValueError when a variable of
    the environment that should hold a port does not."""
    port = _read_port(PORT_VARIABLE, PORT)
    return supervise(Layout(root.absolute()), port, _read_port(ADMIN_PORT_VARIABLE, ADMIN_PORT))


def _read_port(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ValueError(f"{variable}={text}: a port from 1 to 65535 is wanted")
    return int(text)
