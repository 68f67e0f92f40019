"""Which heads are given, and why: profiles, the setting, the library; never an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine import settings
from engine.errors import SettingsError, UsageError
from engine.injection import choice, profile
from engine.injection.profile import Head
from engine.runtime.address import Spec
from engine.runtime.given import GivenHead, heads_of, identity
from engine.settings import Settings, folders
from tests.engine.injection.conftest import HEADS, SHA256, made

SMALL = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DEFAULT = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
KINDS = ("dormant", "previous", "definitions", "sink-only", "re-weight")


def chosen(setting: str, own: Path, *, sha256: str = SHA256, features: tuple[str, ...] = ("heads",)) -> Any:
    return choice.choose(setting, [sha256], own=own, features=features)


def test_kinds_become_heads(own: Path) -> None:
    found = chosen("dormant,definitions", own)
    assert heads_of(found) == [
        GivenHead(2, 1, "inject", 0.5, 0.0, (0.2,) * 8),
        GivenHead(3, 2, "inject"),
    ]
    assert (found.counts(), found.looks_up) == ({"definitions": 1, "dormant": 1}, True)
    assert choice.describe(found.status()) == [
        "1 definitions, 1 dormant: the setting heads is dormant,definitions"
    ]
    assert heads_of(chosen("previous", own)) == [GivenHead(1, 0, "inject", 0.0, 0.7, (0.1,) * 8)]
    assert heads_of(chosen("re-weight", own)) == [GivenHead(2, 1, "re-weight", 1.5)]
    assert heads_of(chosen("sink-only", own)) == [GivenHead(2, 1, constant=(0.3,) * 8)]
    assert [chosen(kind, own).looks_up for kind in KINDS] == [False, False, True, False, True]


def test_auto_is_what_the_profile_decides(own: Path) -> None:
    found = chosen("auto", own)
    assert (found.heads, found.reason) == ((), "no kind is on")
    assert choice.describe(found.status()) == ["off: no kind is on"]
    profile.save(made(default=("dormant",), why="dormant heads save a third"), own / f"{SHA256}.json")
    found = chosen("auto", own)
    assert (found.kinds, found.reason) == (("dormant",), "dormant heads save a third")


@pytest.mark.parametrize(
    ("setting", "options", "reason"),
    [
        ("off", {}, "the setting heads is off"),
        ("dormant", {"features": ("kv-rows",)}, "this llama-cpp-python lacks heads"),
        ("dormant", {"sha256": "7" * 64}, "no head profile of this model; `steerway study heads` makes one"),
        ("auto", {"sha256": ""}, "no head profile of this model; `steerway study heads` makes one"),
    ],
)
def test_off_says_why(own: Path, setting: str, options: dict[str, Any], reason: str) -> None:
    found = chosen(setting, own, **options)
    assert (found.heads, found.reason, identity(found)) == ((), reason, "")


def test_kinds_that_the_model_has_no_heads_for_are_named(own: Path) -> None:
    profile.save(made(heads=HEADS[:1]), own / f"{SHA256}.json")
    found = chosen("dormant,previous", own)
    assert (found.kinds, found.reason) == (
        ("previous",), "the setting heads is dormant,previous; the profile has no heads for dormant",
    )  # fmt: skip
    assert choice.describe(chosen("dormant", own).status())[0].startswith(
        "off: the setting heads is dormant; "
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "is no head profile"),
        (b"\xff\x00{", "is no head profile"),
        (b"{}", "is no head profile"),
        (profile.laid_out(made()).replace(b'"share":0.5', b'"share":1.5'), "heads[1].share"),
        (profile.laid_out(made()).replace(b'"layer":2', b'"layer":-2'), "heads[1].layer"),
        (profile.laid_out(made()).replace(b'"kind":"previous"', b'"kind":"next"'), "heads[0].kind"),
        (profile.laid_out(made()).replace(b'"format": 1', b'"format": 2'), "$.format"),
        (profile.laid_out(made())[:-40], "is no head profile"),
        (profile.laid_out(made(sha256="6" * 64)), "is the head profile of another model"),
    ],
)
def test_a_profile_that_is_none_is_off_with_the_reason(own: Path, text: bytes, says: str) -> None:
    (own / f"{SHA256}.json").write_bytes(text)
    found = chosen("dormant", own)
    assert not found.heads
    assert says in found.reason
    assert "\n" not in found.reason


def test_a_profile_is_read_as_it_was_written(own: Path) -> None:
    path = own / f"{SHA256}.json"
    assert profile.read(path) == made()
    assert len(path.read_text().splitlines()) < 20
    with pytest.raises(UsageError, match="steerway study heads"):
        profile.read(own / "none.json")


@pytest.mark.parametrize(("sha256", "width"), [(SMALL, 64), (DEFAULT, 64)])
def test_the_catalogue_s_models_come_with_profiles(tmp_path: Path, sha256: str, width: int) -> None:
    found = profile.find(sha256, tmp_path).profile
    assert found is not None
    assert {head.kind for head in found.heads} == {"dormant", "previous", "definition"}
    for head in found.heads:
        assert len(head.constant) == (0 if head.kind == "dormant" else width)
        assert len(head.resting) == (width if head.kind == "definition" else 0)
    assert found.default == ()
    assert found.why.startswith("no kind is on by default; change of NLL in nats a token: dormant ")
    for kind in KINDS:
        for given in heads_of(chosen(kind, tmp_path, sha256=sha256)):
            given.check()


def test_a_person_s_own_profile_wins(own: Path) -> None:
    profile.save(made(sha256=SMALL, why="mine"), own / f"{SMALL}.json")
    assert chosen("auto", own, sha256=SMALL).reason == "mine"


def test_a_file_made_from_a_model_has_its_profile(own: Path) -> None:
    found = choice.choose("dormant", ["8" * 64, SHA256], own=own, features=["heads"])
    assert found.counts() == {"dormant": 1}


def test_what_is_given_is_part_of_what_rows_depend_on(own: Path) -> None:
    known = {identity(chosen(kind, own)) for kind in ("off", *KINDS, "dormant,previous")}
    assert len(known) == 2 + len(KINDS)
    before = identity(chosen("definitions", own))
    other = Head(2, 1, "definition", "name", 0.5, (0.21,) * 8)  # another constant
    profile.save(made(heads=(HEADS[0], other)), own / f"{SHA256}.json")
    assert identity(chosen("definitions", own)) not in (before, "")


# The setting


@pytest.mark.parametrize("text", ["auto", "off", "dormant", "dormant, previous", "definitions,dormant"])
def test_words_of_the_setting(text: str) -> None:
    assert settings.load(environ={"STEERWAY_HEADS": text}).heads == text


@pytest.mark.parametrize(
    "text",
    ["definition", "auto,dormant", "dormant,", "definitions,re-weight", "sink-only,sink-only", "off off"],
)
def test_other_words_are_refused_in_a_line(text: str, isolated_home: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        settings.load(environ={"STEERWAY_HEADS": text})
    said = str(refused.value)
    assert said.startswith(f"STEERWAY_HEADS is {text!r}: it must be auto, off, or ")
    assert "\n" not in said
    path = isolated_home / "config.toml"
    path.write_text(f"heads = {json.dumps(text)}\n")
    with pytest.raises(SettingsError, match="heads is"):
        settings.load(path, environ={})


def test_another_setting_or_profile_is_another_service(isolated_home: Path) -> None:
    def names() -> list[str]:
        return [Spec("x.gguf", Settings(heads=heads)).name for heads in ("auto", "off", "dormant")]

    before = names()
    assert len(set(before)) == 3
    profile.save(made(), folders().state / "heads" / f"{SHA256}.json")
    after = names()
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True, False]
