"""Models of a few kilobytes with memories that are not one plain KV cache: random weights, no vocabulary."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

EMBD, FF, VOCAB, LAYERS = 64, 64, 32, 2

Shapes = dict[str, tuple[int, ...]]


def sliding_window(path: Path) -> Path:
    """A Gemma-2-like model: every other layer sees a window, so llama.cpp keeps two caches."""
    writer = _writer(path, "gemma2")
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_key_length(32)
    writer.add_value_length(32)
    writer.add_feed_forward_length(FF)
    writer.add_sliding_window(16)
    block = {
        "attn_norm.weight": (EMBD,), "attn_q.weight": (64, EMBD), "attn_k.weight": (32, EMBD),
        "attn_v.weight": (32, EMBD), "attn_output.weight": (EMBD, 64), "post_attention_norm.weight": (EMBD,),
        "ffn_norm.weight": (EMBD,), "ffn_gate.weight": (FF, EMBD), "ffn_up.weight": (FF, EMBD),
        "ffn_down.weight": (EMBD, FF), "post_ffw_norm.weight": (EMBD,),
    }  # fmt: skip
    return _write(writer, path, block)


def recurrent(path: Path) -> Path:
    """A Mamba-like model: its memory is a state, without a cell per token."""
    writer = _writer(path, "mamba")
    inner, state, rank, kernel = 2 * EMBD, 4, 4, 4
    writer.add_head_count(0)
    writer.add_feed_forward_length(0)
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    block = {
        "attn_norm.weight": (EMBD,), "ssm_in.weight": (2 * inner, EMBD), "ssm_conv1d.weight": (inner, kernel),
        "ssm_conv1d.bias": (inner,), "ssm_x.weight": (rank + 2 * state, inner),
        "ssm_dt.weight": (inner, rank),
        "ssm_dt.bias": (inner,), "ssm_a": (inner, state), "ssm_d": (inner,), "ssm_out.weight": (EMBD, inner),
    }  # fmt: skip
    return _write(writer, path, block)


def rotating(path: Path, architecture: str, *, factors: np.ndarray | None = None) -> Path:
    """A model of two heads of 32 values over one key head.

    `llama` rotates neighbours, `chatglm` neighbours in the first half of a head, `stablelm` that half's
    halves. `factors` (llama only) divide the frequencies.
    """
    writer = _writer(path, architecture)
    writer.add_layer_norm_eps(1e-5)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_key_length(32)
    writer.add_value_length(32)
    writer.add_rope_dimension_count(32 if architecture == "llama" else 16)
    writer.add_feed_forward_length(FF)
    block = {
        "attn_norm.weight": (EMBD,), "attn_q.weight": (64, EMBD), "attn_k.weight": (32, EMBD),
        "attn_v.weight": (32, EMBD), "attn_output.weight": (EMBD, 64), "ffn_norm.weight": (EMBD,),
        "ffn_up.weight": (FF, EMBD), "ffn_down.weight": (EMBD, FF),
    }  # fmt: skip
    if architecture == "chatglm":
        return _write(writer, path, block | {"ffn_up.weight": (2 * FF, EMBD)})
    block |= {"ffn_gate.weight": (FF, EMBD)}
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", factors)
    if architecture == "llama":
        return _write(writer, path, block)
    block |= {"attn_norm.bias": (EMBD,), "ffn_norm.bias": (EMBD,)}
    return _write(writer, path, block, {"output_norm.bias": (EMBD,), "output.weight": (VOCAB, EMBD)})


def _writer(path: Path, architecture: str) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(256)
    writer.add_embedding_length(EMBD)
    writer.add_block_count(LAYERS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("no_vocab")
    return writer


def _write(writer: gguf.GGUFWriter, path: Path, block: Shapes, more: Shapes | None = None) -> Path:
    random = np.random.default_rng(7)
    shapes: Shapes = {"token_embd.weight": (VOCAB, EMBD), "output_norm.weight": (EMBD,)} | (more or {})
    shapes |= {f"blk.{i}.{name}": shape for i in range(LAYERS) for name, shape in block.items()}
    for name, shape in shapes.items():
        writer.add_tensor(name, random.normal(0, 0.1, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
