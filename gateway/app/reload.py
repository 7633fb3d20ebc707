"""Reading configuration, rules and maps again while mail flows: all or nothing, one reading at a time."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from gateway.admin.control import CommandRefused, NobodyThere, ask
from gateway.app.reading import read_partly
from gateway.app.runtime_config import read_runtime, with_lists
from gateway.config.mistakes import ConfigErrors
from gateway.config.model import Config
from gateway.config.policies import NotWritten, name_set
from gateway.model.event import Event, Level
from gateway.model.value import Value, replace
from gateway.plan.judgement import JudgementContext
from gateway.policy.rules import RuleErrors
from gateway.ports import EventSink
from gateway.service.directory import keep_maps
from gateway.service.runtime import RuntimeConfig
from gateway.spool.disk import SpoolUnusable
from gateway.spool.reader import find_shards


async def promote(path: Path, name: str) -> str:
    """Name the set in the configuration and have a running gateway read it; returns the result. When the gateway
    refuses, the file is restored. Raises NotWritten, CommandRefused."""
    file, before = _name(path, name)
    try:
        answers = await reload_running(path)
    except BaseException:
        _write(file, before, name)
        raise
    problems = list(dict.fromkeys(answer["problem"] for answer in answers if answer["problem"]))
    if problems:
        _write(file, before, name)
        raise CommandRefused("\n".join([*problems, f"Not promoted: {path} is as it was."]))
    if not answers:
        return f'{path} says set = "{name}": in force from the next start on.'
    return f'{path} says set = "{name}", and the running gateway judges by it.'


def _name(path: Path, name: str) -> tuple[Path, bytes]:
    """Name the set; returns the file and its earlier content. A link stays one."""
    file = path.resolve()
    before = file.read_bytes()
    _write(file, name_set(before.decode("utf-8-sig"), name).encode(), name)
    return file, before


async def reload_running(path: Path) -> list[dict[str, Any]]:
    """Have the running gateway read its files again: each worker's answer, and none when no gateway runs, or none has
    ever run. Raises CommandRefused."""
    answers = []
    try:
        shards = find_shards(read_partly(path).config.server.spool)
    except SpoolUnusable:
        return []
    for shard in shards:
        try:
            answers.append(await ask(shard, "reload", {}))
        except NobodyThere:
            continue
    return answers


def _write(file: Path, octets: bytes, name: str) -> None:
    """Write the whole new file or keep the old one, even after a crash; owner and mode stay."""
    fresh = file.with_name(f".{file.name}.new")
    try:
        with fresh.open("wb") as stream:
            stream.write(octets)
            stream.flush()
            os.fsync(stream.fileno())
        shutil.copymode(file, fresh)
        status = file.stat()
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(fresh, status.st_uid, status.st_gid)
        fresh.replace(file)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        said = f"{file} cannot be written ({error.strerror})"
        raise NotWritten(f'{said}: write set = "{name}" into its [policy] by hand, then: waypost reload') from None


_FIXED = frozenset(
    "server listener submission backend limits dns dnsbl delivery retention admin log alarm".split()  # noqa: SIM905
)
"""Sections that take effect at the next start."""


class Reloaded(Value):
    """The result of a reload."""

    problem: str = ""
    """Every mistake, each with its place; everything then stays unchanged."""
    changed: tuple[str, ...] = ()
    """Changed sections, and `rules` for a changed rule set."""
    after_restart: tuple[str, ...] = ()
    """The changed sections that take effect at the next start."""


class Reloader:
    """Replaces the runtime configuration by the current content of the files."""

    def __init__(
        self,
        runtime: Callable[[], RuntimeConfig],
        adopt: Callable[[RuntimeConfig], None],
        running: Collection[str],
        emit: EventSink,
    ) -> None:
        """`running` names the backends that can take mail."""
        self._runtime = runtime
        self._adopt = adopt
        self._running = running
        self._emit = emit
        self._reading = asyncio.Lock()
        self._begun: set[asyncio.Task[Reloaded]] = set()
        self._next: asyncio.Task[Reloaded] | None = None
        self._first = runtime().config
        self.pending: tuple[str, ...] = ()
        """Sections that differ from those of the start and count from the next start on."""

    def reload(self, path: Path) -> asyncio.Task[Reloaded]:
        """Begin a reading, or share the one that has not begun yet."""
        if self._next is None:
            self._next = asyncio.create_task(self._reload(path))
            self._begun.add(self._next)
            self._next.add_done_callback(self._begun.discard)
        return self._next

    async def close(self) -> None:
        """Adopt nothing more."""
        for task in self._begun:
            task.cancel()
        await asyncio.gather(*self._begun, return_exceptions=True)

    async def _reload(self, path: Path) -> Reloaded:
        async with self._reading:
            self._next = None
            try:
                # In a thread: the maps of a large organisation take seconds.
                runtime = await asyncio.to_thread(read_runtime, path)
            except (ConfigErrors, RuleErrors) as error:
                return self._refuse(error.format())
            except Exception as error:
                return self._refuse(repr(error))
            return self._replace(runtime)

    def _replace(self, runtime: RuntimeConfig) -> Reloaded:
        before = self._runtime()
        runtime = replace(runtime, routing=keep_maps(runtime, before))
        unknown = sorted(runtime.routing.backends().difference(self._running))
        if unknown:
            return self._refuse(f"backend {', '.join(unknown)} is new: restart to use it")
        # Only lists that passed their self-test at start are used.
        runtime = with_lists(runtime, before.context.client.lists)
        changed = [
            name for name in Config.model_fields if getattr(runtime.config, name) != getattr(before.config, name)
        ]
        later = [name for name in changed if name in _FIXED]
        if _laid_out(runtime.context) != _laid_out(before.context):
            changed.append("rules")
        self._adopt(runtime)
        self.pending = tuple(
            name
            for name in Config.model_fields
            if name in _FIXED and getattr(runtime.config, name) != getattr(self._first, name)
        )
        fields = (
            ("policy", runtime.context.rules.name),
            ("changed", ",".join(changed)),
            ("after_restart", ",".join(later)),
        )
        self._emit(Event("reloaded", "", fields))
        return Reloaded(changed=tuple(changed), after_restart=tuple(later))

    def _refuse(self, problem: str) -> Reloaded:
        self._emit(Event("reload-refused", "", (("error", problem),), Level.ALARM))
        return Reloaded(problem=problem)


def _laid_out(context: JudgementContext) -> list[tuple[object, ...]]:
    """Every rule as comparable values: compiled expressions are not comparable."""
    sets = [context.rules, context.rules.beside, context.shadow, *context.domain_rules.values()]
    return [
        (
            one.name,
            rule.id,
            stage,
            rule.condition.text,
            rule.action,
            rule.reply,
            rule.shadow,
            rule.override,
            rule.seal,
        )
        for one in sets
        if one is not None
        for stage, rules in one.rules.items()
        for rule in rules
    ]
