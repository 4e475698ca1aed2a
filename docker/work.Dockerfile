# The work steps: machine learning without Airflow. Runs as user 10001 on a read-only root; only /work and /tmp are written.
#   docker build -f docker/work.Dockerfile -t continuous-training-work .
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
RUN python3 -m venv /opt/ct
COPY docker/work.txt /tmp/work.txt
RUN /opt/ct/bin/pip install --no-cache-dir --no-compile --require-hashes -r /tmp/work.txt
COPY setup.py pyproject.toml README.md /src/
COPY include/continuous_training /src/include/continuous_training
RUN /opt/ct/bin/pip install --no-cache-dir --no-deps /src && /opt/ct/bin/pip uninstall --yes pip

FROM ${BASE_IMAGE}
ARG CODE_DIGEST=unknown
LABEL org.opencontainers.image.title="Continuous training: work steps" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${CODE_DIGEST}"
RUN command -v pgrep >/dev/null && ldconfig -p | grep -q libgomp \
    || { apt-get update && apt-get install -y --no-install-recommends libgomp1 procps && rm -rf /var/lib/apt/lists/*; }
COPY --from=build /opt/ct /opt/ct
ENV PATH=/opt/ct/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 OMP_WAIT_POLICY=PASSIVE \
    HOME=/work CT_HOME=/work
USER 10001:10001
WORKDIR /work
HEALTHCHECK NONE
ENTRYPOINT ["ct"]
