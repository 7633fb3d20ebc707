"""A text file written by a person, read whole and within limits, or refused with the place of its fault.

Only regular files are read: reading a pipe could wait without end, and a device has no end. Line ends are LF or CRLF:
some readers do not end a line at a lone CR, so a rule after it would vanish in a comment. One byte order mark at the
start, as some editors write it, is ignored.
"""

from __future__ import annotations

import os
import pwd
import re
import stat
from pathlib import Path

MOST_OCTETS = 4_194_304
"""Of a configuration or a rule file."""
_MOST_PARTS = 64
"""Of one dotted key: each is a table in the one before, and readers nest as deep."""
_BARE_CR = re.compile(r"\r(?!\n)")
_LONG_KEY = re.compile(r"(?:[^\s.=#\"'\[\]{},]+[ \t]*\.[ \t]*){" + str(_MOST_PARTS) + "}")


def tell_unreadable(path: Path, error: OSError) -> tuple[str, str]:
    """The problem of a file that cannot be read, and the fix: for a missing right, the user who needs it."""
    problem = f"cannot read {path}: {error.strerror}"
    if not isinstance(error, PermissionError):
        return problem, "create it or fix its path"
    return problem, f"let {name_user()}, who runs this command, and the gateway's user read it"


def name_user() -> str:
    """The user of this process."""
    try:
        return f"user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"uid {os.geteuid()}"


class TextUnfit(ValueError):
    """The file cannot be used; `problem` is the reason, `fix` the remedy, `line` the place."""

    def __init__(self, path: Path, problem: str, fix: str, line: int = 1) -> None:
        super().__init__(f"{path}:{line}: {problem}; {fix}")
        self.problem = problem
        self.fix = fix
        self.line = line


def read_octets(path: Path, most: int = MOST_OCTETS) -> bytes:
    """The content. Raises TextUnfit."""
    try:
        # Without this flag, opening a pipe would wait for a writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise TextUnfit(path, "is not a regular file", "name a file, not a pipe, a device or a directory")
            octets = stream.read(most + 1)
    except IsADirectoryError:
        raise TextUnfit(path, "is a directory", "name a file in it") from None
    except OSError as error:
        if isinstance(error, PermissionError):
            raise TextUnfit(path, *tell_unreadable(path, error)) from None
        raise TextUnfit(path, f"cannot read it: {error.strerror}", "create it or fix its path") from None
    except TextUnfit:
        raise
    except ValueError:  # a NUL in the name
        raise TextUnfit(path, "cannot read it: no file has such a name", "fix its path") from None
    if len(octets) > most:
        raise TextUnfit(path, f"is larger than {most} octets", "divide it, or name another file")
    return octets


def read_text(path: Path, most: int = MOST_OCTETS, toml: bool = False) -> str:
    """The text. Raises TextUnfit."""
    octets = read_octets(path, most)
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise TextUnfit(path, "is not UTF-8 text", "save it as UTF-8", line) from None
    found = _BARE_CR.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise TextUnfit(path, "has a CR that ends no line", "save it with line ends LF or CRLF", line)
    found = _LONG_KEY.search(text) if toml else None
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise TextUnfit(path, f"has a key of more than {_MOST_PARTS} parts", "write it shorter", line)
    return text
