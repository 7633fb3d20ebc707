"""The checks of [seal], the backends that want a seal, and the key's file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gateway.config.keys import KeyUnusable, read_signing_key
from gateway.config.mistakes import Problem
from gateway.config.valid_sections import ValidSections


def check_seal(sections: ValidSections) -> Iterator[Problem]:
    """Everything wrong with sealing that a single setting does not show."""
    seal = sections.config.seal
    for name, backend in sections.config.backend.items():
        if backend.seal and seal is None and sections.is_complete("seal"):
            fix = "add [seal] with domain, selector and key, or remove this"
            yield Problem(("backend", name, "seal"), "there is no key to seal with", fix)
    if seal is not None:
        yield from _check_key(seal.key)


def _check_key(file: Path) -> Iterator[Problem]:
    path = ("seal", "key")
    try:
        read_signing_key(file.read_bytes())
    except FileNotFoundError:
        yield Problem(path, f"no file {file}", "create it or fix its path")
    except OSError as error:
        yield Problem(path, f"cannot read it: {error.strerror}", "give the gateway's user the right")
    except KeyUnusable as error:
        yield Problem(path, error.problem, error.fix)
