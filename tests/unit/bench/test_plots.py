from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from bench.plots import draw, draw_all

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_as_long_as_their_values() -> None:
    tree = ElementTree.fromstring(draw("a < b", {"waypost": 1.0, "other & more": 4.0}))
    bars = [float(bar.attrib["width"]) for bar in tree.iter(f"{SVG}rect") if bar.attrib["width"] != "100%"]
    assert bars[1] == 4 * bars[0]
    assert "other & more" in [text.text for text in tree.iter(f"{SVG}text")]


def test_each_load_has_its_charts_of_medians(tmp_path: Path) -> None:
    rows = [
        {"peer": peer, "size": "4k", "concurrency": 20, "cpu_ms": cpu, "delivered_per_s": 1 / cpu}
        for peer, cpu in (("waypost", 1.0), ("waypost", 9.0), ("waypost", 2.0), ("postfix", 4.0))
    ]
    made = draw_all([*rows, {"peer": "postfix", "error": "it fell"}], tmp_path)
    assert [path.name for path in made] == ["cpu-4k-20.svg", "rate-4k-20.svg"]
    values = [text.text for text in ElementTree.parse(made[0]).iter(f"{SVG}text")]
    assert values[1:] == ["waypost", "2", "postfix", "4"]
