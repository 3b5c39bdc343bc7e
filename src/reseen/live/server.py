"""Server: the local page of live decoding, on 127.0.0.1 only.

Every address begins with a random key, since all users of a machine can connect to 127.0.0.1. The host header is
compared with the names of this machine, so that a page of the web cannot read through a name of its own. The page loads
nothing from elsewhere, and answers have headers that forbid other pages to embed them.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reseen.errors import RecipeError, ResultsError
from reseen.live.board import Board
from reseen.live.page import page

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

ADDRESS = "127.0.0.1"
POLL = 0.05
"""Seconds between two checks for new messages."""
KEEP_ALIVE = 15.0
"""Seconds without a message after which a comment is sent, so that a closed page is noticed."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
KEY = ".key"
"""File of a recording with the key of its page, readable by its owner only."""


def draw_key() -> str:
    """Return a random key."""
    return secrets.token_urlsafe(16)


def read_key(folder: Path) -> str:
    """Return the key of a recording's page; the first call draws it.

    Raises
    ------
    ResultsError
        If it cannot be written.
    """
    path = folder / KEY
    try:
        if not path.exists() or not path.read_text(encoding="ascii").strip():
            path.unlink(missing_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                file.write(draw_key())
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ResultsError(f"cannot write {path}: {error.strerror}.", where=path) from error


def listen(port: int) -> socket.socket:
    """Return a socket of this machine that listens on a port; 0 for any free one.

    Raises
    ------
    RecipeError
        If the port is in use.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for old connections
    try:
        found.bind((ADDRESS, port))
        found.listen()  # a browser that comes before the server is ready waits
    except (OSError, OverflowError) as error:
        found.close()
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(
            f"cannot listen on port {port} of {ADDRESS}: {reason}. Choose another --port, or 0 for any free one.",
            where="port",
            found=port,
        ) from error
    return found


def make_app(board: Board, folder: Path, key: str, about: Mapping[str, Any], stop: threading.Event) -> Starlette:
    """Return the application.

    Parameters
    ----------
    board
        Messages of the page.
    folder
        Recording that has the images.
    key
        First part of every path.
    about
        Title and facts of the page; see `reseen.live.page.page`.
    stop
        Set to end open streams.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, StreamingResponse
    from starlette.routing import Route

    async def show(_: Request) -> Response:
        return HTMLResponse(page(about), headers=HEADERS)

    async def stream(request: Request) -> Response:
        messages = _events(board, request, stop)
        return StreamingResponse(messages, media_type="text/event-stream", headers=HEADERS)

    async def image(request: Request) -> Response:
        path = folder / "trials" / f"{request.path_params['number']:05d}" / f"{request.path_params['name']}.png"
        if not request.path_params["name"].isalpha() or not path.is_file():
            return PlainTextResponse("there is no such image", 404, HEADERS)
        return FileResponse(path, media_type="image/png", headers=HEADERS)

    return Starlette(
        routes=[
            Route(f"/{key}/", show),
            Route(f"/{key}/events", stream),
            Route(f"/{key}/trials/{{number:int}}/{{name}}.png", image),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[ADDRESS, "localhost"])],
    )


async def _events(board: Board, request: Request, stop: threading.Event) -> AsyncIterator[str]:
    """Yield all messages so far, then new ones, as server-sent events."""
    import asyncio

    sent, quiet = 0, 0.0
    while not stop.is_set() and not await request.is_disconnected():
        new = board.since(sent)
        sent += len(new)
        for message in new:
            yield f"data: {json.dumps(message)}\n\n"
        quiet = 0.0 if new else quiet + POLL
        if quiet > KEEP_ALIVE:
            quiet = 0.0
            yield ": still there\n\n"
        await asyncio.sleep(POLL)


@contextmanager
def serving(board: Board, folder: Path, key: str, about: Mapping[str, Any], listening: socket.socket) -> Iterator[str]:
    """Serve the page from a thread, and yield its address.

    Parameters
    ----------
    board, folder, key, about
        As in `make_app`.
    listening
        Socket of `listen`; it is closed at the end.
    """
    import uvicorn

    stop = threading.Event()
    app = make_app(board, folder, key, about, stop)
    config = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off", server_header=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True, name="page")
    thread.start()
    try:
        yield f"http://{ADDRESS}:{listening.getsockname()[1]}/{key}/"
    finally:
        stop.set()
        server.should_exit = True
        thread.join(5)
        listening.close()
