"""Reads a Dockerfile: the few instructions ours uses, and an error for every other."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path

STEPS = {"RUN", "COPY", "WORKDIR"}
SETTINGS = {"VOLUME", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


@dataclass
class Stage:
    """One FROM and the instructions after it."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def working_directory(self) -> str:
        return next((argument for step, argument in reversed(self.steps) if step == "WORKDIR"), "/")

    def command(self, name: str) -> list[str]:
        """ENTRYPOINT, CMD or HEALTHCHECK's command, which must be in exec form."""
        text = self.settings[name]
        words = json.loads(text[text.index("[") :])
        assert all(isinstance(word, str) for word in words)
        return list(words)


def logical_lines(text: str) -> list[str]:
    """Instructions without comments, continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [line.strip() for line in "\n".join(lines).replace("\\\n", " ").splitlines()]


def parse(path: Path) -> list[Stage]:
    """The stages in order; the last one is the image."""
    stages: list[Stage] = []
    for line in logical_lines(path.read_text()):
        instruction, _, argument = line.partition(" ")
        argument = argument.strip()
        if instruction == "FROM":
            base, _, name = argument.partition(" AS ")
            stages.append(Stage(base, name))
        elif instruction in STEPS:
            stages[-1].steps.append((instruction, argument))
        elif instruction == "ENV":
            name, _, value = argument.partition("=")
            stages[-1].environment[name] = shlex.split(value)[0]
        elif instruction in SETTINGS:
            stages[-1].settings[instruction] = argument
        else:
            raise ValueError(f"{path}: cannot prove {instruction}")
    return stages


class Context:
    """The files that a build may COPY: those that .dockerignore admits."""

    def __init__(self, directory: Path) -> None:
        lines = [line.strip() for line in (directory / ".dockerignore").read_text().splitlines()]
        rules = [line for line in lines if line and not line.startswith("#")]
        assert rules[0] == "*", ".dockerignore must begin by leaving everything out"
        self.directory = directory
        self.let_in = {rule[1:] for rule in rules if rule.startswith("!")}
        self.left_out = [rule.removeprefix("**/") for rule in rules if rule.startswith("**/")]
        assert len(rules) == 1 + len(self.let_in) + len(self.left_out), ".dockerignore has a rule of another form"

    def source(self, name: str) -> Path:
        if Path(name).parts[0] not in self.let_in:
            raise ValueError(f"COPY {name}: .dockerignore leaves it out")
        return self.directory / name
