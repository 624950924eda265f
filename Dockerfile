# One image for the planner and the node agent: `python -m reconfigurer.planner`, `python -m reconfigurer.agent`.
#
# What goes in is what the test cluster's image holds (tests/cluster/testbed/python_images.py; a test compares the two):
# Debian's Python 3.11, the wheels that requirements/runtime.txt pins by their hashes, and the project's own wheel. No
# shell, no package manager, no compiler.
ARG BUILDER=docker.io/library/python:3.11-slim-bookworm
ARG BASE=gcr.io/distroless/python3-debian12:nonroot

FROM ${BUILDER} AS build
WORKDIR /source
COPY requirements/ requirements/
RUN python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes \
      --only-binary :all: --target /site --requirement requirements/runtime.txt
# What builds the wheel, at the versions that the tests' environment has.
RUN awk '/^[a-z]/ { keep = /^(hatchling|packaging|pathspec|pluggy|trove-classifiers)==/ } keep' requirements/dev.txt \
      > /build.txt \
 && python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement /build.txt
COPY pyproject.toml README.md LICENSE ./
COPY knative_mig/ knative_mig/
COPY activator_hooks/ activator_hooks/
COPY reconfigurer/ reconfigurer/
COPY services/ services/
COPY config/ config/
RUN python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir /wheel . \
 && python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --no-index --target /site /wheel/*.whl \
 && rm -rf /site/bin \
 && python -m compileall -q --invalidation-mode unchecked-hash \
      -s /site -p /usr/local/lib/python3.11/dist-packages /site

FROM ${BASE}
COPY --from=build /site /usr/local/lib/python3.11/dist-packages
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /home/nonroot
ENTRYPOINT ["/usr/bin/python3.11"]
