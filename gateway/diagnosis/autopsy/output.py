"""An autopsy as JSON for programs (INTERFACES: keys are always present; null or [] when empty)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from gateway.diagnosis.autopsy.differences import Difference
from gateway.diagnosis.autopsy.examination import Autopsy
from gateway.diagnosis.autopsy.hops import Culprit
from gateway.diagnosis.autopsy.specimen import Specimen
from gateway.tools.results import Json, safe_json


def autopsy_json(found: Autopsy, specimen: Specimen, differences: Sequence[Difference] | None) -> dict[str, Json]:
    """The result; `differences` only when an original was given for comparison."""
    repaired = None if found.repaired is None else specimen.restore(found.repaired)
    tree: dict[str, Json] = {
        "signatures": _signatures(found),
        "status": found.status.value,
        "mutations": _mutations(found, specimen),
        "verified_by": found.verified_by.value if found.verified_by else None,
        "part": found.part.value if found.part else None,
        "original_sha256": specimen.sha256,
        "repaired_sha256": None if repaired is None else hashlib.sha256(repaired).hexdigest(),
        "hop": _hop(found.culprit) if found.culprit else None,
        "grounds": [suspicion.ground for suspicion in found.suspicions],
        "still_failing": found.left.value if found.left else None,
        "trials": found.trials,
        "complete": found.complete,
        "newlines": specimen.newlines.value,
    }
    if differences is not None:
        tree["differences"] = [_difference(one) for one in differences]
    return safe_json(tree)


def _hop(culprit: Culprit) -> dict[str, Json]:
    return {"name": culprit.name, "grounds": list(culprit.grounds), "afterwards": culprit.afterwards}


def _signatures(found: Autopsy) -> list[Json]:
    return [
        {
            "index": number,
            "domain": result.domain or None,
            "selector": result.selector or None,
            "result": result.result.value,
            "reason": result.reason or None,
        }
        for number, result in enumerate(found.results)
    ]


def _mutations(found: Autopsy, specimen: Specimen) -> list[Json]:
    """The changes, proven or suspected: `status` tells which, and a suspicion has no places."""
    rows: list[Json] = []
    for step in found.steps:
        places: list[Json] = []
        for place in step.places:
            offset, length = specimen.place(*place)
            places.append({"offset": offset, "length": length})
        rows.append({"id": step.entry.id, "name": step.entry.name, "places": places})
    suspected = {suspicion.entry.id: suspicion.entry for suspicion in found.suspicions}
    rows += [{"id": entry.id, "name": entry.name, "places": []} for entry in suspected.values()]
    return rows


def _difference(one: Difference) -> Json:
    return {
        "original_line": one.original_line,
        "original": [_text(line) for line in one.original],
        "line": one.line,
        "lines": [_text(line) for line in one.lines],
    }


def _text(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace")
