"""`waypost dmarc check|advise`, `spf`, `dkim`, `check --dns`: the records of a domain, their faults, and the
records to publish next.

In: DNS answers. Out: findings as text and JSON. Verdicts come from the floors below alone; these explain them.

    dmarc_survey.py dmarc_lint.py dmarc_advice.py   the record that applies, each tag of it, the next step
    spf_walk.py spf_record.py spf_report.py         a record followed through its includes
    key_lint.py dkim_report.py                      a key, and its name
    own_domains.py                                  each half's keys, and the other senders of the SPF record
    typography.py                                   characters of word processors and DNS panels
    texts.py                                        every sentence
"""
