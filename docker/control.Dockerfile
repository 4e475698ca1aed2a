# The control plane: Airflow and this provider. Runs as user 10001 on a read-only root; only /var/lib/ct and /tmp are written.
#   docker build -f docker/control.Dockerfile --target control -t continuous-training-control .
#   docker build -f docker/control.Dockerfile --target control-with-work -t continuous-training-control-with-work .
# `control` has no machine learning: its models run their work in pods or containers. `control-with-work` also runs the
# work beside Airflow (runner subprocess), an MLflow server and the model server.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS pins-control
ENV UV_SYSTEM_CERTS=1 UV_NO_CACHE=1 UV_LINK_MODE=copy UV_PYTHON=/opt/ct/bin/python
COPY docker/build.txt docker/control.txt /tmp/
RUN python3 -m venv --without-pip /opt/ct && python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --quiet --require-hashes -r /tmp/build.txt \
    && /opt/build/bin/uv pip install --quiet --compile-bytecode --require-hashes -r /tmp/control.txt \
    && echo /opt/continuous-training/package > "$(echo /opt/ct/lib/python3.*/site-packages)/continuous-training.pth"

# What changes with each version of this package is one small layer over the pins.
FROM pins-control AS product
COPY setup.py pyproject.toml README.md /src/
COPY include/continuous_training /src/include/continuous_training
RUN /opt/build/bin/uv pip install --quiet --compile-bytecode --no-deps --target /opt/continuous-training/package /src
RUN mkdir -p /opt/home/airflow /opt/home/login
WORKDIR /opt/continuous-training
COPY docker/health.py ./
COPY dags ./dags
COPY plugins ./plugins
COPY include/models ./include/models
COPY include/expectations ./include/expectations

FROM ${BASE_IMAGE} AS root
RUN ldconfig -p | grep -q libgomp \
    || { apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*; }
RUN useradd --uid 10001 --user-group --home-dir /var/lib/ct --create-home ct
WORKDIR /opt/continuous-training
ENV PATH=/opt/continuous-training/package/bin:/opt/ct/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    CT_HOME=/var/lib/ct CT_MODELS=/opt/continuous-training/include/models \
    AIRFLOW_HOME=/var/lib/ct/airflow AIRFLOW__CORE__LOAD_EXAMPLES=false \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/continuous-training/dags AIRFLOW__CORE__PLUGINS_FOLDER=/opt/continuous-training/plugins
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=30s --start-period=120s CMD ["python", "health.py", "http://127.0.0.1:8080/api/v2/monitor/health"]
CMD ["airflow", "api-server"]

FROM root AS control
COPY --from=pins-control /opt/ct /opt/ct
COPY --from=product /opt/continuous-training /opt/continuous-training
COPY --from=product --chown=10001:10001 /opt/home /var/lib/ct
ARG CODE_DIGEST=unknown
LABEL org.opencontainers.image.title="Continuous training: control plane" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${CODE_DIGEST}"

FROM pins-control AS pins-with-work
COPY docker/control-with-work.txt /tmp/
RUN /opt/build/bin/uv pip install --quiet --compile-bytecode --require-hashes -r /tmp/control-with-work.txt

FROM root AS control-with-work
COPY --from=pins-with-work /opt/ct /opt/ct
COPY --from=product /opt/continuous-training /opt/continuous-training
COPY --from=product --chown=10001:10001 /opt/home /var/lib/ct
ARG CODE_DIGEST=unknown
LABEL org.opencontainers.image.title="Continuous training: control plane and work steps" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${CODE_DIGEST}"
