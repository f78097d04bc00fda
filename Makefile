# Everything happens in portal/devstack/; this file only starts it with the system's Python.
PYTHON ?= python3
DEVSTACK = $(PYTHON) -B -m portal.devstack.bootstrap

.PHONY: help up test lint format bench screenshots servers stop clean purge
.DEFAULT_GOAL := help

help:
	@echo 'make up       set up what is missing, run everything; Ctrl-C stops it'
	@echo 'make test     every check: lint, types, contracts, tests (ARGS="-k name" goes to pytest)'
	@echo 'make bench    every benchmark, one JSON object each (ARGS="--seconds 10")'
	@echo 'make screenshots   pictures of every page into screenshots/ (ARGS="--only facility")'
	@echo 'make lint     the checks that only read files'
	@echo 'make format   bring code and templates into the format'
	@echo 'make servers  bring PostgreSQL and Redis up and leave them running; make stop ends them'
	@echo 'make clean    remove what can be made again; data, secrets and certificates stay'
	@echo 'make purge    remove everything, data too'
	@echo 'WATTLINE_HOME, WATTLINE_PORT (8000), WATTLINE_BRIDGE_PORT (8883) move state and ports.'

up servers stop lint format:
	@exec $(DEVSTACK) $@

test bench screenshots:
	@exec $(DEVSTACK) $@ -- $(ARGS)

clean:
	@$(PYTHON) -B -m portal.devstack.clean

purge:
	@$(PYTHON) -B -m portal.devstack.clean --data
