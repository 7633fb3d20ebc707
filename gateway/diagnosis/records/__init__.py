"""`waypost dmarc check|advise`, `spf`, `dkim`, `check --dns`: what a domain publishes, what is wrong with it, and
what to publish next.

In: DNS answers. Out: findings as text and JSON. Verdicts come from the floors below alone; these explain them.

    dmarc_survey.py dmarc_lint.py dmarc_advice.py   the record that applies, each tag of it, the next step
    spf_walk.py spf_record.py spf_report.py         a record followed through its includes
    key_lint.py dkim_report.py                      a key, and the name that it stands at
    own_domains.py                                  each half's keys, and whom the SPF record lets in besides
    typography.py                                   characters of word processors and DNS panels
    texts.py                                        every sentence
"""
