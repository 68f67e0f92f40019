"""Write docs/results/switch.md from the head-to-heads' JSON files beside it.

    python tests/bench/switch_page.py

The files are those of bench_switch, bench_keystroke, bench_edit, bench_restart, bench_scale and bench_memory;
each section names the command that made its numbers. A missing file is a missing section.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import measure

Json = dict[str, Any]
HEAD = """# Switching documents: our engine beside llama-server

Every table comes from one run in which both engines took turns on the same machine, with the same GGUF,
threads, context and text. llama-server is the unpatched one of the same llama.cpp, asked through
`/infill` with `--cache-reuse 256`. Medians (least to largest); a ratio is of pairs that ran one after the
other, so that a busy machine moves it less than the times. First token: from the request to the first
streamed token, at the caller. `python tests/bench/switch_page.py` makes this page of the JSON files
beside it.
"""


def between(spread: Json, unit: str = "") -> str:
    """`median (least to largest)`."""
    if not spread.get("n"):
        return "-"
    low, middle, high = (_number(spread[key]) for key in ("min", "median", "max"))
    return f"{middle}{unit}" if low == high else f"{middle}{unit} ({low} to {high})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.1f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def where(result: Json) -> str:
    """The command, the machine, the day."""
    machine = result["machine"]
    return (
        f"`{result['command']}`, {result['date']}, {result.get('model', '')}, {machine['cores']} cores "
        f"({machine['cpu']}), load {machine['load_before'][0]} before the run. Documents' reuse: "
        f"{result.get('gate') or 'as shipped'}.\n"
    )


def head_to_head(rows: Json, first: str) -> str:
    """The table all comparisons share."""
    return table(
        (first, "ours, ms", "llama-server, ms", "ratio", "ours computes", "llama-server computes"),
        [
            (
                name,
                between(row["ours_first_token_ms"]),
                between(row["server_first_token_ms"]),
                between(row["ratio"], "x"),
                between(row["ours_computed_tokens"], " tokens"),
                between(row["server_computed_tokens"], " tokens"),
            )
            for name, row in rows.items()
            if "ours_first_token_ms" in row
        ],
    )


def switch(result: Json) -> str:
    """Step changes."""
    rows = result["changes"]
    computed = max(row.get("ours_document_tokens_computed", 0) for row in rows.values())
    text = (
        f"## A step change over known documents\n\n"
        f"Four documents of {result['document_tokens']} tokens are active. {where(result)}\n"
        f"{head_to_head(rows, 'change')}\n"
        f"Document tokens that ours computed again: {computed}. It had encoded its "
        f"{result['known_documents']} known documents ({result['known_tokens']:,} tokens) when idle, in "
        f"{result['encoded_when_idle_s']:.0f} s. The targets are a first token within 300 ms and 50 times as "
        "fast as llama-server.\n"
    )
    other = rows.get("back, /completion with its RAM cache")
    if other:
        text += (
            "Going back to a prompt it has seen whole is what llama-server's prompt cache in RAM is for, "
            "which `/completion` uses and `/infill` does not: "
            f"{between(other['server_first_token_ms'], ' ms')}, {between(other['ratio'], 'x')} of ours.\n"
        )
    return text


def keystroke(result: Json) -> str:
    """Typing."""
    return (
        "## A keystroke\n\nTyping on one line beside four documents of 512 tokens; `fim` has the rest "
        f"of the file behind the cursor, `prefix` nothing. {where(result)}\n"
        f"{head_to_head(result['prompts'], 'prompt')}"
    )


def edit(result: Json) -> str:
    """An edit in the middle of a file."""
    rows = result["places"]
    within = all(row["within_a_chunk_and_the_cursor"] for row in rows.values())
    return (
        f"## An edit in the middle of a file of {result['file_tokens']:,} tokens\n\nA line is written in the "
        "middle; then a suggestion is asked for near its end, behind the new line, and near the "
        f"end again after a pause. {where(result)}\n{head_to_head(rows, 'place')}\n"
        f"Ours computes {'at most' if within else 'more than'} the edited chunk and the cursor's lines.\n"
    )


def restart(result: Json) -> str:
    """Second starts."""
    starts = result["starts"]
    rows = [
        (
            name,
            between(row["start_to_first_token_ms"]),
            between(row["first_token_ms"]),
            between(row["computed"], " tokens"),
            _number(row["document_tokens_computed"]) if "document_tokens_computed" in row else "",
        )
        for name, row in starts.items()
    ]
    head = ("start", "process start to first token, ms", "first token, ms", "computed", "of documents")
    ratios = ", ".join(f"{name} {between(ratio, 'x')}" for name, ratio in result["ratios"].items())
    return (
        "## The second start of the program\n\nEach row is a new process. `again` finds what the cold one "
        "left on disk (ours: the store; llama-server: its slot, saved and restored by hand); `another order` "
        f"asks for the same four documents in reverse. {where(result)}\n{table(head, rows)}\n"
        f"From the process's start: {ratios}.\n"
    )


def scale(result: Json) -> str:
    """Known and active documents."""
    picture = "![Milliseconds by known and by active documents](switch-scale.svg)"
    text = f"## With more documents\n\n{picture}\n\n{where(result)}\n"
    for name in ("known", "active"):
        rows = [
            (count, between(row["first_token_ms"]), between(row["load_ms"]), between(row["computed_tokens"]))
            for count, row in result[name].items()
        ]
        text += (
            table((f"documents {name}", "first token, ms", "placing rows, ms", "tokens computed"), rows)
            + "\n"
        )
    return text.rstrip("\n") + "\n"


def memory(result: Json) -> str:
    """Ten thousand requests."""
    rows = []
    for name in ("engine", "tiers"):
        row = result[name]
        rows.append(
            (
                name,
                f"{row['requests']:,}",
                between(row["rss_mb_second_half"], " MB"),
                f"{row['rss_slope_mb_per_1000']:+.2f} MB",
                f"{row['disk_mb_most']} of {row['disk_budget_mb']} MB",
            )
        )
    head = ("through", "requests", "resident, second half", "slope per 1,000 requests", "disk, most")
    return (
        "## Ten thousand requests\n\nThe first go through the engine with the small model, the others "
        f"through memory and store alone. {where(result)}\n{table(head, rows)}"
    )


SECTIONS: dict[str, Callable[[Json], str]] = {
    "switch": switch,
    "switch-keystroke": keystroke,
    "switch-edit": edit,
    "switch-restart": restart,
    "switch-scale": scale,
    "switch-memory": memory,
}


def page(folder: Path) -> str:
    """The page from the results in `folder`."""
    parts = [HEAD]
    for name, section in SECTIONS.items():
        file = folder / f"{name}.json"
        if file.is_file():
            parts.append(section(json.loads(file.read_text("utf-8"))))
    return "\n".join(parts)


if __name__ == "__main__":
    target = measure.RESULTS / "switch.md"
    target.write_text(page(measure.RESULTS), "utf-8")
    print(target.relative_to(measure.ROOT))
