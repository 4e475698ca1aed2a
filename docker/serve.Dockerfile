# One server of one model: no Airflow, nothing for training. Runs as user 10001 on a read-only root; /work holds what it fetches.
#   docker build -f docker/serve.Dockerfile -t continuous-training-serve .
#   docker run --read-only --cap-drop ALL -p 127.0.0.1:8080:8080 -v "$PWD/bundle:/model:ro" continuous-training-serve /model
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
RUN python3 -m venv /opt/ct
COPY docker/serve.txt /tmp/serve.txt
RUN /opt/ct/bin/pip install --no-cache-dir --no-compile --no-deps --require-hashes -r /tmp/serve.txt
COPY setup.py pyproject.toml README.md /src/
COPY include/continuous_training /src/include/continuous_training
# Compiled once here, else each start on a read-only root does it again: that takes as long as all the rest of a start.
RUN /opt/ct/bin/pip install --no-cache-dir --no-compile --no-deps /src && /opt/ct/bin/pip uninstall --yes pip setuptools \
    && find /opt/ct -type d -name tests -prune -exec rm -rf {} + \
    && find /opt/ct/lib/python3*/site-packages/pyarrow '(' -name include -o -name '*_flight*' ')' -prune -exec rm -rf {} + \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/ct/lib

FROM ${BASE_IMAGE}
ARG CODE_DIGEST=unknown
LABEL org.opencontainers.image.title="Continuous training: model server" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${CODE_DIGEST}"
RUN ldconfig -p | grep -q libgomp \
    || { apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*; }
COPY --from=build /opt/ct /opt/ct
ENV PATH=/opt/ct/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 OMP_WAIT_POLICY=PASSIVE \
    HOME=/work CT_HOME=/work
USER 10001:10001
WORKDIR /work
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/v2/health/ready', timeout=4)"]
ENTRYPOINT ["ct", "serve", "--host", "0.0.0.0", "--port", "8080"]
