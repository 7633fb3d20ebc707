"""`waypost dmarc check` and `advise`: the record that applies, every default in it, and the next step."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group
from rich.text import Text

from gateway.diagnosis.records import texts
from gateway.diagnosis.records.dmarc_survey import Survey
from gateway.diagnosis.records.typography import repair
from gateway.model.result import DmarcPolicy
from gateway.model.value import Value
from gateway.tools.narrative import clean
from gateway.tools.results import Json, render_section, safe_json


class RecordAdvice(Value):
    """The next steps, in order, and the record to publish."""

    steps: tuple[str, ...]
    name: str
    record: str
    """Empty when the present one needs no change."""


def survey_json(survey: Survey) -> dict[str, Json]:
    """Everything, for programs."""
    result = survey.result
    return safe_json(
        {
            "domain": survey.domain,
            "record": survey.record or None,
            "policy_domain": result.policy_domain or None,
            "organizational_domain": result.organizational_domain or None,
            "published": result.published.value if result.published else None,
            "policy": result.policy.value if result.policy else None,
            "reason": result.reason if result.published is None else None,
            "tags": [
                {"name": tag.name, "value": tag.value, "source": tag.source, "meaning": tag.meaning}
                for tag in survey.tags
            ],
            "walk": [
                {"name": f"_dmarc.{one.name}", "status": one.status, "records": list(one.records)}
                for one in survey.places
            ],
            "lints": [{"weight": one.weight, "text": one.text} for one in survey.lints],
            "destinations": [
                {"host": one.host, "allowed": one.allowed, "record": one.record} for one in survey.destinations
            ],
        }
    )


def render_survey(survey: Survey) -> Group:
    """For people: the applicable record, every tag with its value, then the faults to fix."""
    parts = [Text(texts.DMARC_TITLE.format(domain=survey.domain), "bold")]
    if survey.record:
        parts.append(Text(clean(f"  _dmarc.{survey.result.policy_domain}: {survey.record}")))
    parts.append(Text(f"  {clean(_outcome(survey))}", "" if survey.sound else "bold red"))
    parts += render_section("Tags", _tag_lines(survey))
    parts += render_section(texts.DMARC_HEADINGS["names"], _place_lines(survey))
    parts += render_section(texts.DMARC_HEADINGS["reports"], _destination_lines(survey))
    parts += [Text()] if survey.lints else []
    for lint in sorted(survey.lints, key=lambda lint: lint.weight):
        style = "bold red" if lint.weight == "error" else "yellow"
        parts.append(Text(clean(f"{lint.weight.capitalize()}: {lint.text}"), style))
    return Group(*parts)


def _outcome(survey: Survey) -> str:
    result = survey.result
    if result.policy is None:
        return texts.NO_POLICY.format(reason=result.reason or "no DMARC record")
    elsewhere = result.policy_domain != survey.domain
    return texts.OUTCOME.format(
        domain=survey.domain,
        deed=texts.DEEDS[result.policy],
        tag=survey.applies,
        policy=result.policy,
        place=(texts.OF_DOMAIN.format(domain=result.policy_domain) if elsewhere else "")
        + (texts.LOWERED if result.testing else ""),
    )


def _tag_lines(survey: Survey) -> Iterator[str]:
    width = max((len(tag.value) for tag in survey.tags), default=0)
    for tag in survey.tags:
        value = (tag.value or "-").ljust(min(width, 40))
        yield f"{tag.name:<6} {value}  {tag.source:<8} {tag.meaning}"


def _place_lines(survey: Survey) -> Iterator[str]:
    for place in survey.places:
        yield f"_dmarc.{place.name}: {'; '.join(place.records) or place.status}"


def _destination_lines(survey: Survey) -> Iterator[str]:
    for one in survey.destinations:
        yield texts.DESTINATIONS[one.allowed].format(host=one.host, record=one.record)


def advise(survey: Survey) -> RecordAdvice:
    """The next steps towards a policy that protects the domain and loses no mail."""
    name = f"_dmarc.{survey.domain}"
    own = survey.result.policy_domain == survey.domain
    if not survey.sends:
        steps = [texts.STEPS["silent"]]
        done = own and survey.sound and survey.result.policy is DmarcPolicy.REJECT
        return RecordAdvice(tuple(steps), name, "" if done else _write(survey, "reject"))
    if survey.meant:
        return RecordAdvice((texts.STEPS["mend"].format(error=survey.errors[0].text.rstrip(".")),), name, survey.meant)
    if survey.record and not own:
        place = survey.result.policy_domain
        return RecordAdvice((texts.STEPS["elsewhere"].format(place=place, domain=survey.domain),), name, "")
    if not survey.record:
        steps = [texts.STEPS["first"], *_groundwork(survey), texts.STEPS["read"]]
        return RecordAdvice(tuple(steps), name, f"v=DMARC1; p=none; rua=mailto:dmarc-reports@{survey.domain}")
    steps = []
    if survey.errors:
        steps.append(texts.STEPS["mend"].format(error=survey.errors[0].text.rstrip(".")))
    steps += _groundwork(survey)
    policy = survey.result.published or DmarcPolicy.NONE
    reports = any(tag.name == "rua" and tag.value for tag in survey.tags)
    if not reports:
        steps.append(texts.STEPS["rua"])
    if policy is not DmarcPolicy.NONE and any(tag.name == "sp" and tag.value == "none" for tag in survey.tags):
        steps.append(texts.STEPS["sp"])
    following = _NEXT[policy] if reports and not survey.errors else policy
    steps += [texts.STEPS["read"]] if policy is DmarcPolicy.NONE else []
    if following is not policy:
        steps.append(texts.STEPS[following])
    elif policy is DmarcPolicy.REJECT and not survey.errors:
        steps.append(texts.STEPS["done"])
    record = _write(survey, following.value)
    return RecordAdvice(tuple(steps), name, "" if _tags(record) == _tags(survey.record) else record)


_NEXT = {
    DmarcPolicy.NONE: DmarcPolicy.QUARANTINE,
    DmarcPolicy.QUARANTINE: DmarcPolicy.REJECT,
    DmarcPolicy.REJECT: DmarcPolicy.REJECT,
}


def _groundwork(survey: Survey) -> Iterator[str]:
    if not survey.spf:
        yield texts.STEPS["spf"]
    refused = [one.host for one in survey.destinations if one.allowed is False]
    if refused:
        name = f"{survey.domain}._report._dmarc.HOST"
        yield texts.STEPS["permit"].format(hosts=", ".join(refused), name=name)


def _write(survey: Survey, policy: str) -> str:
    """The record with a policy, without obsolete tags. Non-existent subdomains send no mail, so np= refuses them."""
    kept = {tag.name: tag.value for tag in survey.tags if tag.source == "record"}
    tags = {"v": "DMARC1", "p": policy}
    if kept.get("sp") not in (None, "none", policy):
        tags["sp"] = kept["sp"]
    tags["np"] = "reject"
    tags |= {name: kept[name] for name in ("adkim", "aspf", "psd", "fo") if name in kept}
    rua = repair(kept.get("rua", "")) or f"mailto:dmarc-reports@{survey.domain}"
    tags["rua"] = rua if ":" in rua else f"mailto:{rua}"
    if "ruf" in kept:
        tags["ruf"] = kept["ruf"]
    return "; ".join(f"{name}={value}" for name, value in tags.items())


def _tags(record: str) -> set[str]:
    return {part.replace(" ", "").lower() for part in record.split(";") if part.strip()}


def advice_json(survey: Survey, advice: RecordAdvice) -> dict[str, Json]:
    return safe_json(
        {
            "domain": survey.domain,
            "present": survey.record or None,
            "steps": list(advice.steps),
            "name": advice.name,
            "record": advice.record or None,
        }
    )


def render_advice(survey: Survey, advice: RecordAdvice) -> Group:
    """Numbered steps, and the line to publish."""
    now = texts.ADVISE_NOW.format(record=survey.record or "no record")
    parts = [Text(texts.DMARC_TITLE.format(domain=survey.domain), "bold"), Text(clean(f"  {now}")), Text()]
    parts += [Text(clean(f"{number}. {step}")) for number, step in enumerate(advice.steps, 1)]
    if advice.record:
        parts += [Text(), Text("Publish", "bold"), Text(clean(f'  {advice.name}. TXT "{advice.record}"'), "green")]
    return Group(*parts)
