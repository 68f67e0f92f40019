"""How many tokens a step's documents are: by the model's own tokenizer, or an estimate without one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.documents import Document
from engine.request import Plan, Request
from engine.settings import Settings

# Characters a token of code or English prose averages; used only where no model can count.
CHARACTERS_PER_TOKEN = 3.5


@dataclass(frozen=True)
class Counted:
    """Tokens of each document in order, and how many of them a prompt would leave out."""

    tokens: tuple[int, ...]
    cut_tokens: tuple[int, ...]
    budget_tokens: int
    model: str
    estimated: bool = False
    problem: str = ""


def counting_request(documents: tuple[Document, ...], settings: Settings) -> Request:
    """The request whose plan counts the documents."""
    return Request(
        prefix="",
        suffix="",
        documents=documents,
        max_tokens=settings.max_tokens,
        document_tokens=settings.document_tokens,
        layout=settings.layout or None,
    )


def counted(plan: Plan, model: str, settings: Settings) -> Counted:
    """The count that a model's plan is; the budget is the documents' own."""
    return Counted(
        tuple(use.tokens for use in plan.documents),
        tuple(use.cut_tokens for use in plan.documents),
        min(plan.budget_tokens, settings.document_tokens),
        model,
    )


def about_tokens(text: str) -> int:
    """About how many tokens a text is."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def estimated(documents: tuple[Document, ...], settings: Settings, reason: object = "") -> Counted:
    """About how many tokens they are, when no model can say; `reason` says why."""
    tokens = tuple(about_tokens(document.text) for document in documents)
    problem = f"tokens are estimated: {reason}" if reason else ""
    budget = min(settings.context_tokens, settings.document_tokens)
    return Counted(tokens, (0,) * len(tokens), budget, settings.model, True, problem)
