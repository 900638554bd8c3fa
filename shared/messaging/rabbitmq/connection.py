"""Connections to RabbitMQ, and how their loss shows."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import cast

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelInvalidStateError,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from aiormq.channel import Channel as RawChannel

from shared.messaging.bus import BusRefusedError, BusUnavailableError

log = structlog.get_logger()

CLOSE_SECONDS = 5.0
# How aiormq and the operating system say that the connection or the channel is gone.
LOST = (AMQPError, ChannelInvalidStateError, OSError, RuntimeError)


class Link:
    """One connection to the broker, opened when it is needed and opened again after it was lost."""

    def __init__(self, url: str, purpose: str, heartbeat_seconds: int) -> None:
        self._url, self._purpose, self._heartbeat_seconds = url, purpose, heartbeat_seconds
        self._connection: AbstractConnection | None = None
        self._opening = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def channel(self, *, confirms: bool) -> AbstractChannel:
        """A new channel, on a new connection when there is none or the last one was lost."""
        async with self._opening:
            if self._connection is None or _is_lost(self._connection):
                self.drop()
                self._connection = await self._connect()
                self._connection.close_callbacks.add(self._report_loss)
                log.info("broker_connected", purpose=self._purpose)
            connection = self._connection
        channel = connection.channel(publisher_confirms=confirms, on_return_raises=confirms)
        await channel.initialize()
        return channel

    async def _connect(self) -> AbstractConnection:
        try:
            return await aio_pika.connect(
                self._url,
                heartbeat=self._heartbeat_seconds,
                client_properties={"connection_name": f"basestock {self._purpose}"},
            )
        except (AuthenticationError, ProbableAuthenticationError) as error:
            message = f"The broker refuses this user or password: {error}"
            raise BusRefusedError(message) from error
        except InvalidFrameError as error:  # a closing handshake where the opening one belongs
            message = f"The broker hung up: does the virtual host exist, and may this user use it? {error}"
            raise BusUnavailableError(message) from error

    async def ready(self) -> None:
        """Wait while the broker blocks this connection (memory or disk alarm)."""
        if self._connection is not None and self._connection.transport is not None:
            await self._connection.transport.ready()

    def drop(self) -> None:
        """Close the connection in the background: a broker that does not answer must not hold anybody up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            task = asyncio.create_task(_close(connection))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close the connection and wait for it."""
        self.drop()
        await asyncio.gather(*self._closing)

    def _report_loss(self, connection: AbstractConnection | None, error: BaseException | None) -> None:
        if connection is self._connection:
            log.warning("broker_connection_lost", purpose=self._purpose, error=str(error))


@contextmanager
def reporting_loss(doing: str) -> Iterator[None]:
    """Make `BusUnavailableError` of all the ways in which a lost connection or channel shows."""
    try:
        yield
    except LOST as error:
        message = f"The broker connection was lost while {doing}: {error}"
        raise BusUnavailableError(message) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # aiormq cancels what waits on a connection that it closes; nobody cancelled this task.
        message = f"The broker connection was closed while {doing}."
        raise BusUnavailableError(message) from error


def _is_lost(connection: AbstractConnection) -> bool:
    # aio-pika's own is_closed stays false when the connection breaks.
    return connection.transport is None or connection.transport.connection.is_closed


async def _close(connection: AbstractConnection) -> None:
    with suppress(*LOST, asyncio.CancelledError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await connection.close()


async def beneath(channel: AbstractChannel) -> RawChannel:
    """The aiormq channel of an aio-pika channel."""
    return cast("RawChannel", await channel.get_underlay_channel())
