"""`steerway study`: measure a model on this machine."""

from __future__ import annotations

import click

from engine.studies.commands.adapt import adapt
from engine.studies.commands.compression import compression
from engine.studies.commands.heads import heads
from engine.studies.commands.kv_reuse import kv_reuse


@click.group()
def study() -> None:
    """Measure a model on this machine: what is lost, what is gained.

    \b
    Examples:
      steerway study kv-reuse                     the default model, under 20 minutes on 2 cores
      steerway study kv-reuse smollm2-135m --json
      steerway study compression smollm2-135m     pruned, quantised, recovered: bytes against quality
      steerway study heads smollm2-135m           which attention heads an exact pattern can replace
    """


for command in (kv_reuse, compression, heads, adapt):
    study.add_command(command)
