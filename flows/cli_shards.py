"""The part of the command for several machines: `sync --shards` opens a round, `shard` joins it."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.endings import plain_endings, print_json
from flows.options import ENV_FILE, AsJson, EnvFile, read_settings

Shards = Annotated[
    int,
    typer.Option(
        "--shards", help="Share the courses out into so many parts, for as many machines.", min=1, max=100
    ),
]


def shard(
    wait: Annotated[float, typer.Option(help="Seconds to wait for a run with shards to begin.", min=0)] = 0.0,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Do what is free of a run that another machine began with `sync --shards`."""
    from flows.attended import run_shards
    from flows.show import show_result

    with plain_endings(as_json, stopped="Stopped. The machine that began the run does this part as well."):
        result = run_shards(read_settings(env_file), wait)
        if as_json:
            print_json(result.as_json())
        else:
            show_result(result)
        raise typer.Exit(result.state.exit_code)
