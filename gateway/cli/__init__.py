"""The `waypost` command: options in, text or JSON out. `app`, `tools` and `diagnosis` do the work.

The table lists every command, so that help is shown without loading one. Only the module of the requested command is
imported: a tool that reads a file starts at once.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from gateway import __version__

if TYPE_CHECKING:
    import typer


class CommandModule(NamedTuple):
    """One module of commands. With a group its commands are below the group's name, without one at the top level."""

    module: str
    group: str
    panel: str
    """The heading under which help lists them."""
    summaries: dict[str, str]
    """The group's name, or each command, with the first paragraph of its help."""


_RUN, _MAIL, _RULES, _SENDING = "The gateway", "Mail", "Rules", "Sending through the gateway"
_ALONE = "Tools that need no gateway"

MODULES = (
    CommandModule("cli.version", "", _RUN, {"version": "Print the version."}),
    CommandModule(
        "cli.service",
        "",
        _RUN,
        {
            "init": "Write a first configuration file with comments.",
            "check": "Check configuration and rules; each mistake is shown with its place.",
            "serve": "Run the gateway until SIGTERM.",
            "reload": "Have the running gateway read configuration, rules and maps again, and say what came of it.",
            "demo": "Run the demo: the gateway, two stand-in backends, a test CA and DNS, all below var/demo.",
            "send-sample": "Send sample messages to the running demo and show what became of each.",
        },
    ),
    CommandModule(
        "cli.status",
        "",
        _RUN,
        {
            "status": "Show whether mail comes in and goes out: routes, queue, disk, certificates, maps, alarms, "
            "workers.",
        },
    ),
    CommandModule("cli.spool", "spool", _RUN, {"spool": "The spool as a whole."}),
    CommandModule(
        "cli.find",
        "",
        _MAIL,
        {
            "find": "Find messages: accepted, refused, deferred, greylisted and held ones alike, the newest first.",
            "index": "The index of `waypost find`: derived from the spool, and built again at any time.",
        },
    ),
    CommandModule(
        "cli.messages",
        "",
        _MAIL,
        {
            "explain": "Tell the story of one message: what came in, what was found, what was decided and why, what "
            "became of it.",
            "simulate": "Judge a message file as if it came in now, without sending anything.",
        },
    ),
    CommandModule("cli.queue", "queue", _MAIL, {"queue": "What waits for delivery: look at it, and decide about it."}),
    CommandModule("cli.hold", "hold", _MAIL, {"hold": "Messages that a rule keeps here until an admin decides."}),
    CommandModule("cli.policy", "policy", _RULES, {"policy": "The rules, and what they can ask about."}),
    CommandModule(
        "cli.senders",
        "",
        _RULES,
        {
            "senders": "List every source of your domains' mail from outside: how often it passed and failed, what it "
            "seems to be, and the lines that would let it write as you."
        },
    ),
    CommandModule(
        "cli.replay",
        "",
        _RULES,
        {
            "replay": "List the past messages that these rules would decide otherwise. Works after content is purged; "
            "sends nothing.",
            "promote": "Show what a rule set would have done to past mail, then put it in force: in the "
            "configuration, and at once in the running gateway.",
        },
    ),
    CommandModule("cli.key", "key", _SENDING, {"key": "The DKIM keys that outgoing mail is signed with."}),
    CommandModule("cli.user", "user", _SENDING, {"user": "Who may log in at submission listeners."}),
    CommandModule("cli.outbound", "outbound", _SENDING, {"outbound": "Who may not send through us for now."}),
    CommandModule(
        "diagnosis.cli.diagnosis",
        "",
        _ALONE,
        {
            "headers": "Tell what the header of a message says: its way, who vouched for it, what went wrong and what "
            "to do.",
        },
    ),
    CommandModule(
        "diagnosis.cli.bounce",
        "",
        _ALONE,
        {
            "bounce": "Tell why a message bounced: the innermost refusal, who refused whom, and what to do and not to "
            "do.",
        },
    ),
    CommandModule(
        "diagnosis.cli.autopsy",
        "",
        _ALONE,
        {
            "autopsy": "Find out why a message's DKIM signature fails: what was changed, where, and by which hop.",
        },
    ),
    CommandModule("diagnosis.cli.spf", "spf", _ALONE, {"spf": "A domain's SPF record."}),
    CommandModule("diagnosis.cli.dmarc", "dmarc", _ALONE, {"dmarc": "A domain's DMARC record, and reports about it."}),
    CommandModule("diagnosis.cli.dkim", "dkim", _ALONE, {"dkim": "DKIM keys in DNS."}),
)
_ABOUT = "An SMTP relay gateway that judges each message once, at the true edge, and changes no byte of it."


def main() -> None:
    """Entry point. A mistake of the user's gives a message and exit status 2, never a traceback."""
    words = sys.argv[1:]
    if words in (["version"], ["--version"]):  # printed without a parser, which takes longer to load
        print(tell_version())
        return
    try:
        load_commands(words)(words)
    except Exception as error:
        text = _describe_mistake(error)
        if text is None:
            raise
        from gateway.cli.options import fail

        fail(text)


def tell_version() -> str:
    return f"waypost {__version__}"


def load_commands(words: Sequence[str]) -> typer.Typer:
    """The commands of the module that the first word names. If it names none, like `--help`, all of them with their
    summaries alone."""
    from gateway.cli.options import group

    commands = group(_ABOUT)
    for row in MODULES:
        if words and words[0] in row.summaries:
            module = importlib.import_module(f"gateway.{row.module}")
            commands.add_typer(module.commands, name=row.group or None)
            return commands
    for row in MODULES:
        for name, summary in row.summaries.items():
            commands.command(name, help=summary, rich_help_panel=row.panel)(_do_nothing)
    return commands


def _do_nothing() -> None:
    """Stands for a command in the list: a named command is loaded."""


def _describe_mistake(error: Exception) -> str | None:
    """The message for the user; None for an error of our own. The classes are imported only now that one is needed."""
    from gateway.admin.control import CommandRefused
    from gateway.config.mistakes import ConfigErrors
    from gateway.policy.rules import RuleErrors
    from gateway.ports import StoryUnreadable
    from gateway.spool.disk import SpoolUnusable

    if isinstance(error, ConfigErrors | RuleErrors):
        return error.format()
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return (
        str(error)
        if isinstance(error, CommandRefused | SpoolUnusable | StoryUnreadable | OSError | ValueError)
        else None
    )
