# Each target sets up what it needs. `make demo` and `make test` are all a newcomer has to know.

VENV    := .venv
BIN     := $(VENV)/bin
PYTHON  ?= python3
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# The local region needs root, and so the image store that is used is root's.
AS_ROOT := $(SUDO)

PACKAGES := busybox-static ca-certificates crun cryptsetup-bin dnsmasq-base docker-registry dosfstools fdisk gcc graphviz haproxy iproute2 \
            libc6-dev make mmdebstrap mtools nftables ovmf procps python3 python3-venv qemu-efi-aarch64 qemu-system-arm qemu-system-x86 \
            qemu-utils skopeo slirp4netns squashfs-tools xorriso

.DEFAULT_GOAL := help

.PHONY: help setup images image-hello image-dictionary image-scribe demo demo-down test test-images lint bench clean packages

help:
	@echo "make demo       build examples/hello, run it in the local region and fetch its page"
	@echo "make demo-down  end it"
	@echo "make test       run all tests, real VMs included"
	@echo "make test-images  run the long tests of images"
	@echo "make setup images lint bench clean"

packages:
	@missing=$$(for p in $(PACKAGES); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  echo "installing $$missing" | tr '\n' ' '; echo; \
	  $(SUDO) apt-get update -q=2 && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive sh -e scripts/install-packages $$missing; \
	fi

$(VENV)/.ready: setup.cfg setup.py pyproject.toml $(wildcard guest/*.go guest/go.mod)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[all,dev]'
	@touch $@

setup: packages $(VENV)/.ready

images: image-hello image-dictionary image-scribe

image-hello: setup
	$(BIN)/python examples/hello/image/build.py
	$(AS_ROOT) $(BIN)/i2kit images import out/images/hello

image-dictionary: setup
	$(BIN)/python examples/dictionary/image/build.py
	$(AS_ROOT) $(BIN)/i2kit images import out/images/dictionary

# 0.4 GB are fetched, once; the image, its copy in the store and the built disk take 3 GB.
image-scribe: setup
	$(BIN)/python examples/scribe/image/build.py
	$(AS_ROOT) $(BIN)/i2kit images import out/images/scribe

demo: image-hello
	$(AS_ROOT) sh -e scripts/demo $(BIN)

demo-down: setup
	$(AS_ROOT) $(BIN)/i2kit destroy -f examples/hello

test: lint image-hello image-dictionary
	$(AS_ROOT) sh -e scripts/test $(BIN)

test-images: images
	$(AS_ROOT) sh -e scripts/test-images $(BIN)

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(AS_ROOT) sh -e scripts/bench $(BIN)

clean:
	$(SUDO) rm -rf $(VENV) build dist out *.egg-info i2kit/guest .mypy_cache .ruff_cache .pytest_cache .hypothesis .tox
	$(SUDO) find . -name __pycache__ -type d -prune -exec rm -rf {} +
