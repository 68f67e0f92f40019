"""Prompts: which layout a model was trained on, documents rendered for it, and what fits.

prompt = assemble(request, tokenizer, family, context_tokens=2048, vocabulary=vocabulary)
prompt.tokens        # run these
prompt.heal          # the generation must begin with these bytes, which are not shown
"""

from engine.prompt.assemble import assemble
from engine.prompt.families import detect
from engine.prompt.layouts import DOCUMENT_LAYOUTS, PLAIN, Family
from engine.prompt.prompt import Composition, Prompt, Segment, Slice, Unit
from engine.prompt.render import render
from engine.prompt.tokenizer import Tokenizer

__all__ = [
    "DOCUMENT_LAYOUTS",
    "PLAIN",
    "Composition",
    "Family",
    "Prompt",
    "Segment",
    "Slice",
    "Tokenizer",
    "Unit",
    "assemble",
    "detect",
    "render",
]
