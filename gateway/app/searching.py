"""Search from a command: the index is brought up to date first, by the control plane or by the command itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

from gateway.admin.control import NobodyThere, ask
from gateway.config.model import Config
from gateway.model.search import MessageQuery
from gateway.spool.disk import SpoolUnusable
from gateway.spool.index import DIRECTORY, IndexBroken, IndexInUse, IndexWriter
from gateway.spool.indexing import Indexer, IndexNoRoom
from gateway.spool.search import FoundPage, SearchBounds, SpoolSearch

FEW = 2000
"""Traces that are read one by one rather than waited for: that takes a second."""
_PATIENCE = 5.0
"""Seconds without progress after which the index is not waited for."""
_LONG_PATIENCE = 60.0
_PAUSE = 0.2

Tell = Callable[[str, int, int], None]
"""Takes what is being done, how much is done, and of how much."""


class FoundMail(NamedTuple):
    """The answer to one query."""

    page: FoundPage
    bounds: SearchBounds


def find_mail(config: Config, query: MessageQuery, limit: int, after: str, tell: Tell) -> FoundMail:
    """Search, whether the gateway runs or not. Raises SpoolUnusable, and ValueError for a cursor that is none."""
    bounds = _measure(config)
    if bounds.behind > FEW and query.since is None:
        bounds = _catch_up(config, bounds, tell)
    with closing(SpoolSearch(config.server.spool, config.search.subjects)) as search:
        page = search.find(query, limit, after, lambda read: tell("reading traces", read, bounds.behind))
        return FoundMail(page, bounds)


async def rebuild_index(config: Config, tell: Tell) -> int | None:
    """Build the index anew from the spool; returns the number of messages. A control plane that runs does it, and this
    waits: None when it makes no progress. Raises IndexInUse, IndexNoRoom, IndexBroken, CommandRefused."""
    home = config.server.spool / DIRECTORY
    try:
        await ask(home, "rebuild", {})
    except (NobodyThere, FileNotFoundError):
        return await asyncio.to_thread(_rebuild_here, config, tell)
    least, since = -1, time.monotonic()
    while time.monotonic() - since < _LONG_PATIENCE:
        await asyncio.sleep(_PAUSE)
        state = (await ask(home, "status", {}))["index"]
        if state["state"] == "ready":
            return int(state["messages"])
        done = int(state["messages"])
        tell("building the index", done, done + int(state["behind"] or 0))
        if done != least:
            least, since = done, time.monotonic()
    return None


def _rebuild_here(config: Config, tell: Tell) -> int:
    writer = IndexWriter(config.server.spool, config.search.subjects, anew=True)
    with closing(Indexer(config.server.spool, writer)) as indexer:
        _run(indexer, tell)
        return writer.count()


def _measure(config: Config) -> SearchBounds:
    with closing(SpoolSearch(config.server.spool, config.search.subjects)) as search:
        return search.measure()


def _catch_up(config: Config, bounds: SearchBounds, tell: Tell) -> SearchBounds:
    """Bring the index up to date, or wait while another process does; after too long a pause leave it as it is."""
    least, since = bounds.behind, time.monotonic()
    total = bounds.behind
    while bounds.behind > FEW and time.monotonic() - since < _PATIENCE:
        try:
            writer = IndexWriter(config.server.spool, config.search.subjects)
            with closing(Indexer(config.server.spool, writer)) as indexer:
                _run(indexer, tell)
        except IndexInUse:
            tell("waiting for the index", total - bounds.behind, total)
            time.sleep(_PAUSE)
        except (IndexNoRoom, IndexBroken, SpoolUnusable, OSError):
            # The traces are read one by one.
            return bounds
        bounds = _measure(config)
        if bounds.behind < least:
            least, since = bounds.behind, time.monotonic()
    return bounds


def _run(indexer: Indexer, tell: Tell) -> None:
    done = 0
    while True:
        progress = indexer.step()
        done += progress.messages
        tell("building the index", done, done + progress.behind)
        if not progress.behind:
            return
