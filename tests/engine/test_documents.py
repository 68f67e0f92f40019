"""Documents: frozen pieces of context, known by the digest of what a model would read."""

from __future__ import annotations

from dataclasses import replace

from engine.documents import Document

PAGE = Document("docs/retry.md", "Retry three times.\n", "doc", origin="docs/retry.md", version="9f2c41aa")


def test_a_digest_is_of_what_the_model_reads_and_of_nothing_else() -> None:
    assert len(PAGE.digest) == 32
    assert PAGE.digest == replace(PAGE, kind="api", origin="elsewhere", version="2").digest
    assert PAGE.digest != replace(PAGE, text="Retry four times.\n").digest
    assert PAGE.digest != replace(PAGE, name="docs/other.md").digest
    assert PAGE.digest != replace(PAGE, language="markdown").digest


def test_text_that_moves_between_fields_is_another_document() -> None:
    assert Document("ab", "c").digest != Document("a", "bc").digest


def test_half_a_surrogate_pair_is_no_reason_to_fail() -> None:
    assert Document("a.md", "half \ud83d one").digest != Document("a.md", "half \ud83e one").digest
