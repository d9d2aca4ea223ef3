# The Runwire server. Add your graphs on top of it:
#
#   FROM runwire
#   COPY . /app
#
# /app holds langgraph.json; the database is written to the volume /app/.runwire, or is where
# DATABASE_URL says. Other commands replace the entry point: --entrypoint runwire … worker.
# The server refuses to listen beyond loopback in the clear, so a container behind a proxy that ends
# TLS is started with `docker run … runwire --insecure`.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY generated generated
COPY server server
COPY client client
RUN python -m venv /opt/runwire \
    && python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && /opt/runwire/bin/pip install --no-cache-dir "$(echo /wheels/runwire-*.whl)[server]"

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="Runwire" \
      org.opencontainers.image.description="Runs LangGraph agents as a gRPC service" \
      org.opencontainers.image.licenses="MIT"

RUN groupadd --gid 10001 runwire \
    && useradd --uid 10001 --gid runwire --no-create-home --home-dir /app runwire \
    && install --directory --owner runwire --group runwire /app /app/.runwire

COPY --from=build /opt/runwire /opt/runwire

ENV PATH=/opt/runwire/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RUNWIRE_BIND=0.0.0.0:50051

WORKDIR /app
USER 10001:10001
VOLUME ["/app/.runwire"]
EXPOSE 50051
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["runwire", "health"]
ENTRYPOINT ["runwire", "serve"]
