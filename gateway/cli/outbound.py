"""`waypost outbound`: the senders and domains that are suspended."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from gateway import app
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, fail, group, print_json, print_text, say, warn

if TYPE_CHECKING:
    from gateway.config.load import PartialConfig

commands = group("Who may not send through us for now.")

NameArgument = Annotated[str, typer.Argument(help="The name of a [\\[sender]] or [\\[tenant]], a login, or a domain.")]


@commands.command()
def suspended(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List who may not send, since when, and why."""
    from rich.text import Text

    from gateway.service.sending_limits import Suspensions
    from gateway.tools.results import show_time

    found = Suspensions(app.read_partly(config, warn).config.server.spool).all()
    if as_json:
        print_json([{"account": one.account, "since": one.since, "reason": one.reason} for one in found])
        return
    for one in found:
        print_text(Text(f"{one.account}, since {show_time(one.since)}: {one.reason}"))
    if not found:
        say("Everybody may send.")


@commands.command()
def resume(name: NameArgument, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Let a sender or domain send again."""
    from gateway.service.sending_limits import Suspensions
    from gateway.tools.users import find_account, tell_nearest

    settings = app.read_partly(config, warn)
    suspensions = Suspensions(settings.config.server.spool)
    known, _ = find_account(name, settings.config, None)
    removed = [suspensions.remove(account) for account in {f"sender {known}", f"sender {name}", f"domain {name}"}]
    if True not in removed:
        names = [one.account.partition(" ")[2] for one in suspensions.all()]
        fail(f"{name} is not suspended{tell_nearest(name, names)}", 1)
    say(f"{name} may send again.")


@commands.command()
def suspend(
    name: NameArgument,
    domain: Annotated[bool, typer.Option("--domain", help="NAME is a domain of ours: nobody may send as it.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Let a sender or domain send nothing more, at once, until `resume`."""
    from gateway.service.sending_limits import Suspension, Suspensions

    settings = app.read_partly(config, warn)
    account = _find_domain(name, settings) if domain else _find_sender(name, settings)
    if not Suspensions(settings.config.server.spool).add(Suspension(account, time.time(), "by an admin")):
        fail(f"{name} is suspended already", 1)
    say(f"{name} may not send: 451 4.7.1 until `waypost outbound resume {name}`.")


def _find_domain(name: str, settings: PartialConfig) -> str:
    from gateway.mail.domain import a_label
    from gateway.tools.users import tell_nearest

    ours = [one.name for one in settings.config.domain]
    found = a_label(name) or name
    if found not in ours:
        _refuse(f"{name} is not a domain of ours{tell_nearest(name, ours) or f'; there are: {_list(ours)}'}", settings)
    return f"domain {found}"


def _find_sender(name: str, settings: PartialConfig) -> str:
    from gateway.config.listeners import read_users
    from gateway.config.text_file import TextUnfit
    from gateway.tools.users import find_account

    submission = settings.config.submission
    users: list[str] | None = None
    if submission.ldap is None:
        with suppress(TextUnfit):
            users = list(read_users(submission.users)[0]) if submission.users else []
    found, complaint = find_account(name, settings.config, users)
    if complaint:
        _refuse(complaint, settings)
    return f"sender {found or name}"


def _refuse(complaint: str, settings: PartialConfig) -> None:
    """Only where all senders are known: whoever is not in a broken configuration may be one all the same."""
    if settings.lacking.intersection(("domain", "sender", "tenant", "submission")):
        warn(f"warning: {complaint}")
    else:
        fail(complaint)


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"
