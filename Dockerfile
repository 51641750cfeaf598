# matinee's own algorithm, matinee-fm, as an image for SageMaker: `train`, `serve`, and the steps of the
# workflow (matinee[workflow]) for processing jobs. docs/image.md says how to build and use it.
#
#   docker build --platform linux/amd64 --tag matinee-fm .
#
# Nothing is resolved while it is built: the base is named by digest, each package by the hashes of
# uv.lock. Of the repository the image holds the wheel alone.

# The digest of this tag, of 2026-08-25, by github.com/docker-library/repo-info.
FROM python:3.12-slim-bookworm@sha256:0f5b26b9518d002b6173fd61daad821fa340635ebfec5bba471013f9ca114579 AS build

# Another package index, by --build-arg; no password in it, since arguments are kept in the history.
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never

SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /source

# The version is the Makefile's.
RUN echo "uv==0.13.9 --hash=sha256:d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19" > uv.txt; \
    pip install --no-cache-dir --require-hashes --only-binary :all: --requirement uv.txt

COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv export --quiet --frozen --no-dev --extra container --extra workflow --no-emit-project --output-file locked.txt; \
    uv venv --quiet /opt/matinee; \
    uv pip sync --quiet --python /opt/matinee/bin/python --require-hashes --only-binary :all: locked.txt

COPY src src
RUN uv build --quiet --wheel --out-dir dist; \
    uv pip install --quiet --python /opt/matinee/bin/python --no-deps dist/*.whl

# SageMaker starts an image with one of two words, each a program.
RUN for word in train serve; do \
      printf '#!/bin/sh\nexec python -m matinee.fm.container --algorithm matinee-fm %s "$@"\n' "$word" > "/opt/matinee/bin/$word"; \
      chmod 755 "/opt/matinee/bin/$word"; \
    done

# Compiled here, so that no job waits for a compiler; for every x86-64 processor since 2013 (AVX2), so
# that each of SageMaker's instance types loads the same code and trains the same model.
ENV MATINEE_KERNEL_CACHE=/opt/matinee/kernels NUMBA_CPU_NAME=x86-64-v3 NUMBA_CPU_FEATURES=""
RUN /opt/matinee/bin/python -m matinee.fm.kernels


FROM python:3.12-slim-bookworm@sha256:0f5b26b9518d002b6173fd61daad821fa340635ebfec5bba471013f9ca114579

# SageMaker may name another port than 8080, if it runs several containers as one model.
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true \
      org.opencontainers.image.title=matinee-fm \
      org.opencontainers.image.description="Factorization Machines for SageMaker: train and serve" \
      org.opencontainers.image.licenses=Apache-2.0

COPY --from=build /opt/matinee /opt/matinee
ENV PATH=/opt/matinee/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    MATINEE_KERNEL_CACHE=/opt/matinee/kernels NUMBA_CPU_NAME=x86-64-v3 NUMBA_CPU_FEATURES=""

# As root, like SageMaker's own images: it mounts /opt/ml without saying who else may write there. A job
# has a machine of its own.
EXPOSE 8080
# No ENTRYPOINT: SageMaker's word is the program, and a processing job names its own.
CMD ["serve"]
