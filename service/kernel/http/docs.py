"""`/docs` that works without internet."""

from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

router = APIRouter()

_STATIC = Path(__file__).parent / "static"


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


def mount(app: FastAPI) -> None:
    """Serve the packaged files of the page."""
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
