"""One target measured: each arm's prompt put together from rows, its target scored against full attention."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from engine.studies import statistics
from engine.studies.arms import Arm
from engine.studies.lab import Block, Lab
from engine.studies.statistics import Reference
from engine.studies.tasks import Task, Tokens

LINE_TOKENS = 32
_AGAIN_TOKENS = 176
# Neutral text for longer headers; 64 tokens and more in every vocabulary.
_SINK = (
    "# This repository holds Python source files. Each is shown with its path first, then its text.\n"
    "# Imports come first, then constants, classes and functions. Names of one file are used in the others.\n"
    "# The files below are ordered by how related they are; the last one is being edited.\n"
)


@dataclass(frozen=True)
class Measure:
    """One arm on one target. Means over its positions, in nats; lines end where the truth's do.

    `lines_exact` counts lines whose every token is the likeliest one after the true text before it: what
    greedy decoding would complete exactly. `first_exact` and `similarity` are of the first line, written
    greedily, against the true one, `same_line` against full attention's. `computed` are tokens before the
    target that were computed, not loaded.
    """

    tokens: int
    kl: float
    nll: float
    top1: float
    lines: int
    lines_exact: int
    first_exact: bool
    same_line: bool
    similarity: float
    computed: int


class Trial:
    """All arms of one task over one lab; rows are computed once and shared."""

    def __init__(self, lab: Lab, task: Task, *, seed: int) -> None:
        self._lab = lab
        self._task = task
        self._language = lab.language
        self._dice = random.Random(f"arms:{seed}:{task.name}")
        self._blocks: dict[tuple[Tokens, Tokens], Block] = {}
        self._sink = self._language.encode(_SINK)
        self._reference: Reference | None = None
        self._line: Tokens = ()
        self._keys: list[Any] = []
        self._ready: list[Block] = []
        self._far: list[Block] = []
        self._computed = 0

    def run(self, arms: Iterable[Arm]) -> dict[str, dict[str, Any]]:
        """Measures by the arm's name; full attention is always measured first."""
        rest = [arm for arm in arms if arm.layout != "full"]
        found = {"full": asdict(self._measure(Arm("full")))}
        self._encode_ahead(rest)
        for arm in rest:
            found[arm.name] = asdict(self._measure(arm))
        self._lab.clear()
        return found

    def _measure(self, arm: Arm) -> Measure:
        self._computed = 0
        last, position = self._hole(arm) if self._task.set == "keystroke" else self._composed(arm)
        target = self._task.target
        logits = self._lab.score((last, *target[:-1]), position)
        reference = self._reference = self._reference or Reference(logits)
        best = logits.argmax(axis=1)
        totals = statistics.log_totals(logits)
        kl = reference.divergence(logits, totals)
        nll = statistics.surprise(logits, totals, target)
        exact = self._lines(best == np.asarray(target))
        line = self._greedy(int(best[0]), position + 1)
        self._line = self._line or line
        true, said = self._text(target), self._text(line)
        return Measure(
            tokens=len(target),
            kl=float(kl.mean()),
            nll=float(nll.mean()),
            top1=float((best == reference.best).mean()),
            lines=len(exact),
            lines_exact=sum(exact),
            first_exact=said == true,
            same_line=said == self._text(self._line),
            similarity=statistics.similarity(said, true),
            computed=self._computed,
        )

    def _lines(self, right: Any) -> list[bool]:
        """For each line that ends within the target: whether every token was the likeliest."""
        found, start = [], 0
        for end, token in enumerate(self._task.target, 1):
            if self._language.ends_line(token):
                found.append(bool(right[start:end].all()))
                start = end
        return found

    def _greedy(self, first: int, position: int) -> Tokens:
        """The likeliest line from `position` on; full attention's line is tried as a draft first."""
        self._lab.forget(position)
        line = [first]
        draft = self._line or self._task.target[:LINE_TOKENS]
        if draft[0] == first and len(draft) > 1 and not self._ends(line):
            best = self._lab.score(draft[:-1], position).argmax(axis=1)
            for guess, token in zip(draft[1:], best, strict=True):
                line.append(int(token))
                if guess != token or self._ends(line):
                    break
            self._lab.forget(position + len(line) - 1)
        while not self._ends(line) and len(line) < LINE_TOKENS:
            rows = self._lab.score(line[-1:], position + len(line) - 1)
            line.append(int(rows[-1].argmax()))
        return tuple(line)

    def _ends(self, line: Sequence[int]) -> bool:
        """Whether a line with text ended, or the model is done."""
        text = self._language.text(line)
        return self._language.ended(line[-1]) or bool(text.strip() and "\n" in text.lstrip())

    def _text(self, tokens: Sequence[int]) -> str:
        """The first line with text of `tokens`, as far as LINE_TOKENS reach."""
        return self._language.text(tokens[:LINE_TOKENS]).lstrip("\n").partition("\n")[0].rstrip()

    # Putting prompts together

    def _composed(self, arm: Arm) -> tuple[int, int]:
        """Everything up to the lead's last token in the context; that token and its position."""
        lead = self._task.lead
        if arm.layout == "full":
            return self._full()
        if arm.layout == "again":
            return self._again()
        near = len(lead) if arm.near is None else min(max(arm.near, 1), len(lead))
        far = lead[: len(lead) - near]
        position = self._open(arm, far)
        if arm.layout != "none":
            position = self._documents(arm, position)
        if far:
            self._lab.place(self._far[0], position)
        start = position + len(far)
        self._compute(lead[len(far) : -1], range(start, position + len(lead) - 1))
        return lead[-1], position + len(lead) - 1

    def _full(self) -> tuple[int, int]:
        task, behind = self._task, self._task.header
        for document in task.documents:
            self._block(document, behind)
            behind = (*behind, *document)
        prompt = (*behind, *task.lead[:-1])
        self._lab.hold(prompt)
        rows = self._lab.read(len(task.header), len(behind))
        self._keys = self._lab.keys(rows, len(behind) - len(task.header))
        return task.lead[-1], len(prompt)

    def _again(self) -> tuple[int, int]:
        task = self._task
        prompt = [token for part in (task.header, *task.documents, task.lead) for token in part]
        return self._plainly(prompt, _AGAIN_TOKENS)

    def _plainly(self, prompt: Sequence[int], size: int) -> tuple[int, int]:
        """Compute a prompt but for its last token, `size` tokens at once."""
        self._lab.clear()
        last = len(prompt) - 1
        for start in range(0, last, size):
            end = min(start + size, last)
            self._lab.compute(prompt[start:end], range(start, end))
        return prompt[-1], last

    def _open(self, arm: Arm, far: Tokens) -> int:
        """Get every row the arm needs, then place the header; the position behind it.

        Nothing may be encoded once something is placed: encoding uses the same context.
        """
        header = self._task.header
        behind = (*header, *self._sink[: max(arm.sink, arm.primer)])
        whole = self._block(behind, ())
        pairs = self._pairs(arm, behind) if arm.layout != "none" else []
        self._ready = self._stored(arm, *pairs)
        self._far = self._stored(arm, (far, self._far_behind(arm, behind))) if far else []
        self._lab.clear()
        shown = len(behind) if arm.sink else len(header)
        self._lab.place(whole, 0, last=shown)
        return shown

    def _pairs(self, arm: Arm, behind: Tokens) -> list[tuple[Tokens, Tokens]]:
        """Each document in the arm's order with what it was encoded behind."""
        task = self._task
        if arm.layout in ("stale", "pie"):
            return self._edited(arm)
        order = list(range(len(task.documents)))
        if arm.reversed:
            order.reverse()
        if arm.shuffled:
            random.Random(f"order:{task.name}").shuffle(order)
        found: list[tuple[Tokens, Tokens]] = []
        for place, index in enumerate(order):
            before: Tokens = () if arm.layout == "plain" else behind
            earlier = order[:place] if arm.layout == "chained" else order[place - 1 : place] * (place % 2)
            if arm.layout == "chained" or arm.pairs:
                before = (*before, *(token for one in earlier for token in task.documents[one]))
            found.append((task.documents[index], before))
        return found

    def _edited(self, arm: Arm) -> list[tuple[Tokens, Tokens]]:
        """Chunks after an edit: exact ones before it, the edited one anew, those behind it as they were."""
        task, found = self._task, []
        for index in range(len(task.documents)):
            chain = task.before if index > task.changed or arm.layout == "pie" else task.documents
            before = tuple(token for one in chain[:index] for token in one)
            found.append((chain[index], (*task.header, *before)))
        return found

    def _documents(self, arm: Arm, start: int) -> int:
        """Place the documents from position `start` on and repair them; the position behind them."""
        scale = 1 / arm.temperature
        if arm.layout == "shared":
            for block in self._ready:
                self._lab.place(block, start, scale=scale)
            end = start + max(len(block.tokens) for block in self._ready)
            self._lab.bias(start, end, arm.bias)
            return end
        if arm.layout == "pie":
            return self._patched(arm, start)
        position, starts = start, []
        for block in self._ready:
            self._lab.place(block, position, scale=scale)
            starts.append(position)
            position += len(block.tokens)
        self._repair(arm, starts, position)
        self._lab.bias(start, position, arm.bias)
        return position

    def _repair(self, arm: Arm, starts: list[int], end: int) -> None:
        tokens = [token for block in self._ready for token in block.tokens]
        chosen: set[int] = set()
        if arm.link:
            first = self._task.changed + 1 if arm.layout == "stale" else 1
            for start, block in list(zip(starts, self._ready, strict=True))[first:]:
                chosen |= set(range(start, start + min(arm.link, len(block.tokens))))
        if arm.blend:
            chosen |= self._blended(arm, starts[0], end)
        positions = sorted(chosen)
        if positions:
            self._computed += len(positions)
            self._lab.recompute([tokens[position - starts[0]] for position in positions], positions)

    def _blended(self, arm: Arm, start: int, end: int) -> set[int]:
        count = round(arm.blend * (end - start))
        if arm.pick == "random" or count == end - start:
            return set(self._dice.sample(range(start, end), count))
        here = self._lab.keys(self._lab.read(start, end), end - start)
        apart = sum(np.square(a - b).sum(axis=1) for a, b in zip(here, self._keys, strict=True))
        return {start + int(row) for row in np.argsort(apart)[::-1][:count]}

    def _patched(self, arm: Arm, start: int) -> int:
        """`pie`: the old chunks with only the typed tokens of the edited one computed."""
        task = self._task
        old, new = task.before[task.changed], task.documents[task.changed]
        left = _same(old, new)
        right = min(_same(old[::-1], new[::-1]), len(old) - left, len(new) - left)
        position = start
        stale: list[tuple[int, Tokens]] = []
        for index, block in enumerate(self._ready):
            if index != task.changed:
                self._lab.place(block, position)
                stale += [(position, block.tokens)] * (index > task.changed)
            else:
                self._lab.place(block, position, last=left)
                typed = new[left : len(new) - right]
                self._compute(typed, range(position + left, position + len(new) - right))
                self._lab.place(block, position + len(new) - right, first=len(old) - right)
                stale.append((position + len(new) - right, new[len(new) - right :]))
            position += len(task.documents[index])
        linked = [(at + row, token) for at, run in stale for row, token in enumerate(run[: arm.link])]
        if linked:
            self._computed += len(linked)
            self._lab.recompute([token for _, token in linked], [at for at, _ in linked])
        return position

    def _far_behind(self, arm: Arm, behind: Tokens) -> Tokens:
        """What the loaded part of the lead was encoded behind."""
        chain: tuple[Tokens, ...] = ()
        if self._task.set != "separate" and arm.layout == "chained":
            chain = self._task.documents
        if arm.layout in ("stale", "pie"):
            chain = self._task.before
        return (*behind, *(token for one in chain for token in one))

    def _hole(self, arm: Arm) -> tuple[int, int]:
        """`keystroke`: as `_composed`, in the order prefix, typed, suffix marker, suffix, middle marker."""
        task, family, lab = self._task, self._language.family, self._lab
        mark, middle = self._language.marker(family.suffix), self._language.marker(family.middle)
        before = (*task.header, *task.documents[0])
        if arm.layout in ("full", "again", "none", "anchor"):
            tail = {"none": task.typed, "anchor": (*mark, *task.suffix, *middle, *task.typed)}
            prompt = (*before, *tail.get(arm.layout, (*task.typed, *mark, *task.suffix, *middle)))
            return self._plainly(prompt, _AGAIN_TOKENS if arm.layout == "again" else len(before))
        head, block = self._block(before, ()), self._block((*mark, *task.suffix), before)
        lab.clear()
        lab.place(head, 0)
        position = len(before)
        self._compute(task.typed, range(position, position + len(task.typed)))
        position += len(task.typed)
        fresh = 0 if arm.layout == "stale" else 1 + arm.link
        self._compute(block.tokens[:fresh], range(position, position + fresh))
        lab.place(block, position + fresh, first=fresh)
        return middle[0], position + len(block.tokens)

    def _compute(self, tokens: Tokens, positions: range) -> None:
        if tokens:
            self._computed += len(tokens)
            self._lab.compute(tokens, positions)

    def _block(self, tokens: Tokens, behind: Tokens) -> Block:
        found = self._blocks.get((tokens, behind))
        if found is None:
            found = self._blocks[tokens, behind] = self._lab.encode(tokens, behind)
        return found

    def _stored(self, arm: Arm, *pairs: tuple[Tokens, Tokens]) -> list[Block]:
        blocks = [self._block(*pair) for pair in pairs]
        return [self._lab.quantised(block) for block in blocks] if arm.q8_0 else blocks

    def _encode_ahead(self, arms: Sequence[Arm]) -> None:
        """Encode pairs right behind their first halves, which the context then still holds."""
        if self._task.set == "keystroke" or not any(arm.pairs for arm in arms):
            return
        header, documents = self._task.header, self._task.documents
        for first, second in zip(documents[::2], documents[1::2], strict=False):
            self._block(first, header)
            self._block(second, (*header, *first))


def _same(left: Sequence[int], right: Sequence[int]) -> int:
    """Length of the common beginning."""
    count = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        count += 1
    return count
