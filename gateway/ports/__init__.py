"""The ports: what the services need of the world. `net` and `spool` fill them; only `app` knows which.

`Reception` and `Conversation` are filled by the services and asked by the listener. Everything here is imported as
`from gateway.ports import Clock`, by whoever stands above this floor.
"""

from gateway.ports.conversation import Connection, Conversation, Reception
from gateway.ports.spool import (
    ContentAltered,
    ContentWriter,
    Damage,
    HoldFull,
    IntakeReader,
    IntakeStore,
    Spool,
    SpoolDoubtful,
    SpoolFull,
    SpoolReader,
    Storage,
    StoryUnreadable,
)
from gateway.ports.system import Backend, Clock, EventSink, Resolver, Signer, Tally, emit_all

__all__ = [
    "Backend",
    "Clock",
    "Connection",
    "ContentAltered",
    "ContentWriter",
    "Conversation",
    "Damage",
    "EventSink",
    "HoldFull",
    "IntakeReader",
    "IntakeStore",
    "Reception",
    "Resolver",
    "Signer",
    "Spool",
    "SpoolDoubtful",
    "SpoolFull",
    "SpoolReader",
    "Storage",
    "StoryUnreadable",
    "Tally",
    "emit_all",
]
