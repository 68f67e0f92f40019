"""Policy on suggestions, pure: what is done to a text before anyone sees it."""

from engine.suggest.finish import Finished, finish, judge

__all__ = ["Finished", "finish", "judge"]
