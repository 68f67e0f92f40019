"""`steerway engine`: the process that runs the model for all front ends."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from engine.services import Ended, Found

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


@click.group()
def engine() -> None:
    """Start, stop and examine the process that runs the model.

    The TUI, the shell, the commands and all editors of a user share one loaded model and one cache of
    documents. It starts by itself when it is needed and ends when it was idle for `engine_idle_minutes`, so
    none of these commands is necessary. With `--engine inline`, or the setting `engine = "inline"`, a command
    loads the model in its own process.

    \b
    Examples:
      steerway engine status
      steerway engine start
      steerway engine stop
    """


@engine.command()
@click.option("--model", metavar="NAME|PATH", help="This model instead of your settings' one.")
@as_json
def start(model: str | None, as_json: bool) -> None:
    """Start the engine and load the model, so that the first suggestion need not wait.

    \b
    Examples:
      steerway engine start
      steerway engine start --model qwen2.5-coder-1.5b
    """
    from engine.open import wanted
    from engine.runtime.client import EngineClient
    from engine.settings import load

    spec = wanted(model, load())
    with EngineClient(lambda: spec, name="engine start", on_wait=_say) as client:
        info = client.warm().result()
        status = client.status()
    if as_json:
        click.echo(json.dumps(status))
    else:
        click.echo(f"{info.model} is ready: process {status['service']['pid']}")


@engine.command()
@as_json
def stop(as_json: bool) -> None:
    """Stop every engine of yours: asked first, then by signal.

    What is under way ends with an error. Editors stay connected and start it again at their next request.

    \b
    Examples:
      steerway engine stop
    """
    from engine.services import end, find

    ended = [end(found) for found in find()]
    if as_json:
        click.echo(json.dumps([_ended(each) for each in ended]))
        return
    for each in ended:
        click.echo(f"{each.found.model}: process {each.found.pid} {each.how}")
    if not ended:
        click.echo("no engine runs")


@engine.command()
@as_json
def status(as_json: bool) -> None:
    """Show every engine of yours: process, memory, clients, requests, what is cached and how fast it is.

    With --json a list with one object for each: `service` (the process), what `EngineThread` counted
    (`requests`, `tokens`, `preparing`, `first_token_ms` as pairs of predicted and actual), and `engine` (what
    its back end says). docs/service.md describes them.

    \b
    Examples:
      steerway engine status
      steerway engine status --json
    """
    from engine.services import find

    found = find()
    if as_json:
        click.echo(json.dumps([each.status or _silent(each) for each in found], indent=2))
        return
    for each in found:
        click.echo("\n".join(_described(each)))
    if not found:
        click.echo("no engine runs; the first request starts one")


def _say(message: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"steerway: {message}", err=True)


def _ended(each: Ended) -> dict[str, Any]:
    return {"pid": each.found.pid, "model": each.found.model, "how": each.how}


def _silent(found: Found) -> dict[str, Any]:
    return {"service": {"name": found.name, "pid": found.pid, "model": found.model, "problem": found.problem}}


def _described(found: Found) -> list[str]:
    """Lines for a person."""
    lines = [f"{found.model}  process {found.pid}"]
    status = found.status
    if status is None:
        return [*lines, f"  {found.problem}: `steerway engine stop` ends it"]
    from engine.services import ASKING

    service = status["service"]
    runs = status["running"]
    lines += [
        f"  up {_duration(service['uptime_s'])}, idle {_duration(service['idle_s'])}, "
        f"{service['rss_bytes'] / 1e6:,.0f} MB, {'loaded' if status['loaded'] else 'not loaded'}"
        + (f", serving {runs}" if runs else ""),
        f"  {status['requests']} requests ({status['cancelled']} cancelled, {status['failed']} failed), "
        + ", ".join(f"{count:,} tokens {name}" for name, count in status["tokens"].items()),
        f"  {status['idle_pieces']} pieces of idle work ({status['idle_preempted']} made way), "
        f"{sum(max(left, 0) for left in status['preparing'].values())} left",
    ]
    lines += [_client(each) for each in service["clients"] if each["name"] != ASKING]
    lines += _accuracy(status["first_token_ms"])
    return lines + _engine(status["engine"])


def _engine(told: dict[str, Any]) -> list[str]:
    """What the engine says of itself, in the words of `steerway status`."""
    from engine.standing import describe, describe_caches, describe_cost, describe_heads

    reuse = told.get("reuse") or {}
    parts = {
        "reuse": describe(reuse),
        "heads": describe_heads(reuse),
        "times": describe_cost(reuse.get("cost")),
        "cache": describe_caches(reuse),
    }
    parts |= {name: [_short(value)] for name, value in told.items() if name != "reuse"}
    return [
        f"  {name if first else '':8} {line}"
        for name, lines in parts.items()
        for first, line in zip((True, *[False] * len(lines)), lines, strict=False)
    ]


def _client(client: dict[str, Any]) -> str:
    asked = sum(client["parts"].values())
    return (
        f"  client {client['name'] or 'unnamed'} (process {client['pid']}), {asked} requests, "
        f"connected for {_duration(client['seconds'])}"
    )


def _accuracy(pairs: list[tuple[float, float]]) -> list[str]:
    """How the last first tokens compare with what was predicted."""
    if not pairs:
        return []
    actual = sorted(ms for _, ms in pairs)[len(pairs) // 2]
    off = sorted(abs(ms - predicted) for predicted, ms in pairs if predicted)
    said = f"  first token after {actual:.0f} ms (median of the last {len(pairs)})"
    return [said + (f", predicted within {off[len(off) // 2]:.0f} ms" if off else "")]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _short(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_short, value)) or "none"
    return f"{value:,.1f}" if isinstance(value, float) else str(value)
