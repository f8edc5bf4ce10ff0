"""The whole schema: imports each room's tables, so that migrations can be compared with them."""

import service.agenda.tables
import service.audit.tables
import service.bookings.tables
import service.calendar.tables
import service.calls.tables
import service.directory.tables
import service.identity.tables
import service.kernel.events
import service.kernel.idempotency
import service.kernel.installation
import service.messages.tables
import service.needs.tables
import service.patients.tables
import service.retention.tables
import service.sas.tables
import service.slots.tables
import service.stream.tables
import service.webhooks.tables  # noqa: F401  makes its tables known
from service.kernel.tables import metadata

__all__ = ["metadata"]
