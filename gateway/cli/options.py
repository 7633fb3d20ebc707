"""The common parts of the commands: options, JSON on standard output, and the exit after a mistake of the user's."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from gateway.mail.domain import a_label
from gateway.mail.printable import clean, clean_json

if TYPE_CHECKING:
    from rich.console import RenderableType

DEFAULT_CONFIG = Path("/etc/waypost/gateway.toml")

ConfigOption = Annotated[Path, typer.Option("--config", help="The configuration file.", envvar="WAYPOST_CONFIG")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
FileArgument = Annotated[Path, typer.Argument(help="The file; - is standard input.", allow_dash=True)]
RawOption = Annotated[bool, typer.Option("--raw", help="Never convert line ends.")]
DomainArgument = Annotated[str, typer.Argument(help="The domain, in its own letters or as A-labels.")]
DnsOption = Annotated[
    Path | None, typer.Option("--dns", help="Answer DNS from this zone file; no network is used.", metavar="ZONE")
]
_WIDEST = 100_000
"""More columns than any table needs."""


def group(help: str) -> typer.Typer:
    """A group of commands."""
    return typer.Typer(
        help=help,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def print_json(tree: Any, indent: int | None = 2) -> None:
    print(clean_json(json.dumps(tree, ensure_ascii=False, indent=indent)), flush=True)


def say(text: str, error: bool = False) -> None:
    """Lines for people, on standard output or standard error. Text from an argument or a file cannot move the
    cursor."""
    print("\n".join(map(clean, text.split("\n"))), file=sys.stderr if error else sys.stdout)


def print_text(text: RenderableType) -> None:
    """For people: no line is broken and no cell of a table is cut, even on a narrow terminal, so that an address or an
    id can be copied."""
    from rich.console import Console

    Console(highlight=False, soft_wrap=True, width=_WIDEST).print(text)


def read_domain(text: str) -> str:
    """A DOMAIN argument as A-labels. Raises ValueError."""
    domain = a_label(text.strip())
    if domain is None:
        raise ValueError(f"{text!r} is no domain name")
    return domain


def read_file(file: Path) -> bytes:
    """The octets of a FILE argument. Raises OSError."""
    return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()


def warn(text: str) -> None:
    """Beside an answer that is given all the same."""
    say(text, error=True)


def fail(message: str, status: int = 2) -> NoReturn:
    """End with a message on standard error."""
    say(message, error=True)
    sys.exit(status)
