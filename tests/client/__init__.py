"""The API from outside: real HTTP, real processes, nothing of the service imported."""
