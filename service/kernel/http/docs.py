"""The API's own description: the OpenAPI document, and `/docs` that works without internet."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

router = APIRouter()

_STATIC = Path(__file__).parent / "static"
_ABOUT_THE_BODY = ("413", "415")
_RETRY_AFTER = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
}
TAGS = (
    ("identity", "Tokens, and who I am."),
    ("directory", "Territories, organizations, practitioners, places."),
    ("slots", "Publish, search, hold."),
    ("patients", "The minimum needed to be received. Identity travels in bodies only."),
    ("calls", "The call, its call-backs, outcomes and closure."),
    ("bookings", "A patient on a slot, and what happened."),
    ("analytics", "Figures computed from the rows."),
    ("operations", "Health."),
)


@router.get("/docs", include_in_schema=False)
async def docs() -> HTMLResponse:
    """Show the API's documentation."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="SNP broker",
        swagger_js_url="/static/swagger-ui-bundle.min.js",
        swagger_css_url="/static/swagger-ui.css",
        swagger_favicon_url="data:,",
    )


def install(app: FastAPI) -> None:
    """Serve the packaged files of the page, and describe what FastAPI cannot know."""
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    app.openapi_tags = [{"name": name, "description": text} for name, text in TAGS]
    app.servers = [{"url": "/"}]
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            for path in document["paths"].values():
                for operation in path.values():
                    _describe(operation)
        return plain()

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's documented way


def _describe(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if "requestBody" not in operation:
        for status in _ABOUT_THE_BODY:
            responses.pop(status, None)
    for status in ("429", "503"):
        if status in responses:
            responses[status]["headers"] = _RETRY_AFTER
