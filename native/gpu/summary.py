"""Joins the outcome of native/gpu/check.sh into docs/results/gpu-NAME.json."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree


def tests(report: Path) -> dict[str, object]:
    """Counts, and the names of tests that did not pass."""
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    failed = [
        case.get("name")
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]
    return {"run": len(cases), "failed": failed}


def main() -> None:
    name, report, folder, *benchmarks = sys.argv[1], *map(Path, sys.argv[2:])
    result = {"gpu": name, "tests": tests(report)}
    result |= {path.stem: json.loads(path.read_text("utf-8")) for path in benchmarks if path.is_file()}
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"gpu-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
