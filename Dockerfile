# The gateway's image. It runs as uid 10025, on a read-only root, and writes nothing outside /var/lib/waypost.
# Settings are read from /etc/waypost/gateway.toml. Every package comes from the locks, by hash.

FROM debian:bookworm-slim AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv
WORKDIR /src
COPY requirements-build.lock requirements.lock ./
RUN python3 -m venv /build \
 && /build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock \
 && /build/bin/pip wheel --no-cache-dir --require-hashes --no-build-isolation --wheel-dir /wheels -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY policies ./policies
COPY gateway ./gateway
RUN /build/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
 && python3 -m venv --without-pip /opt/waypost \
 && /build/bin/pip --python /opt/waypost/bin/python install --no-index --no-deps --compile /wheels/*.whl

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --system --gid 10025 waypost \
 && useradd --system --uid 10025 --gid 10025 --home-dir /var/lib/waypost --shell /usr/sbin/nologin waypost \
 && install -d -o waypost -g waypost -m 0750 /var/lib/waypost \
 && install -d -o root -g waypost -m 0750 /etc/waypost
COPY --from=build /opt/waypost /opt/waypost
ENV PATH=/opt/waypost/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV PYTHONUNBUFFERED=1
WORKDIR /var/lib/waypost
VOLUME /var/lib/waypost
USER 10025:10025
EXPOSE 25
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8025/healthz', timeout=4)"]
ENTRYPOINT ["waypost"]
CMD ["serve", "--config", "/etc/waypost/gateway.toml"]
