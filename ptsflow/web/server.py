"""Serving the page until a person or a signal ends it."""

from __future__ import annotations

import socket

import uvicorn
from starlette.applications import Starlette

from ptsflow.web.app import application
from ptsflow.web.security import access, kept_token

__all__ = ["access", "application", "kept_token", "serve"]

#: How long answers are waited for at the end, in seconds.
_PATIENCE = 1


class _Server(uvicorn.Server):
    """A server that ends the streams of its pages before it waits for answers to end."""

    def __init__(self, config: uvicorn.Config, app: Starlette) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End everything that was begun."""
        await self._app.state.hub.close()
        await super().shutdown(sockets)


def serve(app: Starlette, listening: socket.socket) -> None:
    """Serve an application on a socket; return at Ctrl-C and at SIGTERM."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_PATIENCE,
        ws="none",
    )
    server = _Server(config, app)
    try:
        server.run(sockets=[listening])
    except (KeyboardInterrupt, SystemExit):
        # uvicorn raises the signal that ended it once more.
        return
