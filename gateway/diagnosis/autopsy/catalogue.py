"""The catalogue: known changes to messages by mail servers, and the inverse of each.

B entries change the body and are proven by its hash, without any key; H entries change the header and are proven by the
signature.
"""

from __future__ import annotations

from gateway.diagnosis.autopsy import content, encoding, fields, lines, structure, values
from gateway.diagnosis.autopsy.entry import Entry

BODY = (
    Entry(
        "B01",
        "blank-between-boundaries",
        ("exchange",),
        structure.delete_blanks_between,
        0.5,
    ),
    Entry(
        "B02",
        "blank-removed-between-boundaries",
        ("exchange", "gen_smtp"),
        structure.insert_blanks_between,
    ),
    Entry(
        "B03",
        "nested-preamble-blank-removed",
        ("exchange", "gen_smtp"),
        structure.insert_nested_preamble,
    ),
    Entry(
        "B04",
        "part-header-inserted",
        ("exchange",),
        structure.delete_part_fields,
    ),
    Entry(
        "B05",
        "html-meta-inserted",
        ("exchange",),
        content.delete_meta,
    ),
    Entry(
        "B06",
        "close-delimiter-added",
        ("exchange", "dotnet"),
        structure.delete_close_delimiter,
    ),
    Entry(
        "B07",
        "boundary-renamed",
        ("mimecast", "exchange"),
        None,
    ),
    Entry(
        "B08",
        "crlf-after-rfc822-part",
        ("exchange", "dotnet"),
        structure.delete_line_after_message,
    ),
    Entry(
        "B09",
        "footer-text",
        ("mailman", "google-groups"),
        content.delete_footer,
        1.2,
    ),
    Entry(
        "B10",
        "footer-mime-part",
        ("mailman", "google-groups"),
        structure.delete_footer_part,
    ),
    Entry(
        "B11",
        "banner-prepended",
        ("exchange", "proofpoint", "mimecast"),
        content.delete_banner,
    ),
    Entry(
        "B12",
        "8bit-to-qp",
        ("sendmail", "postfix", "hmailserver"),
        encoding.quoted_to_eight_bit,
        1.2,
    ),
    Entry(
        "B13",
        "qp-to-8bit",
        ("sendmail",),
        encoding.eight_bit_to_quoted,
        1.5,
    ),
    Entry(
        "B14",
        "base64-rewrapped",
        ("mailman", "wildduck"),
        encoding.rewrap_base64,
    ),
    Entry(
        "B15",
        "qp-rewrapped",
        ("exchange", "dotnet"),
        encoding.rewrap_quoted,
        1.2,
    ),
    Entry(
        "B16",
        "long-line-wrapped",
        ("postfix", "sendmail", "exchange"),
        lines.join_wrapped,
    ),
    Entry(
        "B17",
        "trailing-ws-stripped",
        (),
        lines.restore_line_ends,
        2.0,
    ),
    Entry(
        "B18",
        "from-stuffed",
        ("mailbox", "mailman"),
        lines.unstuff_from,
    ),
    Entry(
        "B19",
        "dot-lost",
        (),
        lines.restore_dots,
        1.2,
    ),
    Entry(
        "B20",
        "trailing-blank-lines",
        (),
        None,
    ),
    Entry(
        "B21",
        "url-rewritten",
        ("exchange", "proofpoint", "mimecast"),
        content.restore_links,
    ),
    Entry(
        "B22",
        "ws-run-collapsed",
        (),
        lines.restore_runs,
        2.5,
    ),
    Entry(
        "B23",
        "charset-converted",
        ("exchange",),
        encoding.restore_charset,
        1.5,
    ),
    Entry(
        "B24",
        "part-replaced",
        ("mailscanner", "mimecast", "exchange"),
        None,
    ),
    Entry(
        "B25",
        "text-to-base64",
        ("exchange", "google", "mailman", "python"),
        encoding.base64_to_text,
        1.3,
    ),
    Entry(
        "B26",
        "empty-part-blank-removed",
        ("exchange", "gen_smtp"),
        structure.restore_blank_of_empty,
        1.2,
    ),
    Entry(
        "B27",
        "html-rewritten",
        ("exchange",),
        None,
    ),
)

HEADER = (
    Entry(
        "H01",
        "subject-tag",
        ("mailman", "google-groups", "exchange", "proofpoint"),
        fields.delete_subject_tag,
        0.5,
    ),
    Entry(
        "H02",
        "subject-reencoded",
        ("mailman", "python"),
        values.restore_words,
        1.2,
    ),
    Entry(
        "H03",
        "refolded",
        ("exchange", "python", "rspamd"),
        fields.unfold_fields,
        1.2,
    ),
    Entry(
        "H04",
        "display-name-quoted",
        ("sendmail", "exchange"),
        values.toggle_quotes,
    ),
    Entry(
        "H05",
        "from-munged",
        ("mailman", "google-groups"),
        fields.restore_from,
    ),
    Entry(
        "H06",
        "message-id-replaced",
        ("ses",),
        fields.restore_message_id,
    ),
    Entry(
        "H07",
        "date-rewritten",
        ("ses",),
        values.rewrite_date,
        1.2,
    ),
    Entry(
        "H08",
        "header-removed",
        (),
        None,
    ),
    Entry(
        "H09",
        "header-added-oversigned",
        ("mailman", "google-groups", "exchange", "mailscanner"),
        fields.delete_added_fields,
    ),
    Entry(
        "H10",
        "content-type-params",
        ("exchange", "dotnet"),
        values.rewrite_parameters,
        1.1,
    ),
    Entry(
        "H11",
        "header-name-case",
        (),
        fields.restore_names,
        1.3,
    ),
    Entry(
        "H12",
        "raw8bit-header-encoded",
        ("exchange", "sendmail"),
        values.decode_words,
        1.1,
    ),
    Entry(
        "H13",
        "dkim-sig-refolded",
        (),
        fields.refold_signature,
        1.5,
    ),
    Entry(
        "H14",
        "headers-reordered",
        (),
        None,
    ),
)
