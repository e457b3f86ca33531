"""The command line: `python -m bot run | demo | digest | check | embedded | backup`."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from bot import __version__
from bot.config import Program, Settings, read_settings, unknown_variables
from bot.errors import BotError, ConfigError, SocketModeEnded
from bot.process import AbandonedThreads, ended_by_signals, forever, loading, set_up_logging

DEMO_PORT = 8020
#: What failed, by program; for the others: “Could not start”.
ACTIONS = {"digest": "post the digest", "backup": "back up the database"}
EXIT_FAILED = 1
EXIT_MISCONFIGURED = 2
#: EX_CONFIG of sysexits.h: a restart would not help (see RestartPreventExitStatus in the unit).
EXIT_CONFIG = 78

log = logging.getLogger("bot")


def arguments() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m bot", description="SSLmonitor in Slack.")
    parser.add_argument("--version", action="version", version=__version__)
    programs = parser.add_subparsers(dest="program", metavar="PROGRAM")
    programs.add_parser("run", help="run the bot, with the settings in the environment")
    demo = programs.add_parser("demo", help="try everything in a browser, without Slack")
    demo.add_argument(
        "--port", type=int, help=f"the page's port (default: {DEMO_PORT}, or any free port)"
    )
    digest = programs.add_parser("digest", help="post today's digest now, then exit")
    digest.add_argument(
        "--again", action="store_true", help="post it even if it was already posted today"
    )
    programs.add_parser("check", help="report what is set and whether it works")
    backup = programs.add_parser("backup", help="copy the SQLite database while it is in use")
    backup.add_argument("file", type=Path, metavar="FILE", help="the new file")
    embedded = programs.add_parser("embedded", help="serve only the embedded SSLmonitor API")
    embedded.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    embedded.add_argument("--port", type=int, default=8021, help="the port to listen on")
    _add_keys(embedded)
    return parser


def _add_keys(embedded: argparse.ArgumentParser) -> None:
    kinds = embedded.add_subparsers(dest="part", metavar="[keys]")
    keys = kinds.add_parser("keys", help="add, list and revoke API keys")
    actions = keys.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="add a key and show it once")
    owner = add.add_mutually_exclusive_group(required=True)
    owner.add_argument("name", nargs="?", help="the name of a new account")
    owner.add_argument("--account", type=int, help="the ID of an account whose key was revoked")
    add.add_argument("--limit", type=_limit, help="the monitor limit of the account")
    add.add_argument("--only", choices=["expect"], help="a key for web servers' deploy hooks")
    add.add_argument("--of", type=int, default=1, help="the account of an --only key")
    actions.add_parser("list", help="list the accounts and keys")
    revoke = actions.add_parser("revoke", help="revoke a key; its monitors are no longer scanned")
    revoke.add_argument("id", type=int, help="the key's ID, from `keys list`")


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= 10_000_000:
        raise argparse.ArgumentTypeError("must be a number from 1 to 10000000")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one program; returns the exit code: 1 for a failure, 2 for invalid settings."""
    parser = arguments()
    options = parser.parse_args(argv)
    if options.program is None:
        parser.print_help()
        return 0
    try:
        return asyncio.run(_program(options))
    except ConfigError as fault:
        faults = (f"- {line}" for line in fault.faults)
        print("Fix these settings first:", *faults, sep="\n", file=sys.stderr)
        return EXIT_MISCONFIGURED
    except SocketModeEnded as fault:
        print(f"Stopped: {fault}", file=sys.stderr)
        return EXIT_CONFIG
    except (BotError, OSError) as fault:
        print(f"Could not {ACTIONS.get(options.program, 'start')}: {fault}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 0


def entry() -> NoReturn:
    """Run one program, then exit at once: Python itself would wait for hanging name lookups."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(code)


async def _program(options: argparse.Namespace) -> int:
    asyncio.get_running_loop().set_default_executor(AbandonedThreads())
    # Each program imports only what it needs, so that the demo's page appears quickly.
    if options.program == "demo":
        return await _demo(options.port)
    is_keys = options.program == "embedded" and options.part == "keys"
    program: Program = "keys" if is_keys else options.program
    if program == "backup":
        from bot.store.backup import backup

        settings = _settings(program)
        await asyncio.to_thread(backup, settings.database_url, options.file)
        print(f"Copied to {options.file}.")
        return 0
    with loading():
        settings = _settings(program)
        from bot.app import engine

        if program == "run":
            from bot.app.programs import run
        elif program == "digest":
            from bot.app.posting import post_digest

    match program:
        case "keys":
            return await engine.manage_keys(settings, options, print)
        case "run":
            await run(settings)
        case "embedded":
            await engine.serve_embedded(settings, options.host, options.port)
        case "digest":
            print(await post_digest(settings, again=options.again))
        case "check":
            from bot.check import check

            return EXIT_FAILED if await check(settings, os.environ, print) else 0
    return 0


def _settings(program: Program) -> Settings:
    """Read the settings, start logging, and warn of typos (`check` has them in its report)."""
    from bot.embedded import parse_allow

    settings = read_settings(os.environ, program=program, scan_rules=parse_allow)
    set_up_logging(settings.log_level, settings.log_format)
    if program != "check":
        for unknown in unknown_variables(os.environ):
            log.warning("%s", unknown)
    return settings


async def _demo(port: int | None) -> int:
    from bot.demo import first_digest, running_demo

    set_up_logging(logging.WARNING)
    async with ended_by_signals(), running_demo(port=_free_port(port)) as demo:
        print(f"Open {demo.playground.url} and type /ssl help (Ctrl-C ends the demo)", flush=True)
        await first_digest(demo)
        await forever()
    return 0


def _free_port(port: int | None) -> int:
    """The requested port; by default DEMO_PORT if it is free, else 0, which means any."""
    import socket

    if port is not None:
        return port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", DEMO_PORT))
        except OSError:
            return 0
    return DEMO_PORT


if __name__ == "__main__":
    entry()
