"""Which files get no suggestion, and why: secrets, ignored files, files that are not text a person writes.

Refusing is by name and by the ignore files of the workspace (`.gitignore`, `.steerwayignore`,
`.git/info/exclude`), with git's own rules through pathspec. Nothing is read but those ignore files.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

_IGNORE_FILES = (".gitignore", ".steerwayignore")
_LARGEST_FILE_CHARACTERS = 2_000_000
_SECRET_NAMES = (
    ".env", ".env.*", "*.env", ".envrc", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx",
    "*.ppk", "*.gpg", "*.age", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc", "_netrc",
    ".pgpass", ".npmrc", ".pypirc", ".htpasswd", ".git-credentials", "credentials", "credentials.*",
    "secrets", "secrets.*", "*.secret", "*.secrets", "*.tfstate", "*.tfvars", ".vault-pass*",
    "service-account*.json",
)  # fmt: skip
_NOT_SECRET = (
    "*.example", "*.sample", "*.template", "*.dist", "*.pub",
    "*.py", "*.rs", "*.go", "*.ts", "*.js", "*.java", "*.c", "*.h", "*.cpp",
)  # fmt: skip


def secret(name: str) -> bool:
    """Whether a file of this name (or path) holds secrets by convention."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1].lower()
    if any(fnmatch.fnmatchcase(base, pattern) for pattern in _NOT_SECRET):
        return False
    return any(fnmatch.fnmatchcase(base, pattern) for pattern in _SECRET_NAMES)


@dataclass(frozen=True)
class _Rules:
    stamp: tuple[int, int]
    spec: GitIgnoreSpec


class Guard:
    """Says why a file gets no suggestion. Ignore files are read again when they change."""

    def __init__(self) -> None:
        self._rules: dict[Path, _Rules | None] = {}

    def refusal(self, path: Path | None, *, scheme: str = "file", characters: int = 0) -> str:
        """One line of why not, empty when suggestions are fine. `path` None: a buffer that is not a file."""
        if scheme not in ("file", "untitled"):
            return f"{scheme}: documents get no suggestions"
        if characters > _LARGEST_FILE_CHARACTERS:
            return f"the file is longer than {_LARGEST_FILE_CHARACTERS:,} characters"
        if path is None:
            return ""
        if secret(path.name):
            return f"{path.name} may hold secrets"
        if ignored_by := self.ignored_by(path):
            return f"{path.name} is ignored by {ignored_by}"
        return ""

    def ignored_by(self, path: Path) -> str:
        """The ignore file that leaves `path` out, relative to its repository; empty when none does."""
        root = _repository(path)
        folders = [root, *(root / part for part in _between(root, path.parent))]
        steps = [*folders[1:], path]
        for depth, step in enumerate(steps):
            # A folder that is ignored cannot have a file in it taken back (gitignore(5)), so each in turn.
            verdict = self._verdict(folders[: depth + 1], step, is_folder=step is not path)
            if verdict:
                return verdict.relative_to(root).as_posix()
        return ""

    def _verdict(self, folders: list[Path], target: Path, *, is_folder: bool) -> Path | None:
        found: Path | None = None
        files = [folders[0] / ".git" / "info" / "exclude"]
        files += [folder / name for folder in folders for name in _IGNORE_FILES]
        for file in files:
            base = folders[0] if file.name == "exclude" else file.parent
            if (spec := self._spec(file)) is None:
                continue
            name = target.relative_to(base).as_posix() + ("/" if is_folder else "")
            include = spec.check_file(name).include
            if include is not None:
                found = file if include else None
        return found

    def _spec(self, file: Path) -> GitIgnoreSpec | None:
        try:
            status = file.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            known = self._rules.get(file)
            if known is None or known.stamp != stamp:
                lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
                known = _Rules(stamp, GitIgnoreSpec.from_lines(lines))
                self._rules[file] = known
        except (OSError, ValueError):
            self._rules.pop(file, None)
            return None
        return known.spec


def _repository(path: Path) -> Path:
    """The folder whose ignore files count: the nearest with .git or .steerway, else the file's own."""
    marks = (".git", ".steerway", ".steerwayignore")
    found = (folder for folder in path.parents if any((folder / mark).exists() for mark in marks))
    return next(found, path.parent)


def _between(root: Path, folder: Path) -> list[Path]:
    """The folders from below `root` down to `folder`, relative to `root`."""
    relative = folder.relative_to(root)
    return [part for part in (*reversed(relative.parents), relative) if part.parts]
