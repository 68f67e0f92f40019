"""The forward pass of llama and qwen2 models in float32, a block at a time, in the stages a solver works on.

Follows llama.cpp's graphs (src/models/llama.cpp, qwen2.cpp), with float32 activations where llama.cpp
quantises them for each product.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.reference.architecture import EMBEDDING, LINEARS, OUTPUT, OUTPUT_NORM, ROPE_FACTORS, Architecture
from engine.reference.source import Source

LOGIT_ROWS = 64
NORMS = ("attn_norm", "ffn_norm")


class Rotation:
    """Rotary position embedding (arXiv:2104.09864) for positions from 0 on."""

    def __init__(self, architecture: Architecture, positions: int, factors: Tensor | None = None) -> None:
        half = architecture.rotated // 2
        steps = torch.arange(half, dtype=torch.float64) * 2 / architecture.rotated
        frequencies = architecture.rope_base**-steps
        if factors is not None:
            frequencies = frequencies / factors.double()
        angles = torch.arange(positions, dtype=torch.float64)[:, None] * frequencies
        self._cos, self._sin = angles.cos().float(), angles.sin().float()
        self._rotated, self._pairs = architecture.rotated, architecture.pairs

    def to(self, device: torch.device) -> Rotation:
        """Itself, its angles moved to `device`."""
        self._cos, self._sin = self._cos.to(device), self._sin.to(device)
        return self

    def __call__(self, heads: Tensor) -> Tensor:
        """`heads` [..., positions, head width], turned."""
        count, half = heads.shape[-2], self._rotated // 2
        turned, rest = heads[..., : self._rotated], heads[..., self._rotated :]
        cos, sin = self._cos[:count], self._sin[:count]
        if self._pairs:
            a, b = turned[..., 0::2], turned[..., 1::2]
            found = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)
        else:
            a, b = turned[..., :half], turned[..., half:]
            found = torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
        return torch.cat([found, rest], dim=-1)


class Block:
    """One transformer block: `weights` by linear layer, float32 [out, in]; replacing one replaces it here.

    `stage(i, ...)` gives what the linear layers of architecture.STAGES[i] read.
    """

    def __init__(self, source: Source, architecture: Architecture, layer: int, rotation: Rotation) -> None:
        self._architecture, self._rotation = architecture, rotation
        self.layer = layer
        self.weights = {name: source.tensor(f"blk.{layer}.{name}.weight") for name in LINEARS}
        self._norms = [source.tensor(f"blk.{layer}.{name}.weight") for name in NORMS]
        biases = {name: f"blk.{layer}.{name}.bias" for name in LINEARS}
        self._biases = {name: source.tensor(bias) for name, bias in biases.items() if bias in source}

    def tensors(self) -> dict[str, Tensor]:
        """All of the block's tensors by the end of their names in a file: `attn_q.weight`, `attn_q.bias`."""
        linears = {f"{name}.weight": weight for name, weight in self.weights.items()}
        norms = {f"{name}.weight": norm for name, norm in zip(NORMS, self._norms, strict=True)}
        return linears | norms | {f"{name}.bias": bias for name, bias in self._biases.items()}

    def put(self, name: str, tensor: Tensor) -> None:
        """Replace one of `tensors`. Raises KeyError for a name that is none of them."""
        kind, what = name.rsplit(".", 1)
        if kind in NORMS and what == "weight":
            self._norms[NORMS.index(kind)] = tensor
            return
        place = self.weights if what == "weight" else self._biases
        if kind not in place:
            raise KeyError(name)
        place[kind] = tensor

    def linear(self, name: str, inputs: Tensor) -> Tensor:
        """The layer `name` of `inputs` [..., in]."""
        return functional.linear(inputs, self.weights[name], self._biases.get(name))

    def normed(self, hidden: Tensor, which: int) -> Tensor:
        """RMS norm of `hidden` [..., width]: 0 before attention, 1 before the MLP."""
        return rms_norm(hidden, self._norms[which], self._architecture.epsilon)

    def projected(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values, [sequences, heads, positions, head width], of `inputs`.

        Keys and values are repeated for every query head of their group.
        """
        a = self._architecture
        size = (*inputs.shape[:2], -1, a.head_width)
        q, k, v = (
            self.linear(name, inputs).reshape(size).transpose(1, 2) for name in ("attn_q", "attn_k", "attn_v")
        )
        q, k = self._rotation(q), self._rotation(k)
        k, v = (part.repeat_interleave(a.heads // a.kv_heads, dim=1) for part in (k, v))
        return q, k, v

    def mixed(self, inputs: Tensor) -> Tensor:
        """All heads' outputs, [sequences, positions, heads * head width], of normed `inputs`."""
        q, k, v = self.projected(inputs)
        found = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return found.transpose(1, 2).flatten(2)

    def gated(self, inputs: Tensor) -> Tensor:
        """SwiGLU of normed `inputs`: what ffn_down reads."""
        return functional.silu(self.linear("ffn_gate", inputs)) * self.linear("ffn_up", inputs)

    def attention(self, hidden: Tensor) -> Tensor:
        """`hidden` [sequences, positions, width] behind the attention."""
        return hidden + self.linear("attn_output", self.mixed(self.normed(hidden, 0)))

    def mlp(self, hidden: Tensor) -> Tensor:
        """`hidden` behind the MLP."""
        return hidden + self.linear("ffn_down", self.gated(self.normed(hidden, 1)))

    def __call__(self, hidden: Tensor) -> Tensor:
        """`hidden` behind the block, a sequence at a time: what a product holds stays small."""
        with torch.no_grad():
            return torch.cat([self.mlp(self.attention(part)) for part in hidden.split(2)])


def rms_norm(hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """`hidden` [..., width] over its root mean square, times `weight`."""
    return hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + epsilon) * weight


def rotation(source: Source, architecture: Architecture, positions: int) -> Rotation:
    """The rotation of `source`, with the factors a file may carry for it."""
    factors = source.tensor(ROPE_FACTORS) if ROPE_FACTORS in source else None
    return Rotation(architecture, positions, factors)


def embed(embedding: Tensor, tokens: Tensor) -> Tensor:
    """`tokens` int64 [sequences, positions] as float32 [sequences, positions, width]."""
    return functional.embedding(tokens, embedding)


@dataclass(frozen=True)
class Head:
    """The last norm and the output layer, float32 [vocabulary, width]."""

    norm: Tensor
    weight: Tensor
    epsilon: float

    @classmethod
    def of(cls, source: Source, architecture: Architecture) -> Head:
        """The one of `source`, tied to the embedding or not."""
        weight = source.tensor(EMBEDDING if architecture.tied else OUTPUT)
        return cls(source.tensor(OUTPUT_NORM), weight, architecture.epsilon)

    def logits(self, hidden: Tensor) -> Tensor:
        """float32 [..., vocabulary] of `hidden` [..., width]."""
        with torch.no_grad():
            return functional.linear(rms_norm(hidden, self.norm, self.epsilon), self.weight)


def logits(source: Source, architecture: Architecture, tokens: Tensor) -> Tensor:
    """float32 [sequences, positions, vocabulary], the whole model at once: for tests and small inputs."""
    turn = rotation(source, architecture, tokens.shape[1])
    hidden = embed(source.tensor(EMBEDDING), tokens)
    for layer in range(architecture.layers):
        hidden = Block(source, architecture, layer, turn)(hidden)
    return Head.of(source, architecture).logits(hidden)
