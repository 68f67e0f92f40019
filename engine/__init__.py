"""Documents and a cursor in, a suggestion out. Knows nothing of journals or editors."""

from engine.documents import Document
from engine.errors import SteerwayError
from engine.request import Cancel, DocumentUse, Plan, Request, Suggestion

__all__ = ["Cancel", "Document", "DocumentUse", "Plan", "Request", "SteerwayError", "Suggestion"]
