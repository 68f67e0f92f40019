"""Which model architectures' keys and values may be moved and put together, by what a GGUF says of itself.

Needed is plain rotary attention of every token to all before it, in every layer: then a key computed at one
position becomes that of another by a rotation, and nothing else of the model remembers where it was.
"""

from __future__ import annotations

from collections.abc import Mapping

# Decoders in llama.cpp with rotary positions (plain or NeoX) in all layers and nothing else.
PLAIN = frozenset(
    {
        "llama", "qwen", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "starcoder2", "codeshell", "deepseek",
        "internlm2", "minicpm", "granite", "granitemoe", "olmo", "olmo2", "olmoe", "stablelm", "phi2", "phi3",
        "gemma", "command-r", "gptneox", "nemotron", "xverse", "orion", "chatglm", "glm4", "seed_oss",
        "ernie4_5", "arcee", "hunyuan-dense",
    }
)  # fmt: skip

# Architectures known for something else, so that the reason can be said in words. From llama.cpp's
# llama_model_rope_type, llm_arch_is_recurrent and llm_arch_is_hybrid.
_KNOWN: dict[str, tuple[str, ...]] = {
    "learned positions": ("gpt2", "starcoder"),
    "ALiBi": ("mpt", "bloom", "refact", "jais", "baichuan"),
    "recurrent layers": (
        "mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7", "jamba", "falcon-h1", "plamo2",
        "granitehybrid", "nemotron_h", "nemotron_h_moe", "lfm2", "lfm2moe", "qwen3next", "qwen35",
        "qwen35moe", "kimi-linear", "minimax-01",
    ),
    "M-RoPE": ("qwen2vl", "qwen3vl", "qwen3vlmoe", "paddleocr", "hunyuan_vl"),
    "a sliding window": ("gemma2", "gemma3", "gemma3n", "gemma4", "cohere2", "gpt-oss", "exaone4", "plamo3"),
    "chunked attention": ("llama4",),
    "layers without positions": ("smollm3",),
    "latent attention": ("deepseek2", "deepseek32", "minicpm3", "plm", "glm-dsa"),
    "no causal attention": ("bert", "nomic-bert", "jina-bert-v2", "llada", "dream", "rnd1", "t5"),
}  # fmt: skip
_REASONS = {name: reason for reason, names in _KNOWN.items() for name in names}

# Beginnings of metadata keys behind the architecture's name, which tell the same of an architecture that is
# else plain; 0 means none.
_KEYS = {
    "attention.sliding_window": "a sliding window",
    "attention.chunk_size": "chunked attention",
    "attention.max_alibi_bias": "ALiBi",
    "attention.kv_lora_rank": "latent attention",
    "rope.dimension_sections": "M-RoPE",
    "ssm.": "recurrent layers",
    "wkv.": "recurrent layers",
    "shortconv.": "convolutional layers",
    "full_attention_interval": "recurrent layers",
}
_NOTHING = ("", "0", "0.0", "0.000000", "false")


def obstacle(metadata: Mapping[str, str]) -> str:
    """Why keys and values of a model with this GGUF metadata may not be moved; "" when they may."""
    architecture = metadata.get("general.architecture", "")
    if not architecture:
        return "the model does not name its architecture"
    if reason := _REASONS.get(architecture):
        return f"{architecture} has {reason}"
    for key, value in metadata.items():
        name = key.removeprefix(f"{architecture}.")
        found = next((_KEYS[start] for start in _KEYS if name.startswith(start)), "")
        if found and name != key and value not in _NOTHING:
            return f"this {architecture} model has {found}"
    return "" if architecture in PLAIN else f"the architecture {architecture} has not been looked at"
