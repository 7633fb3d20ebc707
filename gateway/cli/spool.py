"""`waypost spool`: the spool as a whole."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway import app
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, fail, group, print_json, print_text, say, warn

if TYPE_CHECKING:
    from rich.progress import Progress

    from gateway.spool.view import ShardedView

commands = group("The spool as a whole.")

_ALL = 10_000_000
_AT_ONCE = 500
"""Ids in one request to the gateway."""
_QUIET = 3
"""Consecutive checks that must find nothing: an open session may bring one more message."""

_TELL_EVERY = 10
"""Seconds between lines of progress where no terminal shows a bar."""


@commands.command("check")
def spool_check(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Look over everything: rows, content and its hashes, states. Changes nothing; may run beside the gateway."""
    from gateway.spool.reader import find_shards
    from gateway.spool.view import Inspection, inspect_shard

    found = Inspection()
    with _progress() as progress:
        for shard in find_shards(app.read_partly(config, warn).config.server.spool):
            task = progress.add_task(f"shard {shard.name}", total=None)
            inspect_shard(shard, found, lambda done, task=task: progress.update(task, completed=done))  # type: ignore[misc]
    if as_json:
        print_json(asdict(found))
    else:
        print_text(
            f"{found.traces} traces, {found.messages} messages with {found.octets} octets of content, "
            f"{found.waiting} transfers that wait, {found.held} held, {found.unclaimed_files} files without an owner."
        )
        for problem in found.problems:
            print_text(problem)
        print_text("Everything is as it should be." if not found.problems else f"{len(found.problems)} problems.")
    sys.exit(int(bool(found.problems)))


@commands.command("backup")
def spool_backup(
    to: Annotated[Path, typer.Argument(help="A directory that is not there yet.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Copy the spool as it is at one instant for each shard; may run beside the gateway. The copy is a spool itself."""
    from gateway.spool.backup import back_up_shard
    from gateway.spool.reader import find_shards

    if to.exists():
        fail(f"{to} exists; name a directory that does not.")
    files = 0
    with _progress() as progress:
        for shard in find_shards(app.read_partly(config, warn).config.server.spool):
            task = progress.add_task(f"shard {shard.name}", total=None)
            files += back_up_shard(
                shard,
                to / shard.name,
                lambda done, all, task=task: progress.update(task, completed=done, total=all),  # type: ignore[misc]
            )
    print_text(
        f"{to} holds the spool, {files} content files. What it holds is sent again if a gateway is started on it."
    )


@commands.command("drain")
def spool_drain(
    config: ConfigOption = DEFAULT_CONFIG,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an empty queue.")] = 3600.0,
    undo: Annotated[bool, typer.Option("--undo", help="Let the gateway take mail again.")] = False,
) -> None:
    """Take no new mail and send what waits, before a machine is given up. The gateway runs on, and takes mail again
    after `--undo` or a restart. Exit status 0: nothing waits any more."""
    app.read_partly(config, warn)
    if undo:
        _undo(config)
        return
    # The whole queue is read before anything is changed: a spool that cannot be read is not drained.
    ids = asyncio.run(_read_waiting(config))
    try:
        sys.exit(asyncio.run(_drain(config, ids, time.monotonic() + timeout)))
    except KeyboardInterrupt:
        _ask_to_undo(config)
        sys.exit(1)


async def _read_waiting(config: Path) -> list[str]:
    """The transfers that can be tried now."""
    view = app.open_reader(app.read_partly(config).config)
    try:
        return [entry.transfer_id for entry in await view.queue(_ALL) if not entry.held and not entry.claimed]
    finally:
        await view.close()


async def _drain(config: Path, ids: list[str], deadline: float) -> int:
    await app.order(config, "drain", {})
    say(f"The gateway takes no new mail; {len(ids)} transfers wait and are tried now.", error=True)
    view = app.open_reader(app.read_partly(config).config)
    try:
        for start in range(0, len(ids), _AT_ONCE):
            await app.order(config, "queue retry", {"ids": ids[start : start + _AT_ONCE]})
        return await _wait_until_empty(view, deadline)
    finally:
        await view.close()


def _undo(config: Path) -> None:
    asyncio.run(app.order(config, "drain", {"undo": True}))
    say("The gateway takes mail again.")


def _ask_to_undo(config: Path) -> None:
    """After Ctrl-C: a gateway that is left draining refuses all mail until somebody notices."""
    say("", error=True)
    if sys.stdin.isatty() and typer.confirm("The gateway takes no new mail. Let it take mail again?", err=True):
        _undo(config)
    else:
        say("The gateway still takes no new mail: `waypost spool drain --undo` lets it take mail again.", error=True)


async def _wait_until_empty(view: ShardedView, deadline: float) -> int:
    quiet = most = told = 0
    with _progress() as progress:
        task = progress.add_task("transfers that wait", total=None)
        while True:
            waiting = await view.counts()
            left = sum(waiting.values())
            most, quiet = max(most, left), 0 if left else quiet + 1
            progress.update(task, completed=most - left, total=most or None)
            if quiet >= _QUIET or time.monotonic() > deadline:
                break
            if progress.disable and time.monotonic() > told + _TELL_EVERY:
                told = int(time.monotonic())
                say(f"{left} transfers wait.", error=True)
            await asyncio.sleep(1)
    by_backend = ", ".join(f"{count} for {name}" for name, count in sorted(waiting.items()))
    print_text(f"Still waiting: {by_backend}." if waiting else "Nothing waits any more.")
    held = {entry.id for entry in await view.held(_ALL)}
    held |= {entry.message_id for entry in await view.queue(_ALL) if entry.held}
    if held:
        print_text(f"{len(held)} messages are held: `waypost hold list` and `waypost queue list --held` show them.")
    return int(bool(waiting))


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    return Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
