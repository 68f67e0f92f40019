"""A GGUF model and its vocabulary, through llama.cpp's low-level C functions.

Whatever would crash native code is checked here first; what native code reports is raised as engine.errors.
"""

from __future__ import annotations

import ctypes
import weakref
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import EngineError, EngineStopped, ModelFileCorrupt, ModelFileMissing, ModelUnsupported
from engine.models import verify
from engine.models.quantisation import OWN_KINDS
from engine.runtime import library, quantise

if TYPE_CHECKING:
    from engine.runtime.adapter import Adapter

_KEY_BYTES = 512
_PIECE_BYTES = 64
_LONGEST_PIECE_BYTES = 65536
_NO_VOCABULARY = 0  # llama_vocab_type


class Model:
    """A GGUF file's weights and vocabulary.

    Raises ModelFileMissing, ModelFileCorrupt, ModelUnsupported, and EngineUnavailable without the library.
    """

    def __init__(self, path: Path) -> None:
        self._c = library.load()
        self.path = path
        handle = _load_model(self._c, path)
        self._release = weakref.finalize(self, self._c.llama_model_free, handle)
        self.handle = handle
        self._vocab = self._c.llama_model_get_vocab(handle)
        self._n_vocab = int(self._c.llama_vocab_n_tokens(self._vocab))
        self._texts = int(self._c.llama_vocab_type(self._vocab))
        self._pieces: dict[int, bytes] = {}
        self.adapter: Adapter | None = None  # every Context made from now on has it
        if self._n_vocab < 1 or not self._c.llama_model_has_decoder(handle):
            self.close()
            raise ModelUnsupported(f"{path.name} cannot generate text", hint="choose a decoder model")

    def close(self) -> None:
        """Free the weights; contexts must be closed before. Idempotent."""
        self._release()

    @property
    def closed(self) -> bool:
        """Whether the weights are gone."""
        return not self._release.alive

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens in the vocabulary."""
        return self._n_vocab

    @cached_property
    def trained_context_tokens(self) -> int:
        """The longest context the model was trained on."""
        return int(self._c.llama_model_n_ctx_train(self.handle))

    @cached_property
    def metadata(self) -> dict[str, str]:
        """The GGUF's key-value pairs, as text."""
        count = self._c.llama_model_meta_count(self.handle)
        return {self._meta(i, key=True): self._meta(i, key=False) for i in range(count)}

    @cached_property
    def bos(self) -> int | None:
        """The token a prompt starts with; None when the model wants none."""
        token = int(self._c.llama_vocab_bos(self._vocab))
        wanted = bool(self._c.llama_vocab_get_add_bos(self._vocab))
        return token if wanted and 0 <= token < self._n_vocab else None

    @cached_property
    def eog(self) -> frozenset[int]:
        """The tokens that end a generation."""
        is_eog = self._c.llama_vocab_is_eog
        return frozenset(token for token in range(self._n_vocab) if is_eog(self._vocab, token))

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Tokens of `text`, no begin token; names like `<|fim_middle|>` become their token when `special`."""
        self._check_vocabulary()
        data = text.encode("utf-8", "replace")
        if not data:
            return []
        room = len(data) + 8
        buffer = (ctypes.c_int32 * room)()
        count = self._c.llama_tokenize(self._vocab, data, len(data), buffer, room, False, special)
        if count < 0:
            raise EngineError(f"the tokenizer failed on {len(data)} bytes of text", hint="report the text")
        return list(buffer[:count])

    def piece(self, token: int) -> bytes:
        """The bytes of `token`; control tokens are empty. Raises IndexError out of the vocabulary."""
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._render(token, special=False)
        return known

    def pieces(self) -> list[bytes]:
        """The bytes of every token, in order; about 0.1 s for 150,000 tokens."""
        self._check_vocabulary()
        read, vocab = self._c.llama_token_to_piece, self._vocab
        buffer = ctypes.create_string_buffer(_PIECE_BYTES)
        found = []
        for token in range(self._n_vocab):
            size = read(vocab, token, buffer, _PIECE_BYTES, 0, False)
            found.append(buffer.raw[:size] if size >= 0 else self._render(token, special=False))
        return found

    def special(self, name: str) -> int | None:
        """The control token written `name`; None when the vocabulary has none."""
        tokens = self.encode(name, special=True)
        if len(tokens) != 1 or self._render(tokens[0], special=True) != name.encode():
            return None
        return tokens[0]

    def _render(self, token: int, *, special: bool) -> bytes:
        self._check_vocabulary()
        if not 0 <= token < self._n_vocab:
            raise IndexError(f"token {token} is not in a vocabulary of {self._n_vocab}")
        for room in (_PIECE_BYTES, _LONGEST_PIECE_BYTES):
            buffer = ctypes.create_string_buffer(room)
            size = self._c.llama_token_to_piece(self._vocab, token, buffer, room, 0, special)
            if size >= 0:
                return buffer.raw[:size]
        raise EngineError(f"token {token} has no readable form", hint="the model's vocabulary is damaged")

    def _meta(self, index: int, *, key: bool) -> str:
        read = self._c.llama_model_meta_key_by_index if key else self._c.llama_model_meta_val_str_by_index
        buffer = ctypes.create_string_buffer(_KEY_BYTES)
        size = read(self.handle, index, buffer, _KEY_BYTES)
        if size >= _KEY_BYTES:
            buffer = ctypes.create_string_buffer(size + 1)
            read(self.handle, index, buffer, size + 1)
        return buffer.value.decode("utf-8", "replace")

    def _check_vocabulary(self) -> None:
        """Raise EngineStopped when closed, ModelUnsupported without texts: llama.cpp would abort."""
        self.check_open()
        if self._texts == _NO_VOCABULARY:
            name = self.path.name
            raise ModelUnsupported(
                f"{name} has no vocabulary: it knows numbers of tokens, not their texts",
                hint="choose a file with its tokenizer in it",
                subject=self.path,
            )

    def check_open(self) -> None:
        """Raise EngineStopped when closed."""
        if self.closed:
            raise EngineStopped("the model was closed", hint="open it again")


def _load_model(c: Any, path: Path) -> Any:
    if not path.is_file():
        raise ModelFileMissing(f"no model file {path}", hint="check the path, or `steerway model pull`")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelFileCorrupt(f"{path} is not a GGUF file", hint="download it again")
    library.clear_log()
    options = c.llama_model_default_params()
    # Of a type of ours every bit of metadata has a meaning: a damaged block would be read, and wrongly.
    options.check_tensors = verify.has_own_types(verify.check(path))
    if options.check_tensors and not all(map(quantise.knows, OWN_KINDS)):
        raise ModelUnsupported(
            f"{path.name} holds S24_0 or I3_0 weights, which this llama.cpp does not know",
            hint="install Steerway's own: pip install ./native",
            subject=path,
        )
    handle = c.llama_model_load_from_file(str(path).encode(), options)
    if handle:
        return handle
    reason = library.last_complaint()
    if "unknown model architecture" in reason or "unsupported" in reason.lower():
        raise ModelUnsupported(
            f"llama.cpp cannot run {path.name} ({reason})", hint="choose another model", subject=path
        )
    raise ModelFileCorrupt(f"{path} does not load ({reason})", hint="download it again", subject=path)
