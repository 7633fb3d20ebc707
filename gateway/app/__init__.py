"""The composition root: the only package that knows which adapter fills which port. Imported by `cli` and the demo."""

from gateway.app.adapters import find_spool, make_resolver, make_workshop, open_reader
from gateway.app.control import order
from gateway.app.gateway import Gateway
from gateway.app.law import make_law, make_sealing, make_trial, read_config
from gateway.app.promotion import promote
from gateway.app.serving import serve

__all__ = [
    "Gateway",
    "find_spool",
    "make_law",
    "make_resolver",
    "make_sealing",
    "make_trial",
    "make_workshop",
    "open_reader",
    "order",
    "promote",
    "read_config",
    "serve",
]
