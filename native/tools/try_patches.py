"""Where the patches of native/patches would fit another llama.cpp than the pinned one. Nothing is changed.

For each hunk, its old lines are looked for in the other tree together with up to three lines around them,
as the pinned tree has them:

  exact     at the line that the patch names
  moved     elsewhere, as often as in the pinned tree: the patch needs the new line number
  unsure    only with fewer lines around them, or more or less often: read the code before the hunk is moved
  rejected  the old lines are not there: the hunk needs new ones

Of a checkout of llama.cpp, hunks for the Python project around it are left out.

Examples:
  python native/tools/try_patches.py 0.3.35                      # a release, fetched by pip (75 MB)
  python native/tools/try_patches.py ~/src/llama.cpp --hunks     # a checkout; names hunks that are not exact
  python native/tools/try_patches.py ~/src/llama.cpp --write new # patches with new line numbers, to be read
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NATIVE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(NATIVE / "backend"))

from steerway_native import fetch, patch, pins, tree  # noqa: E402
from steerway_native.errors import NativeError, SourceUnavailable  # noqa: E402

VENDOR = "vendor/llama.cpp/"
AROUND = 3  # lines on each side of a hunk that must be the same, too
STATES = ("exact", "moved", "unsure", "rejected")


@dataclass(frozen=True)
class Found:
    patch: str
    hunk: patch.Hunk
    state: str
    line: int | None = None  # in the other tree, from 1

    def __str__(self) -> str:
        at = f" at line {self.line}" if self.line else ""
        hunk = self.hunk
        return f"{self.patch}: hunk {hunk.number}: {hunk.file}, line {hunk.line}: {self.state}{at}"


def lines_of(root: Path, name: str) -> list[str] | None:
    """Lines of a file, named as patches do also in a checkout of llama.cpp. None: no such file."""
    for path in (root / name, root / name.removeprefix(VENDOR)):
        if path.is_file():
            return path.read_text(encoding="utf-8").split("\n")
    return None


def places(lines: list[str], wanted: list[str]) -> list[int]:
    """Indices at which the wanted lines begin."""
    n = len(wanted)
    return [at for at in range(len(lines) - n + 1) if lines[at : at + n] == wanted]


def find(name: str, hunk: patch.Hunk, base: list[str], other: list[str] | None) -> Found:
    if other is None:
        return Found(name, hunk, "rejected")
    at, n = hunk.line - 1 + (not hunk.old), len(hunk.old)
    for around in range(AROUND, -1, -1):
        first = max(0, at - around)
        wanted = base[first : at + n + around]
        if not wanted:
            break
        there, here = places(other, wanted), places(base, wanted)
        if around == AROUND and there and len(there) == len(here):  # as many of them, so the same in order
            place = there[here.index(first)] + at - first
            return Found(name, hunk, "exact" if place == at else "moved", place + 1)
        if there:
            nearest = min((place + at - first for place in there), key=lambda place: abs(place - at))
            return Found(name, hunk, "unsure", nearest + 1)
    return Found(name, hunk, "rejected")


def compare(base: Path, other: Path, patches: list[Path]) -> list[Found]:
    """All hunks of all patches, in order. A file that the pinned tree lacks is a NativeError."""
    found = []
    whole = (other / VENDOR).is_dir()
    for one in patches:
        for hunk in patch.parse(one):
            if not whole and not hunk.file.startswith(VENDOR):
                continue
            pinned = lines_of(base, hunk.file)
            if pinned is None:
                raise NativeError(f"{one.name}: {hunk.file} is not in the pinned tree: build it first")
            found.append(find(one.stem, hunk, pinned, lines_of(other, hunk.file)))
    return found


def renumbered(text: str, found: list[Found]) -> str:
    """The text of a patch, none of whose hunks is rejected, with the lines at which its hunks were found."""
    lines, offsets = text.split("\n"), Counter[str]()
    at = {one.hunk.number: one for one in found}
    headers = [i for i, line in enumerate(lines) if line.startswith("@@ -")]
    for number, i in enumerate(headers, 1):
        if number not in at:  # of a file that the other tree need not have
            continue
        hunk, line = at[number].hunk, at[number].line or 0
        old, new = len(hunk.old), len(hunk.new)
        start = line - (not hunk.old)  # without old lines the number names the line before
        lines[i] = f"@@ -{start},{old} +{line + offsets[hunk.file]},{new} @@"
        offsets[hunk.file] += new - old
    return "\n".join(lines)


def write(folder: Path, patches: list[Path], found: list[Found]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for one in patches:
        of_it = [hunk for hunk in found if hunk.patch == one.stem]
        if rejected := [str(hunk.hunk.number) for hunk in of_it if hunk.state == "rejected"]:
            print(f"{one.name} is not written: rejected hunks {', '.join(rejected)}")
            continue
        text = renumbered(one.read_text(encoding="utf-8"), of_it)
        (folder / one.name).write_text(text, encoding="utf-8")


def table(label: str, found: list[Found]) -> Iterator[str]:
    yield f"| {label} | hunks | {' | '.join(STATES)} |"
    yield f"|---|---|{'---|' * len(STATES)}"
    for name in dict.fromkeys(one.patch for one in found):
        counts = Counter(one.state for one in found if one.patch == name)
        yield f"| {name} | {counts.total()} | {' | '.join(str(counts[state]) for state in STATES)} |"


@contextmanager
def release(version: str) -> Iterator[Path]:
    """The unpacked source distribution of a release. Raises SourceUnavailable.

    pip prepares metadata of what it downloads, for which it installs the build tool in a place of its own.
    """
    name = pins.read(NATIVE).name
    with tempfile.TemporaryDirectory(prefix="steerway-release-") as folder:
        print(f"fetching {name} {version} (75 MB)", file=sys.stderr, flush=True)
        options = ("--no-deps", "--no-binary", name, "--disable-pip-version-check", "-d", folder)
        command = [sys.executable, "-m", "pip", "download", *options, f"{name}=={version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        archives = list(Path(folder).glob("*.tar.gz"))
        if done.returncode != 0 or not archives:
            reason = (done.stderr.strip().splitlines() or ["pip download gave no file"])[-1]
            raise SourceUnavailable(f"cannot fetch {name} {version}: {reason}")
        with tarfile.open(archives[0], "r:gz") as packed:
            packed.extractall(folder, filter="data")
        yield next(path for path in Path(folder).iterdir() if path.is_dir())


@contextmanager
def pinned() -> Iterator[Path]:
    base = pins.read(NATIVE)
    with tempfile.TemporaryDirectory(prefix="steerway-base-") as folder:
        yield tree.unpack(fetch.source(base), Path(folder), base)


@contextmanager
def target(name: str) -> Iterator[Path]:
    """A folder as it is, else a release of that number."""
    if Path(name).is_dir():
        yield Path(name)
        return
    with release(name) as folder:
        yield folder


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="+", metavar="RELEASE|FOLDER")
    parser.add_argument("--hunks", action="store_true", help="also name each hunk that is not exact")
    parser.add_argument(
        "--write", type=Path, metavar="FOLDER", help="put renumbered patches there (one target)"
    )
    arguments = parser.parse_args()
    patches = sorted((NATIVE / "patches").glob("*.patch"))
    try:
        for name in arguments.targets:
            if not Path(name).is_dir() and not name[:1].isdigit():
                raise NativeError(f"{name} is neither a folder nor a release such as 0.3.35")
        with pinned() as base:
            for name in arguments.targets:
                with target(name) as other:
                    found = compare(base, other, patches)
                print("\n".join(table(name, found)))
                if arguments.hunks:
                    print(*(one for one in found if one.state != "exact"), sep="\n")
                if arguments.write:
                    write(arguments.write, patches, found)
    except NativeError as error:
        print(f"try_patches: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
