"""Keys: whatever changes the rows changes the key, and nothing else does."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.kv.keys import Fact, identity_key, tenant_salt, unit_key

FACTS: dict[str, Fact] = {"model": "ab12", "layers": 24, "rope_base": 1e6, "salt": b"\x01\x02"}


def test_a_key_stands_for_the_model_the_header_and_the_tokens_up_to_it() -> None:
    identity = identity_key(FACTS, [1, 2, 3])
    first = unit_key(identity, None, [10, 11])
    second = unit_key(identity, first, [12])

    assert len({identity, first, second}) == 3
    assert all(len(key) == 32 for key in (identity, first, second))
    assert unit_key(identity, None, [12]) != second
    assert unit_key(identity_key(FACTS, [1, 2]), None, [10, 11]) != first
    assert unit_key(identity, None, (10, 11)) == first


def test_the_order_of_facts_does_not_matter_and_each_of_them_does() -> None:
    key = identity_key(FACTS, [1])
    assert identity_key(dict(reversed(FACTS.items())), [1]) == key
    changed: list[dict[str, Fact]] = [
        {**FACTS, "model": "ab13"},
        {**FACTS, "layers": 25},
        {**FACTS, "layers": 24.0},
        {**FACTS, "layers": "24"},
        {**FACTS, "layers": b"24"},
        {**FACTS, "rope_base": 1e6 + 1},
        {**FACTS, "salt": b"\x01\x03"},
        {**FACTS, "lora": ""},
        {name: value for name, value in FACTS.items() if name != "layers"},
    ]
    assert len({key, *(identity_key(facts, [1]) for facts in changed)}) == len(changed) + 1


def test_fields_do_not_run_into_each_other() -> None:
    assert identity_key({"a": "bc"}, []) != identity_key({"ab": "c"}, [])
    assert identity_key({"a": "1", "b": "2"}, []) != identity_key({"a": "1b2"}, [])
    assert unit_key(b"i" * 32, b"p" * 32, []) != unit_key(b"i" * 32 + b"p" * 32, None, [])
    assert unit_key(b"i" * 32, None, [1, 2]) != unit_key(b"i" * 32, None, [1 + (2 << 32 >> 16)])


@pytest.mark.parametrize("token", [-1, 1 << 32, 1 << 70])
def test_what_is_no_token_is_refused(token: int) -> None:
    with pytest.raises(ValueError, match="a token is not"):
        unit_key(b"", None, [1, token])


def test_the_salt_is_made_once_for_this_user_alone(tmp_path: Path) -> None:
    salt = tenant_salt(tmp_path)
    assert len(salt) == 32
    assert tenant_salt(tmp_path) == salt
    assert stat.S_IMODE((tmp_path / "salt").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["salt"]


def test_many_that_are_first_at_once_agree_on_the_salt(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(tenant_salt, [tmp_path] * 64))) == 1


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 33])
def test_a_damaged_salt_is_replaced(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "salt").write_bytes(damage)
    salt = tenant_salt(tmp_path)
    assert len(salt) == 32
    assert tenant_salt(tmp_path) == salt


def test_a_salt_that_cannot_be_kept_is_the_processs_own(tmp_path: Path, obedient: None) -> None:
    tmp_path.chmod(0o500)
    assert tenant_salt(tmp_path) != tenant_salt(tmp_path)
    tmp_path.chmod(0o700)


def test_a_pipe_in_the_salts_place_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "salt")
    assert len(tenant_salt(tmp_path)) == 32
