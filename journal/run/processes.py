"""Signals to everything a shell or a kernel has started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path


def signal_group(group: int, number: signal.Signals) -> None:
    """Send to a process group; one that is gone is fine."""
    if group <= 1:
        return
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass


def signal_process(pid: int, number: signal.Signals) -> None:
    """Send to one process; one that is gone is fine."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def foreground(terminal: int) -> int:
    """The process group that holds the terminal, 0 when there is none."""
    try:
        return os.tcgetpgrp(terminal)
    except OSError:
        return 0


def session_members(leader: int) -> list[int]:
    """Processes of the leader's session and its descendants, the leader left out."""
    rows = _proc_rows() if Path("/proc/self/stat").exists() else _ps_rows()
    found = {pid for pid, _, session in rows if session == leader}
    grew = True
    while grew:
        more = {pid for pid, parent, _ in rows if parent in found or parent == leader} - found
        grew = bool(more)
        found |= more
    return sorted(found - {leader})


def _proc_rows() -> list[tuple[int, int, int]]:
    rows = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            rows.append((int(entry.name), int(fields[1]), int(fields[3])))
    return rows


def _ps_rows() -> list[tuple[int, int, int]]:
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False)
    pairs = (line.split() for line in listing.stdout.splitlines())
    return [(int(pid), int(parent), 0) for pid, parent in pairs]


def end_session(process: subprocess.Popen[bytes], *, grace_s: float = 0.3) -> None:
    """End a session leader and all that it started: HUP and TERM, then KILL after `grace_s`."""
    for number in (signal.SIGHUP, signal.SIGCONT, signal.SIGTERM):
        for pid in (*session_members(process.pid), process.pid):
            signal_process(pid, number)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline and (process.poll() is None or session_members(process.pid)):
        time.sleep(0.01)
    for pid in session_members(process.pid):
        signal_process(pid, signal.SIGKILL)
    if process.poll() is None:
        process.kill()
    process.wait()
