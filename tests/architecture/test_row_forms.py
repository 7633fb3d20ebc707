"""The contents of a row may change only so that every program of the same format number reads it: a new field has a
default, and nothing else changes. Any other change takes a further version in schema.sql, so that an older program
refuses the spool instead of holding rows that it cannot read. `row_forms.json` has the forms as the format's first
program wrote them; `python -m tests.architecture.test_row_forms` writes it for a new format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from gateway.model.delivery import Act, Attempt, Ending, Trace, Transfer
from gateway.model.envelope import Recipient
from gateway.model.message import Evidence, Span
from gateway.spool.queries import STEPS

FORMS = Path(__file__).with_name("row_forms.json")
STORED = (Trace, Evidence, Transfer, Recipient, Span, Act, Attempt, Ending)


def forms() -> dict[str, Any]:
    """The form of each stored noun, those inside it written out; the names of classes are not stored."""
    _, schemas = msgspec.json.schema_components(STORED)
    return {noun.__name__: _write_out(schemas[noun.__name__], schemas) for noun in STORED}


def _write_out(schema: Any, schemas: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_write_out(one, schemas) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _write_out(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "properties" in schema:
        fields = {name: _write_out(one, schemas) for name, one in schema["properties"].items()}
        return {"fields": fields, "required": sorted(schema.get("required", ()))}
    return {
        key: _write_out(one, schemas) for key, one in schema.items() if key not in ("description", "title", "default")
    }


def find_changes(before: Any, now: Any, place: str = "") -> list[str]:
    """Changes that an older program of the same format could not read."""
    if isinstance(before, dict) and isinstance(now, dict):
        if "fields" in before and "fields" in now:
            changes = [f"{place}: another choice of fields must be there"] * (before["required"] != now["required"])
            return changes + _compare(before["fields"], now["fields"], place)
        if set(before) == set(now) or not place:
            return _compare(before, now, place)
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [one for at, old in enumerate(before) for one in find_changes(old, now[at], place)]
    return [] if before == now else [f"{place} is another"]


def _compare(before: dict[str, Any], now: dict[str, Any], place: str) -> list[str]:
    changes = [f"{place}.{name} is gone" for name in before if name not in now]
    return changes + [
        one for name, old in before.items() if name in now for one in find_changes(old, now[name], f"{place}.{name}")
    ]


def test_what_is_stored_can_be_read_by_every_program_of_this_format() -> None:
    recorded = json.loads(FORMS.read_text())
    assert recorded["format"] == len(STEPS), "write row_forms.json for the new format"
    assert find_changes(recorded["forms"], json.loads(json.dumps(forms()))) == []


def test_changes_are_found() -> None:
    now = json.loads(json.dumps(forms()))
    changed = json.loads(json.dumps(now))
    changed["Ending"]["fields"]["state"]["enum"].append("lost")
    changed["Transfer"]["fields"]["backend"] = {"type": "integer"}
    changed["Transfer"]["required"].append("attempts")
    changed["Transfer"]["fields"]["new"] = {"type": "string"}
    del changed["Act"]
    assert sorted(find_changes(now, changed)) == [
        ".Act is gone",
        ".Ending.state.enum is another",
        ".Transfer.backend.type is another",
        ".Transfer: another choice of fields must be there",
    ]


if __name__ == "__main__":
    FORMS.write_text(json.dumps({"format": len(STEPS), "forms": forms()}, indent=1, sort_keys=True) + "\n")
