# syntax=docker/dockerfile:1

# The builder fetches every locked package, checked against its hash, and leaves wheels behind.
FROM python:3.13-slim AS builder
WORKDIR /build
COPY requirements.lock .
RUN python -m venv /tools \
    && /tools/bin/pip install --no-cache-dir --require-hashes --requirement requirements.lock \
    && /tools/bin/pip download --no-cache-dir --require-hashes --requirement requirements.lock --dest /wheels
COPY pyproject.toml README.md LICENSE ./
COPY orchestrator orchestrator
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /package .
# From those wheels alone, only what the program itself needs.
RUN python -m venv /opt/orchestrator \
    && /opt/orchestrator/bin/pip install --no-cache-dir --no-index --find-links /wheels "$(ls /package/*.whl)[postgres]" \
    && /opt/orchestrator/bin/pip uninstall --yes --quiet pip

FROM python:3.13-slim
RUN useradd --create-home --uid 10001 orchestrator \
    && install --directory --owner orchestrator --group orchestrator --mode 0700 /state /data
COPY --from=builder /opt/orchestrator /opt/orchestrator
ENV PATH=/opt/orchestrator/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ORCHESTRATOR_STATE__DIR=/state
USER orchestrator
# The journal lives in /state: keep it, or nothing can be resumed. Sources and reports are in /data.
VOLUME /state
WORKDIR /data
ENTRYPOINT ["orchestrator"]
CMD ["--help"]
