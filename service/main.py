"""Composition root of the HTTP process."""

import asyncio
import gc
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.cors import CORSMiddleware

from service import audit as traces
from service import messages, sas, stream, webhooks
from service.agenda.router import entries
from service.agenda.router import router as agenda
from service.agenda.tasks import keep_extended
from service.analytics.router import router as analytics
from service.audit.router import router as audit
from service.audit.tasks import keep_sealed
from service.bookings.router import router as bookings
from service.calendar.router import feeds
from service.calendar.router import router as calendar
from service.calls.router import router as calls
from service.directory import reference
from service.directory.router import router as directory
from service.directory.router.code_lists import router as code_lists
from service.fhir.http import outcome
from service.fhir.reads import router as fhir_reads
from service.fhir.regulators import router as regulators
from service.fhir.router import capability
from service.fhir.router import router as fhir
from service.grants.router import router as grants
from service.identity import Tokens
from service.identity.http import Authenticators
from service.identity.router import oauth
from service.identity.router import router as identity
from service.kernel import logs
from service.kernel.crypto import KeysError, Vault, load_keys
from service.kernel.db import Database
from service.kernel.http import docs, health, metrics, pages, problems
from service.kernel.http.middleware import Observe
from service.kernel.http.proxies import BehindProxies
from service.kernel.http.rate import Guesses, RateLimit
from service.kernel.settings import Settings, listed
from service.messages.router import contacts, opt_outs
from service.messages.router.links import links
from service.messages.router.replies import replies
from service.needs.router import router as needs
from service.patients.router import router as patients
from service.retention.router import router as retention
from service.slots import Listings
from service.slots.router import router as slots
from service.stream.hub import Hub
from service.stream.router import router as events
from service.webhooks.router import messages as webhook_messages
from service.webhooks.router import router as webhook_endpoints
from service.worker import working

_COLLECT_EVERY = 20_000  # objects that stayed; a request makes some thousands and frees them

# Nothing leaves this process but answers and log lines, which say no path.
_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
# For pages of other origins, where the operator names some: tokens in headers, never cookies.
_CORS: dict[str, Any] = {
    "allow_methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
    "allow_headers": ["Authorization", "Content-Type", "Idempotency-Key", "If-Match"],
    "expose_headers": [
        *("ETag", "Location", "Idempotency-Replayed", "Retry-After", "X-Request-Id"),
        *("RateLimit", "RateLimit-Policy"),
    ],
}

DESCRIPTION = """\
Broker of unscheduled-care slots (soins non programmés): volunteer doctors publish slots that the
public cannot see; regulators, pharmacists and emergency departments book them on a patient file
while the caller is on the line; the doctor reports what happened; figures are computed from rows.
"""


def _background(settings: Settings, database: Database) -> Iterator[Coroutine[None, None, None]]:
    if settings.read_only:
        return
    yield keep_extended(database)
    if settings.audit_seal_seconds:
        yield keep_sealed(database, settings.audit_seal_seconds, settings.audit_head_file)


def open_database(settings: Settings) -> Database:
    """Open the configured database. Refuses with `KeysError` when it or its keys are missing."""
    vault = Vault(load_keys(settings))
    if settings.database_url is None:
        raise KeysError("No database: set SNP_DATABASE_URL, or use `snp demo`.")
    return Database(
        settings.database_url.get_secret_value(),
        settings,
        vault,
        answer_seconds=settings.database_answer_seconds,
    )


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application. Refuses with `KeysError` when keys or database are not configured."""
    settings = settings or Settings()
    logs.configure(settings)
    database = open_database(settings)
    listings, strangers = Listings(), traces.Strangers()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        reference.load()  # not while the first caller waits
        # What was built to serve stays: the collector need not walk it every few requests.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_COLLECT_EVERY, 20, 50)
        # Read-only holds for what nobody asked for, too.
        background = [asyncio.create_task(work) for work in _background(settings, database)]
        async with AsyncExitStack() as beside:
            if not settings.read_only:
                await beside.enter_async_context(listings.flushed(database))
                await beside.enter_async_context(strangers.flushed(database))
                if settings.worker_inside:
                    await beside.enter_async_context(working(settings, database))
            yield
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await database.dispose()

    app = FastAPI(
        title="SNP broker",
        version="1",
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        separate_input_output_schemas=False,
        telemetry=_NO_TELEMETRY,
        redirect_slashes=False,  # it would lead to whatever the header Host says
    )
    app.state.settings = settings
    app.state.database = database
    app.state.listings = listings
    app.state.hub = Hub(database, settings)
    app.state.strangers = strangers
    app.state.room_checks = {
        "audit": traces.sealing,
        "stream": stream.keeping,
        "webhooks": webhooks.health,
        "messages": partial(messages.sending, settings),
        "sas": partial(sas.health, settings),
    }
    app.state.room_measures = [
        traces.measures,
        stream.measures,
        app.state.hub.measures,
        webhooks.measures,
        messages.measures,
        sas.measures,
    ]
    app.state.metrics = metrics.Metrics()
    app.state.tokens = Tokens(database.vault.token_keys, settings.token_seconds)
    app.state.authenticators = Authenticators(settings)
    app.state.token_limit = RateLimit("token", settings.token_requests_per_minute)
    app.state.guesses = Guesses(watching=settings.token_requests_per_minute > 0)
    app.state.client_limit = RateLimit("client", settings.client_requests_per_minute)
    app.state.address_limit = RateLimit("address", settings.address_requests_per_minute)
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, **_CORS, allow_origins=listed(settings.cors_origins))
    if settings.trusted_proxies:
        app.add_middleware(
            BehindProxies,
            proxies=listed(settings.trusted_proxies),
            certificate_header=settings.certificate_header,
        )
    app.add_middleware(Observe, max_body_bytes=settings.max_body_bytes, metrics=app.state.metrics)
    problems.install(app, {"/fhir/": outcome})
    # Routes are looked at one after the other: first what is asked while a caller is on the line.
    for router in (
        bookings,
        slots,
        calls,
        patients,
        oauth,
        identity,
        grants,
        directory,
        entries,
        code_lists,
        needs,
        agenda,
        calendar,
        feeds,
        analytics,
        audit,
        retention,
        events,
        webhook_endpoints,
        contacts,
        opt_outs,
        links,
        replies,
        health.router,
        metrics.router,
        docs.router,
        pages.router,
        fhir,
        fhir_reads,
        regulators,
        capability,
    ):
        app.include_router(router)
    app.webhooks.include_router(webhook_messages)
    docs.install(app)
    return app
