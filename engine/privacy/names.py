"""Files that hold secrets by convention, known by their names alone: nothing is opened."""

from __future__ import annotations

import fnmatch
from pathlib import PurePath

SECRET_NAMES = (
    ".env", ".env.*", ".env-*", "*.env", ".envrc", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore",
    "*.kdbx", "*.ppk", "*.gpg", "*.age", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "authorized_keys",
    ".netrc", "_netrc", ".pgpass", ".npmrc", ".pypirc", ".htpasswd", ".git-credentials", ".dockercfg",
    "credentials", "secrets", "*.secret", "*.secrets", "*.tfstate", "*.tfstate.*", "*.tfvars", ".vault-pass*",
    ".vault-token", "service-account*.json",
)  # fmt: skip
SECRET_STEMS = ("credentials.*", "secrets.*")
# A program or a page about secrets is none itself; what it may hold all the same is masked (strings.py).
WRITTEN_BY_PEOPLE = (
    ".py", ".pyi", ".rs", ".go", ".ts", ".tsx", ".js", ".jsx", ".java", ".c", ".h", ".cpp", ".hpp", ".cc",
    ".rb", ".cs", ".kt", ".swift", ".php", ".md", ".rst",
)  # fmt: skip
TEMPLATES = ("*.example", "*.sample", "*.template", "*.dist", "*.pub")
SECRET_FOLDERS = (".git", ".steerway", ".ssh", ".gnupg", ".aws", ".azure", ".kube")


def forbidden_name(path: PurePath) -> str:
    """The part of `path` that marks it as a secret or as a tool's own folder, `""` if none does."""
    for part in path.parts[:-1]:
        if part.lower() in SECRET_FOLDERS:
            return part
    name = path.name.lower()
    if _any(name, TEMPLATES):
        return ""
    stems = () if PurePath(name).suffix in WRITTEN_BY_PEOPLE else SECRET_STEMS
    return path.name if _any(name, SECRET_NAMES + stems) else ""


def _any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
