"""Statement parts: the bookings, for figures to count."""

from service.bookings.tables import bookings

booking = bookings
