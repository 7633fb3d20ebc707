"""The `waypost` command: options in, text or JSON out. What it does is done by `app` and `tools`.

Each module has one group of commands and is listed here in one line. Only the module of the command that was asked for
is imported, so that a tool that looks at a file starts at once.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import typer

from gateway.cli.options import fail, group

MODULES = (
    # module, the name of its group ("" when its commands stand for themselves), those commands
    ("cli.version", "", "version"),
    ("cli.service", "", "serve reload check init demo send-sample"),
    ("cli.messages", "", "explain simulate"),
    ("diagnosis.cli.autopsy", "", "autopsy"),
    ("diagnosis.cli.diagnosis", "", "headers bounce"),
    ("diagnosis.cli.spf", "spf", ""),
    ("diagnosis.cli.dmarc", "dmarc", ""),
    ("diagnosis.cli.dkim", "dkim", ""),
    ("cli.policy", "policy", ""),
    ("cli.queue", "queue", ""),
    ("cli.spool", "spool", ""),
    ("cli.hold", "hold", ""),
    ("cli.senders", "", "senders"),
    ("cli.replay", "", "replay promote"),
    ("cli.key", "key", ""),
    ("cli.user", "user", ""),
    ("cli.outbound", "outbound", ""),
)


def main() -> None:
    """Entry point. A mistake of the user's is a message and exit status 2, never a traceback."""
    try:
        load_commands(sys.argv[1:])()
    except Exception as error:
        text = _describe_mistake(error)
        if text is None:
            raise
        fail(text)


def load_commands(words: Sequence[str]) -> typer.Typer:
    """The commands of the module that the first word asks for; all of them when it asks for none, as `--help` does."""
    wanted = words[0] if words else ""
    found = [row for row in MODULES if wanted in (row[1] or row[2]).split()]
    commands = group(
        "An SMTP relay gateway that judges each message once, at the true edge, and changes no byte of it."
    )
    for module, name, _ in found or MODULES:
        commands.add_typer(importlib.import_module(f"gateway.{module}").commands, name=name or None)
    return commands


def _describe_mistake(error: Exception) -> str | None:
    """What to tell the user; None for an error of our own. The classes are imported only now that one is needed."""
    from gateway.admin.control import CommandRefused
    from gateway.config.mistakes import ConfigErrors
    from gateway.policy.rules import RuleErrors
    from gateway.spool.disk import SpoolUnusable

    if isinstance(error, ConfigErrors | RuleErrors):
        return error.format()
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) if isinstance(error, CommandRefused | SpoolUnusable | OSError | ValueError) else None
