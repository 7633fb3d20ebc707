"""`waypost find`: where is this message. And the index that makes it quick."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from gateway import app
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, fail, group, print_json, print_text, warn

if TYPE_CHECKING:
    from rich.progress import TaskID

    from gateway.config.model import Config
    from gateway.model.search import FoundMessage, MessageQuery

commands = group("Where a message is.")
index = group("The index of `waypost find`: derived from the spool, and built again at any time.")
commands.add_typer(index, name="index")

_EVERY = 1.0
"""Seconds between two looks of --follow."""
_LATE = 10.0
"""Seconds within which a message that has come earlier may still be seen for the first time."""
_NEW = 1000
"""Messages that one look of --follow shows at most."""


Words = Annotated[
    list[str] | None,
    typer.Argument(help="Addresses or their beginnings, domains, client addresses or networks, ids, Message-IDs."),
]
Sender = Annotated[str, typer.Option("--from", help="MAIL FROM or From: address or domain; <> is the null sender.")]
Rcpt = Annotated[str, typer.Option("--rcpt", help="A recipient: an address, or a domain.")]
AnyDomain = Annotated[str, typer.Option("--domain", help="A domain of sender or recipient, and those below it.")]
MessageId = Annotated[str, typer.Option("--message-id", help="The Message-ID.")]
Subject = Annotated[str, typer.Option("--subject", help="Words of the subject, with [search] subjects.")]
Ip = Annotated[str, typer.Option("--ip", help="The client's address, or its network.")]
Since = Annotated[str, typer.Option("--since", help="From this time on: 10:15, 2026-11-30T10:15, yesterday, 2h.")]
Until = Annotated[str, typer.Option("--until", help="Up to this time.")]
State = Annotated[str, typer.Option("--state", help="refused, greylisted, held, waiting, delivered, failed ...")]
Dmarc = Annotated[str, typer.Option("--dmarc", help="The DMARC result.")]
Spf = Annotated[str, typer.Option("--spf", help="The SPF result.")]
Rule = Annotated[str, typer.Option("--rule", help="The rule that decided.")]
Backend = Annotated[str, typer.Option("--backend", help="The route.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most.")]
After = Annotated[str, typer.Option("--after", help="The next page: the cursor that the last one gave.")]
Follow = Annotated[bool, typer.Option("--follow", help="Show what comes in from now on, until Ctrl-C.")]


@commands.command()
def find(
    words: Words = None,
    config: ConfigOption = DEFAULT_CONFIG,
    sender: Sender = "",
    rcpt: Rcpt = "",
    domain: AnyDomain = "",
    message_id: MessageId = "",
    subject: Subject = "",
    ip: Ip = "",
    since: Since = "",
    until: Until = "",
    state: State = "",
    dmarc: Dmarc = "",
    spf: Spf = "",
    rule: Rule = "",
    backend: Backend = "",
    limit: Limit = 50,
    after: After = "",
    follow: Follow = False,
    as_json: JsonOption = False,
) -> None:
    """Find messages: accepted, refused, deferred, greylisted and held ones alike, the newest first.

    Exit status 0 when something was found, 1 when nothing was. It works while no gateway runs, too.
    """
    from gateway.tools.find import message_json, read_query, render_found, render_nothing

    settings, now = app.read_partly(config, warn).config, time.time()
    texts = {"sender": sender, "rcpt": rcpt, "domain": domain, "message_id": message_id, "subject": subject, "ip": ip}
    texts |= {"since": since, "until": until, "state": state, "dmarc": dmarc, "spf": spf, "rule": rule}
    query = read_query({**texts, "backend": backend}, words or (), now)
    if follow:
        _follow(settings, query, now, as_json)
        return
    with _show_progress() as tell:
        page, bounds = app.find_mail(settings, query, limit, after, tell)
    node, subjects = settings.server.hostname, settings.search.subjects
    if as_json:
        messages = [message_json(one, node, subjects) for one in page.messages]
        print_json({"messages": messages, "next": page.next or None})
    elif page.messages:
        print_text(render_found(page.messages, subjects, page.next))
    else:
        print_text(render_nothing(query, bounds.oldest, _look_elsewhere(settings, query), subjects, now))
    sys.exit(int(not page.messages))


def _look_elsewhere(settings: Config, query: MessageQuery) -> FoundMessage | None:
    """The last message that the same query finds at any time."""
    from gateway.tools.find import widen

    wide = widen(query)
    if wide is None:
        return None
    page, _ = app.find_mail(settings, wide, 1, "", lambda doing, done, total: None)
    return page.messages[0] if page.messages else None


def _follow(settings: Config, query: MessageQuery, began: float, as_json: bool) -> None:
    """New messages as they come, each once, the oldest first."""
    from gateway.model.value import replace
    from gateway.tools.find import message_json, render_found

    shown: dict[str, float] = {}
    try:
        while True:
            late = replace(query, since=max(began, time.time() - _LATE, query.since or 0.0))
            page, _ = app.find_mail(settings, late, _NEW, "", lambda doing, done, total: None)
            new = [one for one in reversed(page.messages) if one.id not in shown]
            if new and as_json:
                for one in new:
                    print_json(message_json(one, settings.server.hostname, settings.search.subjects), None)
            elif new:
                print_text(render_found(new, settings.search.subjects, "", follows=bool(shown)))
            shown.update({one.id: one.received for one in new})
            shown = {id: at for id, at in shown.items() if at > time.time() - 10 * _LATE}
            time.sleep(_EVERY)
    except KeyboardInterrupt:
        return


@index.command("rebuild")
def index_rebuild(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Build the index anew from the spool. While the gateway runs, its control plane does it, and mail goes on."""
    settings = app.read_partly(config, warn).config
    with _show_progress() as tell:
        count = asyncio.run(app.rebuild_index(settings, tell))
    if count is None:
        fail("The index was not built: `waypost status` says why.", 1)
    if as_json:
        print_json({"messages": count})
    else:
        print_text(f"The index has {count} messages.")


@contextmanager
def _show_progress() -> Iterator[app.Tell]:
    """A bar on standard error, once there is anything to wait for."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(doing: str, done: int, total: int) -> None:
            if total <= _FEW:
                return
            if doing not in tasks:
                tasks[doing] = bar.add_task(doing)
            bar.update(tasks[doing], completed=done, total=total)

        yield tell


_FEW = 2000
"""Traces that are read so quickly that nothing is shown."""
