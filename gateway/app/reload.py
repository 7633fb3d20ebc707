"""Reading configuration, rules and maps again beside the mail: all or nothing, one reading at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path

from gateway.app.runtime_config import read_runtime, with_lists
from gateway.config.mistakes import ConfigErrors
from gateway.config.model import Config
from gateway.model.event import Event, Level
from gateway.model.value import Value, replace
from gateway.plan.judgement import JudgementContext
from gateway.policy.rules import RuleErrors
from gateway.ports import EventSink
from gateway.service.directory import keep_maps
from gateway.service.runtime import RuntimeConfig

_FIXED = frozenset(
    "server listener submission backend limits dns dnsbl delivery retention admin log alarm".split()  # noqa: SIM905
)
"""Sections that count from the next start on."""


class Reloaded(Value):
    """What came of a reload."""

    problem: str = ""
    """Every mistake, each with its place; then everything stays as it was."""
    changed: tuple[str, ...] = ()
    """Sections that say something new, and `rules` when the rule set does."""
    after_restart: tuple[str, ...] = ()
    """Those of them that count from the next start on."""


class Reloader:
    """Replaces the law by what the files say now."""

    def __init__(
        self,
        runtime: Callable[[], RuntimeConfig],
        adopt: Callable[[RuntimeConfig], None],
        running: Collection[str],
        emit: EventSink,
    ) -> None:
        """`running` names the backends that mail can be given to."""
        self._runtime = runtime
        self._adopt = adopt
        self._running = running
        self._emit = emit
        self._reading = asyncio.Lock()
        self._begun: set[asyncio.Task[Reloaded]] = set()
        self._next: asyncio.Task[Reloaded] | None = None

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
        # Only lists that passed their self-test at start are asked.
        runtime = with_lists(runtime, before.context.client.lists)
        changed = [
            name for name in Config.model_fields if getattr(runtime.config, name) != getattr(before.config, name)
        ]
        later = [name for name in changed if name in _FIXED]
        if _laid_out(runtime.context) != _laid_out(before.context):
            changed.append("rules")
        self._adopt(runtime)
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
    """Every rule as values that can be compared: compiled expressions cannot."""
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
