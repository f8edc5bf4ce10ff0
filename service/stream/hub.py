"""Who listens to one process: all of them are told what happens, each what they may know.

New facts are read once, whoever listens; each stream first reads by itself what it missed. Nothing
runs while nobody listens, and no connection of the pool is held while nothing happens. Who does not
keep up is let go: they come back with the id of the last event that they got.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import orjson
import structlog
from fastapi.sse import format_sse_event

from service import identity
from service.identity import Actor
from service.kernel import clock
from service.kernel.db import Database, DatabaseDefect, TransactionLost, UnitOfWork
from service.kernel.errors import DomainError
from service.kernel.http.connection import Connection
from service.kernel.logs import describe
from service.kernel.notices import listen
from service.kernel.settings import Settings
from service.stream import repository, usecases
from service.stream.domain import (
    BEGINNING,
    RESET,
    TYPES,
    Listener,
    Place,
    StreamsFull,
    TooManyStreams,
)
from service.stream.usecases import News, Start

_HEARTBEAT_SECONDS = 15.0
_LOOK_SECONDS = 1.0  # so late at most, when nothing wakes us
_CHECK_SECONDS = 10.0
_PATIENCE = 2.0  # after a failure: the database may be away
_BATCH = 500
_WAITING = 1000  # events: who has so many to take when there are new ones is too slow
_REPLAYS = 2  # at once: those who come back after a restart leave connections to who books
_RETRY_MS = 2000
_RETRY_AFTER_SECONDS = 30
_AWAY = (DomainError, DatabaseDefect, TransactionLost)

log = structlog.get_logger()


class Told(NamedTuple):
    """One event as it is sent, the same to all who may know the same."""

    place: Place
    type: str
    text: bytes


class Stream:
    """One open stream: what waits to be sent, how far it has come, and why it is to end."""

    def __init__(self, actor: Actor, connection: Connection) -> None:
        self.actor = actor
        self.listener = Listener.of(actor)
        self.types = frozenset(TYPES)
        self.place = Place(BEGINNING)
        self.ended: str | None = None
        self._connection = connection
        self._offered = self.place
        self._waiting: list[Told] = []
        self._news = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []
        connection.stopping = lambda: self.end("the server stops")
        if actor.expires_at is not None:
            left = (actor.expires_at - clock.now()).total_seconds()
            self._timers.append(connection.loop.call_later(left, self.end, "the token has expired"))

    def end(self, why: str) -> None:
        """Let it end in order; soon, even if its reader has fallen asleep."""
        if self.ended is None:
            self.ended = why
            self._news.set()
            at = self._connection
            self._timers.append(at.loop.call_later(at.ASLEEP_SECONDS, at.hang_up))

    def close(self) -> None:
        """It has ended."""
        self._connection.stopping = None
        for timer in self._timers:
            timer.cancel()

    def offer(self, told: Sequence[Told], reached: Place) -> None:
        """Let what is new wait to be sent: all there is up to a place."""
        if len(self._waiting) > _WAITING:
            self.end("the reader is too slow")
            return
        self._offered = reached
        mine = [one for one in told if one.type in self.types]
        self._waiting += mine
        if mine:
            self._news.set()

    async def take(self) -> list[Told]:
        """Return what is new; nothing, if there is nothing before the next heartbeat."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_HEARTBEAT_SECONDS):
                await self._news.wait()
        self._news.clear()
        told, self._waiting = self._waiting, []
        told = [one for one in told if one.place > self.place]
        self.place = max(self.place, self._offered)
        return told


class Hub:
    """All open streams of one process.

    `sent`: events sent so far; `lag_seconds`: how old the newest fact was when it was told.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self.sent = 0
        self.lag_seconds = 0.0
        self._database = database
        self._url = settings.listen_database_url or settings.database_url
        self._most, self._most_of_client = settings.streams_max, settings.streams_per_client
        self._open: set[Stream] = set()
        self._live: dict[Listener, set[Stream]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._position = BEGINNING
        self._woken = asyncio.Event()
        self._replays = asyncio.Semaphore(_REPLAYS)

    def __len__(self) -> int:
        return len(self._open)

    async def measures(self, _: UnitOfWork) -> dict[str, float]:
        """Measure the streams of this process."""
        return {
            "stream_open": len(self),
            "stream_events_sent": self.sent,
            "stream_lag_seconds": self.lag_seconds,
        }

    def _work(self) -> Iterator[Coroutine[None, None, None]]:
        """Yield what runs for as long as there is a stream."""
        if self._url is not None:
            yield listen(self._url.get_secret_value(), repository.CHANNEL, self._woken)
        yield self._keep_telling()
        yield self._keep_checking()

    @contextmanager
    def place(self, actor: Actor, connection: Connection) -> Iterator[Stream]:
        """Give a stream its place while the block lasts.

        Refusals: `streams-full`, `too-many-streams`.
        """
        of_client = sum(stream.actor.client_id == actor.client_id for stream in self._open)
        if len(self._open) >= self._most:
            raise StreamsFull(retry_after=_RETRY_AFTER_SECONDS)
        if 0 < self._most_of_client <= of_client:
            raise TooManyStreams(retry_after=_RETRY_AFTER_SECONDS)
        if not self._open:
            self._tasks = [asyncio.create_task(work) for work in self._work()]
        stream = Stream(actor, connection)
        self._open.add(stream)
        try:
            yield stream
        finally:
            stream.close()
            self._open.remove(stream)
            self._forget(stream)
            if not self._open:
                for task in self._tasks:
                    task.cancel()

    async def events(
        self, stream: Stream, types: frozenset[str], start: Start
    ) -> AsyncIterator[bytes]:
        """Yield what a stream sends: what its reader missed, then what happens, until it ends."""
        stream.types, stream.place = types, start.place
        yield _opening(start)
        try:
            async for text in self._missed(stream):
                yield text
            self._listen(stream)
            async for text in self._missed(stream):  # what happened until we listened
                yield text
            while stream.ended is None:
                yield self._text(await stream.take()) or _heartbeat(stream.place)
        except _AWAY as failure:
            log.warning("stream.not_read", why=type(failure).__name__)
            stream.end("the database is away")
        yield format_sse_event(comment=stream.ended)

    def _listen(self, stream: Stream) -> None:
        """Tell a stream what happens from now on."""
        if not self._live:  # nobody listened, so nothing was read
            self._position = stream.place.position
        self._live.setdefault(stream.listener, set()).add(stream)

    def _forget(self, stream: Stream) -> None:
        streams = self._live.get(stream.listener, set())
        streams.discard(stream)
        if not streams:
            self._live.pop(stream.listener, None)

    async def _missed(self, stream: Stream) -> AsyncIterator[bytes]:
        """Yield what happened since a stream's place, as far as it has its position."""
        more = True
        while more and stream.ended is None:
            async with self._replays, self._database.unit_of_work() as uow:
                news = await usecases.read_on(uow, stream.place.before, _BATCH)
            told = [
                one
                for one in _told(news, stream.listener)
                if one.place > stream.place and one.type in stream.types
            ]
            stream.place = max(stream.place, news.end)
            more = len(news.facts) == _BATCH
            if told:
                yield self._text(told)

    def _text(self, told: Sequence[Told]) -> bytes:
        self.sent += len(told)
        return b"".join(one.text for one in told)

    async def _keep_telling(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._woken.wait()
            self._woken.clear()
            try:
                while self._live and await self._tell():
                    pass
            except Exception as failure:  # noqa: BLE001  nothing may end it: streams would hang
                log.error("stream.not_read", **describe(failure))
                await asyncio.sleep(_PATIENCE)

    async def _tell(self) -> bool:
        """Read what is new, and offer it; returns whether there may be more."""
        async with self._database.unit_of_work() as uow:
            news = await usecases.read_on(uow, self._position, _BATCH)
        if not news.facts:
            return False
        for listener, streams in list(self._live.items()):
            told = _told(news, listener)
            for stream in streams:
                stream.offer(told, news.end)
            await asyncio.sleep(0)  # others work, too
        self._position = news.end.position
        self.lag_seconds = (clock.now() - news.facts[-1].occurred_at).total_seconds()
        return len(news.facts) == _BATCH

    async def _keep_checking(self) -> None:
        """End the streams of those whose right has ended, soon after it has."""
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            streams = list(self._open)
            try:
                async with self._database.unit_of_work() as uow:
                    live = await identity.are_live(uow, [stream.actor for stream in streams])
            except _AWAY as failure:
                log.warning("stream.not_checked", why=type(failure).__name__)
                continue
            for stream, lives in zip(streams, live, strict=True):
                if not lives:
                    stream.end("the right has ended")


def _told(news: News, listener: Listener) -> list[Told]:
    return [
        Told(view.place, view.type, _event(str(view.place), view.type, view.members))
        for view in news.to(listener)
    ]


def _event(place: str, type_: str, members: dict[str, Any]) -> bytes:
    return format_sse_event(
        id=place, event=type_, data_str=orjson.dumps(members, default=str).decode()
    )


def _opening(start: Start) -> bytes:
    """Begin: an id before the first event, so that who is cut off at once misses nothing."""
    hello = format_sse_event(comment="ok", retry=_RETRY_MS, id=str(start.place))
    if start.complete:
        return hello
    return hello + _event(str(start.place), RESET, usecases.reset())


def _heartbeat(place: Place) -> bytes:
    """Say that we live, and how far we are: who was told nothing need not go far back."""
    return format_sse_event(comment="ping", id=str(place))
