"""What a GGUF file says of itself, for people: `steerway model info`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from engine.models import header, verify
from engine.models.header import Header, Tensor
from engine.models.quantisation import BLOCKS, LABELS
from engine.models.variants import SOURCE_KEY

TOKENS = "tokenizer.ggml.tokens"

# The spellings model families use for filling in the middle and for telling files apart.
FIM_TOKENS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
    ("<PRE>", "<SUF>", "<MID>"),
    ("[PREFIX]", "[SUFFIX]"),
)
FILE_TOKENS = ("<|repo_name|>", "<|file_sep|>", "<repo_name>", "<reponame>", "<file_sep>", "<filename>")


@dataclass(frozen=True)
class ModelFacts:
    """A model file in numbers. Counts are 0 and texts empty where the file does not say.

    `types` gives the share of the weights' bytes by type; `bits_per_weight` counts the weights' data
    alone. `fim_tokens` is empty when the model cannot fill in the middle.
    """

    name: str
    architecture: str
    parameters: int
    quantisation: str
    types: dict[str, float]
    bits_per_weight: float
    context_tokens: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    vocabulary: int
    tokenizer: str
    fim_tokens: tuple[str, ...]
    file_tokens: tuple[str, ...]
    license: str
    file_bytes: int


def inspect(path: Path) -> ModelFacts:
    """The facts of the GGUF at `path`, its structure checked. Raises ModelFileCorrupt."""
    found = header.read(path, keep=(TOKENS,))
    verify.check_tensors(found, path)
    architecture = _text(found, "general.architecture")
    vocabulary = set(found.strings.get(TOKENS, ()))
    parameters = sum(tensor.elements for tensor in found.tensors)
    sizes = _bytes_by_type(found.tensors)
    data = sum(sizes.values())
    return ModelFacts(
        name=_text(found, "general.name") or path.stem,
        architecture=architecture,
        parameters=parameters,
        quantisation=_label(found),
        types={kind: round(size / data, 4) for kind, size in sizes.most_common()},
        bits_per_weight=round(data * 8 / parameters, 2),
        context_tokens=_number(found, f"{architecture}.context_length"),
        layers=_number(found, f"{architecture}.block_count"),
        width=_number(found, f"{architecture}.embedding_length"),
        heads=_number(found, f"{architecture}.attention.head_count"),
        kv_heads=_number(found, f"{architecture}.attention.head_count_kv"),
        vocabulary=found.arrays.get(TOKENS, 0),
        tokenizer="/".join(filter(None, (_text(found, f"tokenizer.ggml.{key}") for key in ("model", "pre")))),
        fim_tokens=next((group for group in FIM_TOKENS if vocabulary.issuperset(group)), ()),
        file_tokens=tuple(token for token in FILE_TOKENS if token in vocabulary),
        license=_text(found, "general.license"),
        file_bytes=found.file_bytes,
    )


def _label(found: Header) -> str:
    """Its file type's name; one that Steerway wrote has its source's, and is what its weights' types say."""
    label = LABELS.get(_number(found, "general.file_type", -1), "")
    return f"from {label}" if label and SOURCE_KEY in found.metadata else label


def _bytes_by_type(tensors: tuple[Tensor, ...]) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        name, per_block, block_bytes = BLOCKS.get(tensor.kind, (f"type {tensor.kind}", 1, 1))
        sizes[name] += tensor.elements // per_block * block_bytes
    return sizes


def _text(found: Header, key: str) -> str:
    value = found.metadata.get(key, "")
    return value if isinstance(value, str) else ""


def _number(found: Header, key: str, missing: int = 0) -> int:
    value = found.metadata.get(key, missing)
    return value if isinstance(value, int) else missing
