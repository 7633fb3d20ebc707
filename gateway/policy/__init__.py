"""The judgement: from facts to a decision, pure. The rules are data in `policies/`; nothing here reads a file.

In: results of the checks, ingress, envelope and header; the text of rule files. Out: a `Decision`, a route for each
recipient, or `RuleErrors` with file, line and caret for rules with mistakes. Imported by `plan`, `config` and every
floor above.

    facts.py       the facts that rules may use, declared once and built in one place
    weighing.py    conclusions from the results: owner of the author domain, vouching parties, grounds, evidence
    grounds.py     grounds for rejecting, and evidence for an indirect way
    claims.py      the claims of a header: a list, a notification, our own other half
    sealers.py     trusted ARC sealers
    advice.py      the probable sender of a message that fails, and the remedy
    rules.py       a rule, a rule set, and their mistakes
    load.py        TOML text to a rule set
    draft.py       one [[rule]] table of it
    proof.py       examples asked, and the proof that a condition can decide
    soundness.py   conditions that fail when they are asked
    expression.py  conditions (the only file that imports CEL)
    evaluate.py    facts and rules to a decision
    routing.py     recipients to backends
    sender.py      the senders that may send through us
    flow.py        flow control and retries towards one backend
"""
