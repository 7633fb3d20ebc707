"""Keeps the control plane running: starts its process, notices its end or hang, and starts it again.

Used by the supervisor, and by a worker without one. It never waits: each look takes microseconds.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from gateway.model.event import Event, Level
from gateway.ports import EventSink
from gateway.service.tally import Deaths
from gateway.spool.index import DIRECTORY

HEARTBEAT = "beat"
"""A file in the control plane's directory, touched every few seconds by a process that lives."""
MODULE = "gateway.app.control_plane"
LOOK_SECONDS = 2.0
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
"""Longest time in seconds between an end and the next start. It doubles with each process that lived for less than
this."""
_SILENCE = 30.0
"""Seconds without a heartbeat after which the process is killed."""
_GRACE = 5.0
"""Seconds that it gets to end."""


class ControlKeeper:
    """The place of the control plane. The process ends when the lifeline does, whatever becomes of its keeper."""

    def __init__(self, config: Path, spool: Path, emit: EventSink, deaths: Deaths, silence: float = _SILENCE) -> None:
        self._config = config
        self._beat = spool / DIRECTORY / HEARTBEAT
        self._emit = emit
        self._deaths = deaths
        self._silence = silence
        self._lifeline = os.pipe()
        self.pid = 0
        self._started = 0.0
        self._next = 0.0
        self._pause = 0.0
        self._seen: tuple[int, float] = 0, 0.0
        """The heartbeat's time, and when it was seen to change."""
        self._proven = False
        self._hung = False

    def look(self) -> None:
        """Start the process when it is due, kill it when it hangs."""
        now = time.monotonic()
        if not self.pid:
            if now >= self._next:
                self._start(now)
            return
        beat = self._read_beat()
        if beat != self._seen[0]:
            self._seen = beat, now
            if not self._proven:
                self._proven = True
                self._deaths.note_control_up()
        elif now - self._seen[1] > self._silence and not self._hung:
            self._hung = True
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def note_end(self, pid: int, status: int) -> bool:
        """True when this child was the control plane; its end is told, and its next start is planned. `status` is that
        of waitpid(2)."""
        if not pid or pid != self.pid:
            return False
        now, code = time.monotonic(), os.waitstatus_to_exitcode(status)
        lived = now - self._started
        self.pid = 0
        self._pause = (
            _FIRST_PAUSE if lived > _LONGEST_PAUSE else min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        )
        self._next = now + self._pause
        self._deaths.note_control_down(code)
        fields = (("status", code), ("hung", self._hung), ("seconds", round(lived, 1)), ("next_in", self._pause))
        self._emit(Event("control-died", "", fields, Level.ALARM))
        return True

    async def run(self) -> None:
        """Look until cancelled, as the only one in its process who waits for children."""
        while True:
            self.look()
            self._reap()
            await asyncio.sleep(LOOK_SECONDS / 4)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            if self.pid:
                self.note_end(*os.waitpid(self.pid, os.WNOHANG))

    def stop(self) -> None:
        """End the process, and wait for that a few seconds."""
        pid, self.pid = self.pid, 0
        if not pid:
            return
        deadline = time.monotonic() + _GRACE
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGTERM)
            # A stopped process takes the signal when it goes on.
            os.kill(pid, signal.SIGCONT)
            while not os.waitpid(pid, os.WNOHANG)[0]:
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    return
                time.sleep(0.02)

    def _start(self, now: float) -> None:
        sys.stdout.flush()
        reading, _ = self._lifeline
        command = [sys.executable, "-m", MODULE, str(self._config), str(reading)]
        # A new program instead of a fork: it shares no socket, lock or thread with the mail path.
        os.set_inheritable(reading, True)
        try:
            self.pid = os.posix_spawn(sys.executable, command, os.environ, setsigmask=())
        except OSError as error:
            self._next = now + _LONGEST_PAUSE
            self._emit(Event("error", "", (("where", "control plane"), ("error", repr(error))), Level.ALARM))
        finally:
            os.set_inheritable(reading, False)
        self._started, self._seen = now, (self._read_beat(), now)
        self._proven = self._hung = False

    def _read_beat(self) -> int:
        try:
            return self._beat.stat().st_mtime_ns
        except OSError:
            return 0
