"""The SNP broker: a house of rooms, one room per noun (see docs/glossary.md).

Faces > analytics, notifications > bookings > calls, slots > patients > directory > audit >
identity > kernel. Downwards, call a door; upwards, emit an event.
"""
