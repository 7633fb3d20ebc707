"""The judgement: from facts to a decision, pure. The rules are data in `policies/`; nothing here reads a file.

In: results of the checks, ingress, envelope and header; the text of rule files. Out: a `Decision`, a route for each
recipient, or `RuleErrors` with file, line and caret for rules that cannot be right. Imported by `plan`, `config` and
every floor above.

    vocabulary.py  the facts that rules may use, declared once
    facts.py       the facts of one session and its message, built in one place
    sources.py     senders, forwarders and networks that the admin named
    weighing.py    what follows from the results: whose the author domain is, who vouches, grounds, evidence
    grounds.py     evidence for an indirect way, piece by piece
    sealers.py     ARC sealers whose word counts
    rules.py       a rule, a rule set, and what can be wrong with them
    load.py        TOML text to a rule set
    draft.py       one [[rule]] table of it
    example.py     the examples beside a rule
    trial.py       whether they come true
    proof.py       whether a condition can ever hold
    expression.py  conditions (the only file that imports CEL)
    evaluate.py    facts and rules to a decision
    routing.py     recipients to backends
    retry.py       when a deferred transfer is tried again
"""
