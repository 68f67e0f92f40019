"""Joins what the steps of native/gpu/check.sh left behind into docs/results/gpu-NAME.json."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

PARTS = ("kernels", "products", "products-own-prefill", "shift", "rows")


def tests(report: Path) -> dict[str, object]:
    """Counts, and the names of tests that did not pass."""
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    failed = [
        case.get("name")
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]
    return {"run": len(cases), "failed": failed}


def backend_tests(log: Path) -> dict[str, object]:
    """Outcome of ggml's test-backend-ops: lines like `  MUL_MAT(type_a=s24_0,...): OK`, with colours."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text("utf-8", "replace")).splitlines()
    case = re.compile(r"\s*(\w+\(.*\)): .*?(OK|FAIL|not supported)")
    cases = [match for line in lines if (match := case.match(line))]
    failed = [match[1] for match in cases if match[2] == "FAIL"]
    passed = sum(match[2] == "OK" for match in cases)
    return {"passed": passed, "failed": failed, "not_supported": len(cases) - passed - len(failed)}


def collect(name: str, passed: bool, work: Path) -> dict[str, object]:
    result: dict[str, object] = {"gpu": name, "passed": passed}
    if (report := work / "tests.xml").is_file():
        result["tests"] = tests(report)
    for log in sorted(work.glob("backend-?.log")):
        result[log.stem.replace("backend", "ggml_tests_own_prefill")] = backend_tests(log)
    for part in PARTS:
        if (path := work / f"{part}.json").is_file():
            result[part] = json.loads(path.read_text("utf-8"))
    return result


def main() -> None:
    name, folder, status, work = sys.argv[1], Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"gpu-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"
    target.write_text(json.dumps(collect(name, status == "0", work), indent=1) + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
