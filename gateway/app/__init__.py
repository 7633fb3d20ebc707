"""The composition root: the only package that knows which adapter fills which port. Imported by `cli` and the demo."""

from gateway.app.adapters import find_spool, make_resolver, make_simulation_context, open_reader
from gateway.app.control import order
from gateway.app.gateway import Gateway
from gateway.app.promotion import promote
from gateway.app.runtime_config import make_runtime, make_sealing, make_trial, read_config
from gateway.app.serving import serve

__all__ = [
    "Gateway",
    "find_spool",
    "make_resolver",
    "make_runtime",
    "make_sealing",
    "make_simulation_context",
    "make_trial",
    "open_reader",
    "order",
    "promote",
    "read_config",
    "serve",
]
