FROM python:3.13-slim AS build
COPY . /src
RUN sh /src/deploy/install.sh /opt/sslmonitor-bot

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /nonexistent bot
COPY --from=build /opt/sslmonitor-bot /opt/sslmonitor-bot
ENV PATH=/opt/sslmonitor-bot/bin:$PATH HOST=0.0.0.0 PORT=3000 PYTHONUNBUFFERED=1
# Nothing is written to the image: DATABASE_URL must point to PostgreSQL, or to a file in a volume.
USER 10001
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/healthz\", timeout=4)"]
CMD ["sslmonitor-bot", "run"]
