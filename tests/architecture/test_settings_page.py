"""docs/settings.md lists every setting of the configuration, each with its default, and no other."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path

from gateway.config.model import Config
from gateway.config.values import Section

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "settings.md").read_text("utf-8")
REQUIRED = "required"


def section_of(annotation: object) -> type[Section] | None:
    """The section that a field holds, once or several times; None for a setting."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    found = [section_of(part) for part in typing.get_args(annotation)]
    return next((section for section in found if section is not None), None)


def heading(path: str, annotation: object) -> str:
    """The section in TOML form."""
    kind = typing.get_origin(annotation)
    return f"[[{path}]]" if kind is tuple else f"[{path}.NAME]" if kind is dict else f"[{path}]"


def written(value: object) -> str:
    """A default as the page writes it: blank for an empty one."""
    if value in ("", (), {}, None):
        return ""
    if isinstance(value, float):
        value = int(value)
    if isinstance(value, tuple):
        value = [int(one) if isinstance(one, float) else one for one in value]
    return "`" + json.dumps(str(value) if isinstance(value, Path) else value) + "`"


def settings(section: type[Section], title: str, path: str, given: Section | None) -> Iterator[tuple[str, str, str]]:
    """(section, setting, default) of a section and those in it. `given` has the defaults when its holder sets some."""
    for name, field in section.model_fields.items():
        below = section_of(field.annotation)
        if below is not None:
            inner = f"{path}.{name}" if path else name
            default = field.default if isinstance(field.default, Section) else None
            yield from settings(below, heading(inner, field.annotation), inner, default)
        elif (title, name) == ("[server]", "workers"):
            yield title, name, "one for each core"
        elif given is not None:
            yield title, name, written(getattr(given, name))
        else:
            yield (
                title,
                name,
                REQUIRED if field.is_required() else written(field.get_default(call_default_factory=True)),
            )


def page_rows() -> Iterator[tuple[str, str, str]]:
    title = ""
    for line in PAGE.splitlines():
        if line.startswith("## `"):
            title = line[4:-1]
        elif row := re.match(r"\| `([a-z_]+)` \| (.*?) ?\| .+ \|$", line):
            yield title, row[1], row[2]


def test_every_setting_stands_there_with_its_default() -> None:
    assert sorted(page_rows()) == sorted(settings(Config, "", "", None))


def test_a_page_without_rows_would_be_noticed() -> None:
    assert len(list(settings(Config, "", "", None))) > 100
