# superfine web on a CPU, without PyTorch: docker build -t superfine . && docker run --rm -p 127.0.0.1:7860:7860 superfine
FROM python:3.13-slim AS build
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# g++ is for engine "native"; the wheel carries what it makes.
RUN python -m venv /opt/superfine && /opt/superfine/bin/pip install --no-cache-dir -c constraints.txt '.[web,video,formats]'

FROM python:3.13-slim
RUN useradd --system --uid 7860 --no-create-home superfine
COPY --from=build /opt/superfine /opt/superfine
ENV PATH=/opt/superfine/bin:$PATH PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=2
USER superfine
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD \
  ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
ENTRYPOINT ["superfine", "web", "--host", "0.0.0.0", "--no-open"]
