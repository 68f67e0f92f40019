"""While a cell runs, what the person types goes to it."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
from types import TracebackType

from journal.run.runner import Runner


class Typing:
    """Forwards the terminal's input to the running cell; Ctrl-C stays a signal to us.

    Nothing is forwarded while `paused` (a question is being asked).
    """

    active: Typing | None = None

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._fd = sys.stdin.fileno()
        self._stop_read, self._stop_write = -1, -1
        self._thread: threading.Thread | None = None
        self._mode: list[object] | None = None

    def __enter__(self) -> Typing:
        Typing.active = self
        self.resume()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pause()
        Typing.active = None

    def resume(self) -> None:
        """Forward from now on."""
        self._mode = termios.tcgetattr(self._fd)
        quiet = termios.tcgetattr(self._fd)
        # The cell's own terminal shows what is typed; this one would show it twice.
        quiet[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(self._fd, termios.TCSADRAIN, quiet)
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._forward, name="steerway-typing", daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Stop forwarding and give the terminal back as it was."""
        if self._thread is None:
            return
        os.write(self._stop_write, b".")
        self._thread.join()
        self._thread = None
        os.close(self._stop_read)
        os.close(self._stop_write)
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._mode)  # type: ignore[arg-type]

    def _forward(self) -> None:
        while True:
            ready, _, _ = select.select([self._fd, self._stop_read], [], [])
            if self._stop_read in ready:
                return
            data = os.read(self._fd, 4096)
            if not data:
                return
            self._runner.write(data)
