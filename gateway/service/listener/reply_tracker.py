"""Whether a client has heard that its message is stored. Nothing acknowledges a reply in SMTP; what follows it tells: a
further command, or a connection that breaks instead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_LOOKS = (0.05, 0.2, 0.75)
"""Seconds between looks at a connection whose client has sent its last octet already: it may still read, or be gone,
and then our reply is answered by a reset."""


class ReplyTracker:
    """For one session; `tell` is called once for each reply that was `sent`."""

    def __init__(self, tell: Callable[[bool], None], is_broken: Callable[[], bool]) -> None:
        """`is_broken`: the other side has answered with a reset."""
        self._tell = tell
        self._is_broken = is_broken
        self._open = False
        self._left = False

    def sent(self, gone: bool, left: bool) -> None:
        """The reply goes out now. `gone`: there is no connection any more; `left`: the client sends nothing more."""
        self._open, self._left = True, left
        if gone:
            self._conclude(False)

    def spoke(self) -> None:
        """The client has sent another command."""
        self._conclude(True)

    def lost(self, error: Exception | None) -> None:
        """The connection is over."""
        if error is not None:
            self._conclude(False)

    async def close(self) -> None:
        """The session ends: what has not shown otherwise was heard."""
        for seconds in _LOOKS if self._open and self._left else ():
            await asyncio.sleep(seconds)
            if self._is_broken():
                self._conclude(False)
        self._conclude(True)

    def _conclude(self, heard: bool) -> None:
        if self._open:
            self._open = False
            self._tell(heard)
