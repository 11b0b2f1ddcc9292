# Two commands for a fresh Debian or Ubuntu machine: `make demo` and `make test`. Both need root or sudo for apt.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
VENV ?= .venv
PYTHON := $(VENV)/bin/python
PARTS := python3-venv conmon crun netavark aardvark-dns passt uidmap catatonit fuse-overlayfs iptables nftables busybox-static \
	libseccomp2 libnftables1 ca-certificates
TEST_PARTS := systemd slirp4netns docker-registry apache2-utils openssl runc runsc skopeo iproute2 podman gpg gpg-agent openssh-server \
	criu qemu-system-x86 mmdebstrap e2fsprogs cpio docker-compose curl
# the oldest interpreter that is new enough; Debian's own where there is one
BASE := $(firstword $(wildcard /usr/bin/python3.1[1-9] /usr/bin/python3) python3)

.PHONY: help parts install demo test-parts test test-vm check unit bench clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

parts: ## install the system's parts: conmon, crun, netavark, …
	@missing=""; for p in $(PARTS); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then echo "installing$$missing"; \
	  $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi

$(VENV)/bin/python:
	@$(BASE) -m venv $(VENV)

install: parts $(VENV)/bin/python ## make a virtual environment with podling in it
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check . && $(PYTHON) -m compileall -q $$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/podling

demo: install ## install everything and run a first container
	@./scripts/demo "$(CURDIR)/$(VENV)/bin/podling" $(SUDO)

test-parts: parts $(VENV)/bin/python
	@missing=""; for p in $(TEST_PARTS); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then echo "installing$$missing"; \
	  $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check -e '.[dev]'

test: test-parts check ## install what tests need and run them all
	@$(SUDO) ./tests/prepare-host
	@used=$$(mktemp -d); $(SUDO) env PODLING_FLAGS_USED=$$used PODLING_FLAGS_STRICT=$$PODLING_FLAGS_STRICT $(PYTHON) -m pytest -n auto --dist loadgroup; \
	code=$$?; $(SUDO) rm -rf "$$used"; exit $$code

test-vm: test-parts ## run what needs systemd, cgroup v2 or CRIU in a guest: more of it than `make test` does
	@$(SUDO) env PODLING_TEST_VM=1 $(PYTHON) -m pytest tests/vm -s

unit: test-parts ## run the tests that need no root
	@$(PYTHON) -m pytest tests/unit

check: ## lint, types, floors
	@$(PYTHON) -m ruff check src tests bench
	@$(PYTHON) -m mypy
	@$(VENV)/bin/lint-imports --no-cache | tail -4

bench: install ## compare with podman: make bench ENGINE=/usr/bin/podman
	@$(SUDO) $(PYTHON) bench/bench.py --podling $(VENV)/bin/podling --podman $(or $(ENGINE),/usr/bin/podman)
	@$(SUDO) $(PYTHON) bench/api.py --podling $(VENV)/bin/podling --podman $(or $(ENGINE),/usr/bin/podman)

clean: ## remove what was built
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache
