"""The command `ui`: what is going on in the store, in a browser."""

from __future__ import annotations

import contextlib
import socket
import webbrowser
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import click

from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.shared import open_to_look, page_module, say, show_text
from ptsflow.errors import ContainerNotFound, UsageError

_PORT = 8686


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    metavar="ADDRESS",
    help="Listen at this address (127.0.0.1: browsers of this host alone).",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=_PORT,
    metavar="N",
    help=f"Listen at this port ({_PORT}); 0 for any that is free.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
@click.option("--actions", is_flag=True, help="Let the page change containers.")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep the token of the page there, not in the user's folder.",
)
@click.option("--no-token", is_flag=True, help="Let every user of this host look.")
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="Browsers may call the page by this name, as behind a proxy; can be repeated.",
)
@common_options
@pass_common
def ui(  # noqa: PLR0913 - the options of a command
    common: Common,
    *,
    host: str,
    port: int,
    opens: bool,
    actions: bool,
    token_file: Path | None,
    no_token: bool,
    names: tuple[str, ...],
) -> None:
    """Show in a browser what is going on, until Ctrl-C.

    The page is read-only without --actions. It runs nothing and loads no user code.
    """
    _check(host, token_file, no_token=no_token)
    web = page_module("ui", "ptsflow.web.server")
    url = common.url
    with contextlib.suppress(ContainerNotFound):
        # A store that cannot be used is refused before anybody looks.
        open_to_look(url).close()
    with contextlib.closing(_listening(host, port)) as listening:
        port = listening.getsockname()[1]
        token = None if no_token else web.kept_token(token_file)
        called = {host if ":" not in host else f"[{host}]", *names}
        allowed = web.access(
            token,
            port=port,
            has_actions=actions,
            names=frozenset(name.lower() for name in called),
        )
        address = _address(host, port, token)
        if not _is_loopback(host):
            say("the page is not encrypted: put it behind a proxy that speaks TLS")
        show_text(f"{address}\n")
        if opens:
            webbrowser.open(address)
        web.serve(
            web.application(partial(open_to_look, url), allowed, url=url),
            listening,
        )


def _check(host: str, token_file: Path | None, *, no_token: bool) -> None:
    if no_token and token_file is not None:
        raise UsageError("ui: --no-token goes without --token-file; leave one out")
    if no_token and not _is_loopback(host):
        raise UsageError(
            f"ui: --no-token is for this host alone, found --host {host}; leave one out"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        UsageError: the port is taken, or the address is none of this host.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(128)
    except OSError as error:
        made.close()
        raise UsageError(
            f"ui: cannot listen at {host} port {port}: {error.strerror}; give another "
            "one with --port"
        ) from None
    return made


def _address(host: str, port: int, token: str | None) -> str:
    name = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + ("" if token is None else f"?token={token}")
