"""What every HTTP face shares: problems, conditional requests, idempotency, pages, middleware."""
