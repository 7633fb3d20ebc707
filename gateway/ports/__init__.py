"""The ports: the requirements of the services for the outside. `net` and `spool` implement them; only `app` knows the
implementations.

The services implement `Reception` and `Conversation`, and the listener calls them. Every floor above imports these
names as `from gateway.ports import Clock`.
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
