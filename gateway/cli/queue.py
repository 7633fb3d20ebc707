"""`waypost queue`: waiting mail, and an admin's commands on it."""

from __future__ import annotations

import asyncio
import getpass
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway import app
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, fail, group, print_json, print_text, warn

if TYPE_CHECKING:
    from gateway.model.delivery import Failure, QueueEntry

_ALL = 10_000_000
_AT_ONCE = 500
"""Ids in one request to the gateway."""

commands = group("What waits for delivery: look at it, and decide about it.")

Ids = Annotated[list[str] | None, typer.Argument(help="Ids of messages or of transfers, as `queue list` shows them.")]
Backend = Annotated[str, typer.Option("--backend", help="All that waits for this backend.")]
Sender = Annotated[str, typer.Option("--sender", help="All from this address or @domain; <> is the null sender.")]
Rcpt = Annotated[str, typer.Option("--rcpt", help="All to this address or @domain.")]
Everything = Annotated[bool, typer.Option("--all", help="Everything that waits.")]
Reason = Annotated[str, typer.Option(help="Said in the queue, to the sender, or in the trace.")]


@commands.command("list")
def queue_list(
    config: ConfigOption = DEFAULT_CONFIG,
    most: Annotated[int, typer.Option(help="How many at most.")] = 1000,
    backend: Backend = "",
    sender: Sender = "",
    rcpt: Rcpt = "",
    held: Annotated[bool, typer.Option("--held", help="Only what is held.")] = False,
    summary: Annotated[bool, typer.Option("--summary", help="Only the sums by route and reason.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Sum what waits by route and reason, then list the transfers, those due first on top."""
    from gateway.tools.queue import Filter, queue_json, render_queue, render_sums, sum_queue, sums_json

    chosen, now = Filter(backend, sender, rcpt, held), time.time()
    entries = [one for one in _read_queue(config, _ALL) if chosen.takes(one)]
    by_rule = 0 if chosen.chooses else _count_held(config)
    piles = sum_queue(entries)
    if as_json:
        print_json(sums_json(piles, by_rule, now) if summary else queue_json(entries[:most]))
        return
    print_text(render_sums(piles, by_rule, now))
    if entries and not summary:
        print_text("")
        print_text(render_queue(entries[:most], now))
        if len(entries) > most:
            print_text(f"{len(entries) - most} more are not listed: --most {len(entries)} lists all.")


@commands.command("show")
def queue_show(
    id: Annotated[str, typer.Argument(help="A message's id.")],
    config: ConfigOption = DEFAULT_CONFIG,
    raw: Annotated[bool, typer.Option("--raw", help="The octets received, and nothing else.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the state of each recipient of one message. `waypost explain` tells the rest of its story."""
    from gateway.tools.explain import tell_gone
    from gateway.tools.queue import render_states, states_json

    async def read() -> None:
        spool = app.open_reader(app.read_partly(config, warn).config)
        try:
            story = await spool.story(id)
            if story is None:
                fail(f"No message with the id {id} is stored.", 1)
            if not raw:
                if as_json:
                    print_json(states_json(story))
                else:
                    print_text(render_states(story))
                return
            chunks = await spool.content(id)
            if chunks is None:
                fail(f"The content of {id} was {tell_gone(story)}.", 1)
            async for chunk in chunks:
                sys.stdout.buffer.write(chunk)
        finally:
            await spool.close()

    asyncio.run(read())


@commands.command("failed")
def queue_failed(
    config: ConfigOption = DEFAULT_CONFIG,
    most: Annotated[int, typer.Option(help="How many at most.")] = 100,
    withheld: Annotated[bool, typer.Option("--withheld", help="Only those whose sender was not told.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List who did not get a message lately, and whether its sender was told: a DSN goes only to a proven address."""
    from gateway.model.delivery import Final
    from gateway.tools.queue import failures_json, render_failures

    async def read() -> Sequence[Failure]:
        spool = app.open_reader(app.read_partly(config, warn).config)
        try:
            return await spool.failed(_ALL if withheld else most)
        finally:
            await spool.close()

    found = [one for one in asyncio.run(read()) if not withheld or one.state is Final.WITHHELD][:most]
    if as_json:
        print_json(failures_json(found))
    else:
        print_text(render_failures(found))


@commands.command("hold")
def queue_hold(
    ids: Ids = None,
    config: ConfigOption = DEFAULT_CONFIG,
    reason: Reason = "",
    backend: Backend = "",
    sender: Sender = "",
    rcpt: Rcpt = "",
    everything: Everything = False,
    as_json: JsonOption = False,
) -> None:
    """Keep mail back until it is released."""
    chosen = _choose(config, ids, everything, backend, sender, rcpt)
    _order(config, "hold", chosen, as_json, reason=reason)


@commands.command("release")
def queue_release(
    ids: Ids = None,
    config: ConfigOption = DEFAULT_CONFIG,
    backend: Backend = "",
    sender: Sender = "",
    rcpt: Rcpt = "",
    everything: Everything = False,
    as_json: JsonOption = False,
) -> None:
    """Let held mail go, at once."""
    chosen = _choose(config, ids, everything, backend, sender, rcpt, held=True)
    _order(config, "release", chosen, as_json)


@commands.command("retry")
def queue_retry(
    ids: Ids = None,
    config: ConfigOption = DEFAULT_CONFIG,
    backend: Backend = "",
    sender: Sender = "",
    rcpt: Rcpt = "",
    everything: Everything = False,
    as_json: JsonOption = False,
) -> None:
    """Try now what would be tried later."""
    chosen = _choose(config, ids, everything, backend, sender, rcpt)
    _order(config, "retry", chosen, as_json)


@commands.command("reroute")
def queue_reroute(
    to: Annotated[str, typer.Option("--to", help="The backend that is to take it.")],
    ids: Ids = None,
    config: ConfigOption = DEFAULT_CONFIG,
    backend: Backend = "",
    sender: Sender = "",
    rcpt: Rcpt = "",
    everything: Everything = False,
    as_json: JsonOption = False,
) -> None:
    """Give mail to another backend than the one it waits for."""
    chosen = _choose(config, ids, everything, backend, sender, rcpt)
    _order(config, "reroute", chosen, as_json, backend=to)


@commands.command("bounce")
def queue_bounce(
    ids: Ids = None,
    config: ConfigOption = DEFAULT_CONFIG,
    reason: Reason = "",
    backend: Backend = "",
    sender: Sender = "",
    rcpt: Rcpt = "",
    everything: Everything = False,
    as_json: JsonOption = False,
) -> None:
    """Give up on mail: the sender is told, if the return path is verified."""
    chosen = _choose(config, ids, everything, backend, sender, rcpt)
    _order(config, "bounce", chosen, as_json, reason=reason)


@commands.command("delete")
def queue_delete(
    ids: Ids = None,
    config: ConfigOption = DEFAULT_CONFIG,
    reason: Reason = "",
    backend: Backend = "",
    sender: Sender = "",
    rcpt: Rcpt = "",
    everything: Everything = False,
    as_json: JsonOption = False,
) -> None:
    """Give up on mail and tell nobody."""
    chosen = _choose(config, ids, everything, backend, sender, rcpt)
    _order(config, "delete", chosen, as_json, reason=reason)


def _choose(
    config: Path, ids: list[str] | None, everything: bool, backend: str, sender: str, rcpt: str, held: bool = False
) -> list[str]:
    """The chosen ids: those given, or those of waiting mail that the options choose."""
    from gateway.tools.queue import Filter

    chosen = Filter(backend, sender, rcpt, held)
    if [bool(ids), chosen.chooses, everything].count(True) != 1:
        fail("Say which: ids, or some of --backend, --sender and --rcpt, or --all.")
    if ids:
        app.read_partly(config, warn)
        return list(dict.fromkeys(id.strip("()") for id in ids))
    return [entry.transfer_id for entry in _read_queue(config, _ALL) if chosen.takes(entry)]


def _read_queue(config: Path, most: int) -> Sequence[QueueEntry]:
    async def read() -> Sequence[QueueEntry]:
        spool = app.open_reader(app.read_partly(config, warn).config)
        try:
            return await spool.queue(most)
        finally:
            await spool.close()

    return asyncio.run(read())


def _count_held(config: Path) -> int:
    """The number of messages that a rule holds."""

    async def read() -> int:
        spool = app.open_reader(app.read_partly(config).config)
        try:
            return (await spool.measure_held("", "")).messages
        finally:
            await spool.close()

    return asyncio.run(read())


def _order(config: Path, command: str, ids: list[str], as_json: bool, **arguments: str) -> None:
    """Order it, some ids at a time, and print the result. Exit status 1 when something was refused."""
    from rich.progress import track

    from gateway.tools.queue import merge_answers, render_answers

    answers: list[dict[str, Any]] = []
    # An empty choice is sent too, so that a wrong argument is reported.
    starts: Sequence[int] = range(0, max(len(ids), 1), _AT_ONCE)
    steps = track(starts, f"queue {command}") if len(starts) > 1 and sys.stderr.isatty() else starts
    for start in steps:
        some = ids[start : start + _AT_ONCE]
        given = {name: value for name, value in arguments.items() if value} | {"by": getpass.getuser()}
        answers += merge_answers(asyncio.run(app.order(config, f"queue {command}", {"ids": some, **given})))
    if as_json:
        print_json(answers)
    else:
        print_text(render_answers(command, answers))
    sys.exit(int(any(answer["refused"] or not answer["done"] for answer in answers)))
