# Two images, one for each server:
#   docker build --target torchserve -t memeguard-torchserve .
#   docker build --target proxy      -t memeguard-proxy .
# --build-arg PIP_INDEX_URL=… and PIP_EXTRA_INDEX_URL=… name the sources of packages, TORCH_INDEX=… that of torch. Its
# default has builds for the CPU, without gigabytes of CUDA.

FROM python:3.11-slim AS base
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Both images run as the same user, because only the owner of TorchServe's token file can read it and the proxy must.
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin memeguard \
    && mkdir -p /run/memeguard /srv/model_store \
    && chown memeguard:memeguard /run/memeguard /srv/model_store
WORKDIR /srv/memeguard
# A new folder needs a line here and one in .dockerignore.
COPY pyproject.toml constraints.txt README.md config.properties ./
COPY .ci/install-cpu-torch .ci/
COPY cli cli
COPY handler handler
COPY proxy proxy
COPY rollout rollout
COPY memes memes
COPY evaluation evaluation
COPY scoring scoring
COPY training training
COPY archiving archiving
COPY demo demo

FROM base AS proxy
RUN --mount=type=cache,target=/root/.cache/pip pip install -c constraints.txt -e '.[proxy]'
USER memeguard
EXPOSE 5000
CMD ["gunicorn", "--config", "proxy/gunicorn.conf.py", "--bind", "0.0.0.0:5000", \
     "proxy.app:create_app(key_file='/run/memeguard/key_file.json')"]

# With scoring, for `docker run … memeguard score`.
FROM base AS torchserve-base
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN --mount=type=cache,target=/root/.cache/pip \
    .ci/install-cpu-torch python "$TORCH_INDEX" && pip install -c constraints.txt -e '.[torchserve,scoring]'

# Makes the archive of the starter model, so that `docker-compose up` answers before anybody has trained a model.
FROM torchserve-base AS starter
RUN --mount=type=cache,target=/root/.cache/pip pip install -c constraints.txt -e '.[training]'
COPY starter/bundle starter/bundle
RUN memeguard starter --model-store /srv/starter_store

FROM torchserve-base AS torchserve
COPY --from=starter /srv/starter_store /srv/starter_store
USER memeguard
VOLUME ["/srv/model_store", "/run/memeguard"]
CMD ["memeguard", "torchserve", "--model-store", "/srv/model_store", "--fallback-store", "/srv/starter_store", \
     "--run-dir", "/run/memeguard"]
