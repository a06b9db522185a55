# make run: the study, its tables, plots and report.  make test: the tests.  Each installs what it needs first.
PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
STUDY ?= config.yaml
PYTHON_THERE ?= 3.11

VENV ?= .venv
BIN := $(abspath $(VENV))/bin
INSTALLED := $(VENV)/installed
export PATH := $(BIN):$(PATH)

# One word of the shell, whatever characters it has.
quoted = '$(subst ','\'',$(1))'
study := $(call quoted,$(value STUDY))

# Snakemake (#2645) does not quote the path of Python: what of it would a shell take for something else?
ifneq ($(filter-out help,$(MAKECMDGOALS)),)
ifneq ($(strip $(shell printf %s $(call quoted,$(BIN)) | LC_ALL=C tr -d '[:alnum:]_./+,@%:=~\200-\377-' | wc -c)),0)
$(error Snakemake cannot run the scripts of an environment in $(BIN), for the space or other odd character in its path. \
	Name another place for it: make $(MAKECMDGOALS) VENV=$$HOME/venvs/immature-ood)
endif
endif

.DEFAULT_GOAL := help
.PHONY: help study-there data-named run score audit carry doctor test coverage test-slow test-slurm check docs bench

help:
	@echo 'make run        the study of config.yaml; another one: make run STUDY=studies/smoke.yaml'
	@echo 'make score      images by a study that has been run: make score STUDY=... DATA=folder (OPTIONS="--epoch 3 ...")'
	@echo 'make audit      what the choices of the released code do (studies/audit*.yaml)'
	@echo 'make doctor     is all there, and what will the study cost? (STUDY=... as above)'
	@echo 'make carry      carry.tar: the study for a machine with PyTorch and no internet'
	@echo 'make test       the fast tests'
	@echo 'make coverage   the same, and which lines of the package they run'
	@echo 'make test-slow  the slow ones: minutes'
	@echo 'make test-slurm the workflow on a one-node SLURM, which apt installs if it is not there'
	@echo 'make check      format, lint, types'
	@echo 'make docs       the site of all pages, site/index.html; warnings are errors'
	@echo 'make bench      speed and memory against peers (benchmarks/README.md)'
	@echo 'CORES=n limits the cores used; PYTHON=... is the interpreter that $(VENV) is made with.'

$(INSTALLED): pyproject.toml constraints.txt
	@$(call quoted,$(PYTHON)) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(call quoted,$(PYTHON)) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

study-there:
	@test -f $(study) || { echo there is no study $(study) >&2; exit 1; }

run: study-there $(INSTALLED)
	@python -m immature_ood run $(study) --cores $(CORES)

data-named:
	@test -n $(call quoted,$(value DATA)) || { echo 'say what to score: make score STUDY=... DATA=folder' >&2; exit 1; }

score: study-there data-named $(INSTALLED)
	@name=$$(python -m immature_ood.study $(study)) && \
	python -m immature_ood score --study "results/$$name" $(OPTIONS) $(call quoted,$(value DATA))

audit: $(INSTALLED)
	for study in studies/audit.yaml studies/audit-*.yaml; do \
		snakemake scores --cores $(CORES) --configfile $$study || exit; done
	snakemake results/audit/tables/audit.csv --cores $(CORES) --configfile studies/audit.yaml
	snakemake results/audit/tables/audit.csv --report results/audit/snakemake-report.html --configfile studies/audit.yaml
	@echo; cat results/audit/tables/audit_summary.txt
	@echo; echo 'table   results/audit/tables/audit.csv'

# For a machine with PyTorch and little else: docs/cluster.md.
carry: study-there $(INSTALLED)
	@name=$$(python -m immature_ood.study $(study)) && results=results/$$name && \
	snakemake jobs --cores $(CORES) --configfile $(study) && \
	pip download --quiet --disable-pip-version-check --constraint constraints.txt --dest wheels --only-binary :all: \
		--platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64 --python-version $(PYTHON_THERE) \
		pydantic safetensors PyYAML rich && \
	python -m immature_ood.run "$$results/jobs.json" --list | \
	tar cf carry.tar --exclude __pycache__ --exclude '*.egg-info' src workflow/scripts wheels --files-from - && \
	ls -sh carry.tar

doctor: study-there $(INSTALLED)
	python -m immature_ood doctor $(study)

# Small tensors gain nothing from two threads, which wait for one another.
test coverage test-slow: export OMP_NUM_THREADS = 1

test: $(INSTALLED)
	pytest --numprocesses $(CORES) --dist loadfile --no-loadscope-reorder

# Of the processes of pytest; jobs that Snakemake starts are not counted.
coverage: $(INSTALLED)
	pytest --numprocesses $(CORES) --dist loadfile --no-loadscope-reorder --cov --cov-report=term

test-slow: $(INSTALLED)
	pytest -m slow --numprocesses $(CORES) --dist loadfile --no-loadscope-reorder

test-slurm: $(INSTALLED)
	pytest -m slurm tests/slurm

check: $(INSTALLED)
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	mypy
	snakemake --lint

# Anew each time: what Sphinx keeps does not tell that a plug-in changed.
docs: $(INSTALLED)
	sphinx-build --quiet --fresh-env --fail-on-warning --keep-going --conf-dir docs/_site --doctree-dir site/.doctrees . site
	@echo 'site    site/index.html'

benchmarks/.packages: benchmarks/requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $@ --requirement $<
	@touch $@

bench: $(INSTALLED) benchmarks/.packages
	python benchmarks/run.py $(if $(CONFIGS),--configs $(CONFIGS))
	$(if $(CONFIGS),,python benchmarks/models.py)
	$(if $(CONFIGS),,python benchmarks/command.py)
