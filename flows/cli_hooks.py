"""The commands about webhooks: `receiver` takes hints in, `drain` works them off."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from flows.endings import plain_endings, print_json, say
from flows.options import ENV_FILE, AsJson, EnvFile, read_settings

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def receiver(
    port: Annotated[
        int | None,
        typer.Option(help="Port to listen on; else RECEIVER_PORT, or 4201. 0 takes a free one.", min=0, max=65535),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; this computer only, unless given.")
    ] = "127.0.0.1",
    env_file: EnvFile = ENV_FILE,
) -> None:
    """Take in what Moodle's webhooks and CommCare's data forwarding tell, until Ctrl-C."""
    from flows.receive_server import serve

    with plain_endings(stopped="Stopped. Every post that was answered 202 is in the inbox."):
        settings = read_settings(env_file)
        logging.getLogger("flows.receive").setLevel(logging.INFO)
        if host not in LOOPBACK:
            say(f"Listening on {host}, without encryption: let only a proxy with https reach this port.")
        serve(
            settings,
            host,
            settings.receiver_port if port is None else port,
            lambda url: say(f"Listening on {url}"),
        )
        say("Stopped. Every post that was answered 202 is in the inbox.")


def drain(
    seconds: Annotated[
        int,
        typer.Option("--for", help="Go on looking for so many seconds, for a schedule of every minute.", min=0),
    ] = 0,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Work off the hints in the inbox: read the courses that they are about, and send what differs."""
    from flows.attended_drain import run_drain

    with plain_endings(as_json, stopped="Stopped. Hints that were not worked off stay in the inbox."):
        done = run_drain(read_settings(env_file), float(seconds))
        if as_json:
            print_json(done.as_json())
        else:
            for line in done.lines():
                say(line)
        raise typer.Exit(done.state.exit_code)
