# The service with QEMU inside, as an ordinary user. Machines live in the container: stopping it ends them, their disks stay in /data.
#
#   docker build -t image-service .
#   docker run --rm -p 8000:8000 -v images:/data image-service                           # add --device /dev/kvm where there is one
#   docker run --rm -v images:/data image-service token list

FROM python:3.11-slim-bookworm AS build
WORKDIR /srv
COPY requirements.lock ./
RUN python -m venv venv \
    && venv/bin/pip install --no-cache-dir --quiet -r requirements.lock
COPY app ./app
COPY schema ./schema
RUN venv/bin/python -m compileall -q app schema \
    && rm -rf schema/playground/source

FROM python:3.11-slim-bookworm
# Debian's security updates matter more than the same bytes each time.
# hadolint ignore=DL3008
RUN apt-get update -qq \
    && apt-get install -qy --no-install-recommends qemu-system-x86 qemu-utils \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /data service
WORKDIR /srv
COPY --from=build /srv ./
USER 10001
VOLUME /data
EXPOSE 8000
ENV IMAGE_SERVICE_DATA_DIR=/data/service PYTHONUNBUFFERED=1
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["venv/bin/python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["venv/bin/python", "-m", "app"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
