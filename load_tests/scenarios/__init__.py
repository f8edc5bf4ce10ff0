"""Journeys that locust drives, each runnable against any server; see load_tests/README.md.

These modules run in locust's own process and environment: they import locust, gevent, the standard
library and each other, never the service.
"""
