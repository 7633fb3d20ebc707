"""The composition root: the only package that knows the adapter of each port. Imported by `cli` and the demo.

Each name is imported at its first use, so that a command that only reads the spool loads neither rules nor listeners.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.app.adapters import make_resolver, make_simulation_context
    from gateway.app.control import order
    from gateway.app.gateway import Gateway
    from gateway.app.reading import open_reader, read_config, read_partly
    from gateway.app.reload import promote, reload_running
    from gateway.app.runtime_config import make_partial_runtime, make_runtime, make_sealing, make_trial
    from gateway.app.searching import Tell, find_mail, rebuild_index
    from gateway.app.serving import serve
    from gateway.app.status import read_status

_HOMES = {
    "Tell": "searching",
    "find_mail": "searching",
    "rebuild_index": "searching",
    "Gateway": "gateway",
    "make_partial_runtime": "runtime_config",
    "make_resolver": "adapters",
    "make_runtime": "runtime_config",
    "make_sealing": "runtime_config",
    "make_simulation_context": "adapters",
    "make_trial": "runtime_config",
    "open_reader": "reading",
    "order": "control",
    "promote": "reload",
    "read_config": "reading",
    "read_partly": "reading",
    "reload_running": "reload",
    "read_status": "status",
    "serve": "serving",
}

__all__ = [
    "Gateway",
    "Tell",
    "find_mail",
    "make_partial_runtime",
    "make_resolver",
    "make_runtime",
    "make_sealing",
    "make_simulation_context",
    "make_trial",
    "open_reader",
    "order",
    "promote",
    "read_config",
    "read_partly",
    "read_status",
    "rebuild_index",
    "reload_running",
    "serve",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
