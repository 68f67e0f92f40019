"""What a llama or qwen2 model is made of, read off its header; anything else is refused by name."""

from __future__ import annotations

from dataclasses import dataclass

from engine.errors import ModelUnsupported
from engine.reference.source import Source

# The linear layers of a block by what they read: all of a stage have the same inputs.
STAGES = (("attn_q", "attn_k", "attn_v"), ("attn_output",), ("ffn_gate", "ffn_up"), ("ffn_down",))
LINEARS = tuple(name for stage in STAGES for name in stage)
_NORMS = ("attn_norm", "ffn_norm")
_BIASES = ("attn_q", "attn_k", "attn_v", "attn_output")
EMBEDDING, OUTPUT, OUTPUT_NORM, ROPE_FACTORS = (
    "token_embd.weight", "output.weight", "output_norm.weight", "rope_freqs.weight",
)  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """`rotated` values of each head turn by position: neighbours (`pairs`, llama) or halves (qwen2)."""

    name: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    rotated: int
    pairs: bool
    rope_base: float
    epsilon: float
    vocabulary: int
    tied: bool


def of(source: Source) -> Architecture:
    """The architecture of `source`. Raises ModelUnsupported where the forward pass would be another."""
    meta, name = source.header.metadata, str(source.header.metadata.get("general.architecture", ""))
    if name not in ("llama", "qwen2"):
        raise _unsupported(
            source, f"it is a {name or 'nameless'} model", "llama and qwen2 models can be compressed"
        )

    def number(key: str, default: float | None = None) -> float:
        value = meta.get(f"{name}.{key}", default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _unsupported(source, f"its header has no number {name}.{key}", "convert the model again")
        return value

    if number("expert_count", 0) or meta.get(f"{name}.rope.scaling.type", "none") != "none":
        raise _unsupported(source, "it has experts, or scaled rotations", "choose a plain model")
    heads, width = int(number("attention.head_count")), int(number("embedding_length"))
    head_width = int(number("attention.key_length", width // max(heads, 1)))
    found = Architecture(
        name=name,
        layers=int(number("block_count")),
        width=width,
        heads=heads,
        kv_heads=int(number("attention.head_count_kv", heads)),
        head_width=head_width,
        rotated=int(number("rope.dimension_count", head_width)),
        pairs=name == "llama",
        rope_base=float(number("rope.freq_base", 10000.0)),
        epsilon=float(number("attention.layer_norm_rms_epsilon")),
        vocabulary=source.shape(EMBEDDING)[0] if EMBEDDING in source else 0,
        tied=OUTPUT not in source,
    )
    _check(source, found)
    return found


def _check(source: Source, found: Architecture) -> None:
    """Every tensor is known, and of the shape the header promises."""
    inner, shared = found.heads * found.head_width, found.kv_heads * found.head_width
    if not (0 < found.kv_heads <= found.heads and found.heads % found.kv_heads == 0 and found.layers > 0):
        raise _unsupported(source, "its header contradicts itself", "convert the model again")
    known = {EMBEDDING, OUTPUT, OUTPUT_NORM, ROPE_FACTORS}
    needed = {EMBEDDING: found.width, OUTPUT_NORM: found.width}
    for layer in range(found.layers):
        names = {f"blk.{layer}.{kind}.weight" for kind in (*LINEARS, *_NORMS)}
        known |= names | {f"blk.{layer}.{kind}.bias" for kind in _BIASES}
        needed |= dict.fromkeys(names, found.width) | {f"blk.{layer}.attn_output.weight": inner}
        down, up = f"blk.{layer}.ffn_down.weight", f"blk.{layer}.ffn_up.weight"
        if up in source:
            needed[down] = source.shape(up)[0]
        rows = {"attn_q": inner, "attn_k": shared, "attn_v": shared, "attn_output": found.width}
        for kind, count in rows.items():
            tensor = f"blk.{layer}.{kind}.weight"
            if tensor in source and source.shape(tensor)[0] != count:
                raise _unsupported(
                    source, f"{tensor} has {source.shape(tensor)[0]} rows", f"{count} were expected"
                )
    for tensor, columns in needed.items():
        if tensor not in source or source.shape(tensor)[1] != columns:
            raise _unsupported(
                source, f"{tensor} is missing or not {columns} wide", "convert the model again"
            )
    if strange := sorted(source.entries.keys() - known):
        raise _unsupported(
            source, f"it has {strange[0]}, which this forward pass does not know", "choose another model"
        )


def _unsupported(source: Source, why: str, hint: str) -> ModelUnsupported:
    return ModelUnsupported(f"{source.path.name} cannot be compressed: {why}", hint=hint, subject=source.path)
