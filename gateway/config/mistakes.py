"""Mistakes in the configuration, for the person who fixes them."""

from __future__ import annotations

from pathlib import Path

from gateway.model.place import KeyPath, Place, nearest
from gateway.model.value import Value, replace


class Problem(Value):
    """A fault, before its place in the file is known."""

    path: KeyPath
    problem: str
    fix: str = ""
    file: Path | None = None
    """A file other than the configuration, such as an address map; `line` is then its line."""
    line: int = 0


class Mistake(Value):
    """A fault and its place."""

    file: Path
    line: int
    column: int
    """0 when only the line is known."""
    setting: str
    """The setting's path, e.g. `listener[0].address`; empty for a fault of the file itself."""
    problem: str
    fix: str = ""

    def format(self) -> str:
        """One line: `file:line: setting: problem; fix`."""
        place = f"{self.file}:{self.line}" + (f":{self.column}" if self.column else "")
        said = f"{self.problem}; {self.fix}" if self.fix else self.problem
        return ": ".join(part for part in (place, self.setting, said) if part)


class ConfigErrors(Exception):
    """Every mistake found, in the order of the file."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__(mistakes)
        self.mistakes = mistakes

    def format(self) -> str:
        """One line for each mistake."""
        return "\n".join(mistake.format() for mistake in self.mistakes)

    def __str__(self) -> str:
        return self.format()


def tell_repeats(problem: Problem, count: int) -> Problem:
    """A problem that stands for `count` lines with the same fault."""
    if count < 2:
        return problem
    lines = "1 more line" if count == 2 else f"{count - 1} more lines"
    return replace(problem, problem=f"{problem.problem} (and on {lines})")


def merge_repeats(problems: list[Problem]) -> list[Problem]:
    """Each fault of [routing.addresses] once with its count; everything else as it is."""
    first: dict[tuple[str, str], int] = {}
    counts: dict[int, int] = {}
    kept: list[Problem] = []
    for one in problems:
        at = first.setdefault((one.problem, one.fix), len(kept)) if one.path[:2] == _ROWS else len(kept)
        counts[at] = counts.get(at, 0) + 1
        if at == len(kept):
            kept.append(one)
    return [tell_repeats(one, counts[at]) for at, one in enumerate(kept)]


_ROWS = ("routing", "addresses")


def place_problems(problems: list[Problem], file: Path, places: dict[KeyPath, Place]) -> ConfigErrors:
    """Give each problem its place. Problems of other files come last, in the order of their lines."""
    own, others = [], []
    for problem in merge_repeats(problems):
        setting = format_path(problem.path)
        if problem.file is not None:
            others.append(Mistake(problem.file, problem.line, 0, setting, problem.problem, problem.fix))
        else:
            line = nearest(places, problem.path).line
            own.append(Mistake(file, line, 0, setting, problem.problem, problem.fix))
    own.sort(key=lambda mistake: mistake.line)
    others.sort(key=lambda mistake: (str(mistake.file), mistake.line))
    return ConfigErrors((*own, *others))


def format_path(path: KeyPath) -> str:
    """`listener[0].address`."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        elif key.replace("-", "").replace("_", "").isalnum():
            text += f".{key}" if text else key
        else:
            text += f'."{key}"'
    return text
