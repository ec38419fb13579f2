"""A handler that does nothing, on the server program that Userfold uses: what HTTP alone costs.

    python -m bench.nothing [--port 0]

It reads the whole body and answers about 1 KB of JSON. The uvicorn settings are those of `userfold/server.py`
(`python -m bench` refuses to measure when they differ). Imports nothing of userfold.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn
import uvloop

from bench.people import answer_of_nothing

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def config(app: App) -> uvicorn.Config:
    """The settings of `userfold/server.py`."""
    return uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        proxy_headers=False,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=30,
        backlog=2048,
    )


def make_app(token: str) -> App:
    """The application."""
    body = answer_of_nothing(token)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    end = {"type": "http.response.body", "body": body}

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        message = await receive()
        while message.get("more_body"):
            message = await receive()
        await send(start)
        await send(end)

    return app


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        assert sockets is not None
        print(f"Nothing is ready at http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", parser.parse_args().port))
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)  # as `userfold/server.py` has it
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Server(config(make_app(os.environ["BENCH_TOKEN"]))).serve([listener]))


if __name__ == "__main__":
    main()
