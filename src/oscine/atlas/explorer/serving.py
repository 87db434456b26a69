"""The server itself: a socket, and what it does with clients that are slow.

In come an application and an address; out go answers, until it is stopped. Called by the step that
explores a workspace.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket as sockets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from oscine.atlas.explorer.access import Guard, log
from oscine.config import WrongArgument

ASK_S = 15.0
"""A client that has not asked anything after so long is sent away."""
TAKE_S, TAKE_BYTES = 15.0, 64 * 1024
"""So is one that takes fewer bytes than that of its answer in so long."""
MOST_CONNECTIONS = 500
MOST_HEAD_BYTES = 16 * 1024
CLOSE_S = 3
NO_ADDRESS = (errno.EADDRNOTAVAIL, sockets.EAI_NONAME, sockets.EAI_AGAIN)
"""What a system says of an address that is none of its own, or of a name without one."""


@contextmanager
def listening(
    host: str, port: int | None, first: int, most: int
) -> Iterator[tuple[sockets.socket, int]]:
    """Listen on a port, or on the first of several that is free.

    Parameters
    ----------
    host : str
    port : int or None
        None: any of `most` from `first` on.
    first, most : int

    Yields
    ------
    socket, port

    Raises
    ------
    WrongArgument
        The port is used, or the address is none of this computer.
    """
    family = sockets.AF_INET6 if ":" in host else sockets.AF_INET
    problem: OSError | None = None
    for one in [port] if port is not None else range(first, first + most):
        try:
            opened = sockets.create_server((host, one), family=family, backlog=256)
        except OSError as error:
            if error.errno in NO_ADDRESS:
                raise WrongArgument(
                    f"--host {host} is no address of this computer: name one that is, or 0.0.0.0 "
                    "for all of them"
                ) from error
            problem = error
            continue
        with opened:
            yield opened, opened.getsockname()[1]
            return
    where = f"port {port}" if port is not None else f"ports {first} to {first + most - 1}"
    assert problem is not None
    raise WrongArgument(
        f"{host}: {where} cannot be listened on ({problem.strerror}): give another --port"
    )


def serve(app: Guard, socket: sockets.socket) -> None:
    """Answer until the process is told to stop (SIGINT, SIGTERM)."""
    _log_on_standard_error()
    with suppress(KeyboardInterrupt):  # uvicorn ends in order, then passes it on
        server_of(app).run(sockets=[socket])


def server_of(app: Guard) -> uvicorn.Server:
    """Return a server that nothing is asked of yet."""
    config = uvicorn.Config(
        app,
        http=_Patient,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=CLOSE_S,
    )
    return uvicorn.Server(config)


class _Patient(H11Protocol):
    """A connection that is given up when its client keeps it waiting.

    uvicorn itself waits for ever for a request that began, and for a client that takes no more.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the client some time to ask."""
        self._patience: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        # asyncio sets this only where the listening socket was told its protocol. Without, the body
        # of each answer waits 40 ms for the client's word that it has the head.
        accepted = transport.get_extra_info("socket")
        accepted.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget all timers."""
        self._stop_waiting()
        if self._taking is not None:
            self._taking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Stop waiting once there is a request."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Give the client some time to ask again."""
        self._wait()
        super().on_response_complete()
        if self.cycle is not None and not self.cycle.response_complete:  # it had asked already
            self._stop_waiting()

    def pause_writing(self) -> None:
        """Look whether the client takes anything."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Look no more: it does."""
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
        super().resume_writing()

    def _wait(self) -> None:
        self._stop_waiting()
        self._patience = self.loop.call_later(ASK_S, self._give_up, "asked nothing")

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _watch(self, n_left: int) -> None:
        self._taking = self.loop.call_later(TAKE_S, self._look, n_left)

    def _look(self, n_before: int) -> None:
        n_left = self.transport.get_write_buffer_size()
        if n_left > n_before - TAKE_BYTES:
            self._give_up("took too little of its answer")
        else:
            self._watch(n_left)

    def _give_up(self, why: str) -> None:
        log.warning("gave up on %s: it %s", self.client[0] if self.client else "a client", why)
        self.transport.abort()


def _log_on_standard_error() -> None:
    for name, level in ((log.name, logging.INFO), ("uvicorn.error", logging.WARNING)):
        one = logging.getLogger(name)
        one.setLevel(level)
        if not one.handlers:
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
            one.addHandler(handler)
