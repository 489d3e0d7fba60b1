# Everything begins here: `make help` lists what there is. Needs make (macOS's 3.81 will do) and Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
START := course/00_start_here/00_start_here.ipynb

# Recipes read this folder from their environment, where an apostrophe or a bracket in its name is no syntax.
export HERE := $(CURDIR)

# For your own arguments:
LAB_ARGS ?=
PYTEST_ARGS ?=
ARGS ?=
# Test files to run side by side; a notebook wants about 2 GiB and a core. 0: one after another, without processes.
JOBS ?= 0
# Who opens JupyterLab: ROLE=instructor has nbgrader's panels in it.
ROLE ?= student

# torch comes first and by itself: pip then takes the build for this machine, which the other packages accept.
TORCH = $(shell sed -n '/^torch==/p' requirements.lock)

.PHONY: help lab test test-whole release publish record robust demo mutants bench bench-gpu bench-grading lint setup lock test-lowest
.DEFAULT_GOAL := help

help:
	@echo 'Training language models: a course in notebooks. Each of these sets up what it needs, the first time.'
	@echo
	@echo '  make lab      open the course in JupyterLab          LAB_ARGS="--no-browser --port 9000"'
	@echo '                (with nbgrader, for who teaches)     ROLE=instructor'
	@echo '  make test     run all tests                          PYTEST_ARGS="-k judge"  JOBS=2'
	@echo '  make test-whole  the same, with every chapter run in full and the grader tried on all seeds: an hour and more'
	@echo '  make lint     check the style of the code'
	@echo
	@echo '  make release  generate course/ from solutions/       ARGS="01_pretraining"'
	@echo '  make publish  say where the course can be had, and release  ADDRESS=https://github.com/OWNER/REPOSITORY TAG=v1'
	@echo '  make record   run chapters whole and keep what they measured  ARGS="01_pretraining"'
	@echo '  make robust 01  run a chapter five times (seeds, dose, code paths): do its claims hold?  ARGS="--jobs 2"'
	@echo '  make demo     grade a class of made-up submissions   ARGS="..."'
	@echo '  make mutants  change the reference solutions, and list what the checks let through  ARGS="01_pretraining"'
	@echo '  make bench    measure how fast grading is            ARGS="..."'
	@echo '  make bench-grading  measure submissions a minute against stock nbgrader  ARGS="03_reinforce --students 40"'
	@echo '  make bench-gpu  measure how fast training is on the GPU, or else the CPU  ARGS="--keep"'
	@echo
	@echo '  make setup    only set up: the environment $(VENV), from requirements.lock'
	@echo '  make lock     pin again: requirements.lock and environment.yml (UPGRADE=yes: the newest versions)'
	@echo '  make test-lowest  run the tests with the oldest versions that pyproject.toml admits'
	@echo
	@echo 'PYTHON=python3.12 chooses the Python that the environment is made with (3.11 or newer).'

# The first page is an address, not a file to run: Jupyter then prints it too, for those whose browser is elsewhere.
# Jupyter refuses to run as root, which is who a reader is in most containers, unless it is told to. MPLBACKEND, where
# somebody has set it for scripts, would hide the plots in every notebook. course/lab/ holds what a student's JupyterLab
# leaves out: nbgrader's panels for instructors, and the question about news. With ROLE=instructor nothing is left out.
lab: $(STAMP)
	unset MPLBACKEND; PATH="$$HERE/$(BIN):$$PATH" $(BIN)/python -m jupyterlab --LabApp.default_url=/lab/tree/$(START) \
	  $(if $(filter instructor,$(ROLE)),,--LabApp.app_settings_dir="$$HERE/course/lab") \
	  $(if $(filter 0,$(shell id -u)),--allow-root) $(LAB_ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest $(if $(filter-out 0,$(JOBS)),-n $(JOBS) --dist loadfile --no-loadscope-reorder) $(PYTEST_ARGS)

test-whole: export COURSE_WHOLE = 1
test-whole: test

lint: $(STAMP)
	$(BIN)/python -m ruff check

release record robust demo mutants bench bench-gpu bench-grading: $(STAMP)
	$(BIN)/python -m autograder.workshop.$(subst -,_,$@) $(CHAPTERS) $(ARGS)

CHAPTERS :=
# `make robust 04` is short for ARGS="04": what stands behind `robust` names chapters, and is nothing to make.
ifeq ($(firstword $(MAKECMDGOALS)),robust)
CHAPTERS := $(filter-out robust,$(MAKECMDGOALS))
ifneq ($(CHAPTERS),)
.PHONY: $(CHAPTERS)
$(CHAPTERS): ; @:
endif
endif

# The address and the tag reach the recipe through its environment too: nothing in them is syntax.
publish: export ADDRESS := $(ADDRESS)
publish: export TAG := $(TAG)
publish: $(STAMP)
	@$(BIN)/python -m autograder.workshop.publish --tag="$$TAG" "$$ADDRESS"

# --- Set-up: done when there is no $(STAMP), or when the pins changed, or when the folder was moved or copied (an
# --- environment points to the place where it was made, so it is made anew).

setup: $(STAMP)

ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

$(STAMP): requirements.lock pyproject.toml
	@if [ -f $(STAMP) ] && [ "$$(cat $(STAMP))" != "$$HERE" ]; then rm -rf $(VENV); fi
	@if ! $(BIN)/python -c $(IS_NEW_ENOUGH) >/dev/null 2>&1 || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  $(call make_venv,$(VENV)); \
	fi
	@echo 'Setting up $(VENV): this happens once, and takes a few minutes (about 2 GiB; more where torch brings CUDA).'
	@$(call pip,$(VENV),$(TORCH))
	@$(call pip,$(VENV),-r requirements.lock)
	@$(call pip,$(VENV),--no-deps --no-build-isolation -e .)
	@printf '%s' "$$HERE" > $(STAMP)

IS_NEW_ENOUGH = 'import sys; print(sys.version.split()[0]); sys.exit(sys.version_info < (3, 11))'
HAS_VENV = 'import ensurepip, venv'

# $(call make_venv,FOLDER): an empty virtual environment there, or a sentence that says what is missing.
make_venv = \
  if ! command -v $(PYTHON) >/dev/null 2>&1; then echo "$$NO_PYTHON" >&2; exit 1; fi; \
  if ! found=$$($(PYTHON) -c $(IS_NEW_ENOUGH) 2>/dev/null); then echo "$$OLD_PYTHON $${found:-nothing: it does not run}." >&2; exit 1; fi; \
  if ! $(PYTHON) -c $(HAS_VENV) 2>/dev/null || ! $(PYTHON) -m venv --clear $(1); then \
    rm -rf $(1); echo "$$NO_VENV" >&2; exit 1; \
  fi

# $(call pip,FOLDER,WHAT): install WHAT into the environment there, or a sentence that says what to look at.
pip = PIP_DISABLE_PIP_VERSION_CHECK=1 $(1)/bin/python -m pip install --no-input $(2) || { echo "$$NO_INSTALL" >&2; exit 1; }

define NO_PYTHON

There is no command '$(PYTHON)' here. The course needs Python 3.11 or newer: install it (python.org, your system's
package manager, or conda), or say where it is, for example: make PYTHON=/path/to/python3.12 setup
endef

define OLD_PYTHON

The course needs Python 3.11 or newer. Install one (python.org, your system's package manager, or conda), or say
where it is, for example: make PYTHON=/path/to/python3.12 setup
What '$(PYTHON)' says of its version:
endef

define NO_VENV

'$(PYTHON)' cannot make a virtual environment. On Debian and Ubuntu its venv module is a package of its own:
    sudo apt install python3-venv
(python3.12-venv for a python3.12 that stands beside the system's). Else: is this folder writable, and the disk full?
Then give the same command again.
endef

define NO_INSTALL

The packages could not be installed; pip says above why. The usual reasons:
  - no connection to the Python package index, or a proxy that pip does not know (set HTTPS_PROXY);
  - too little disk: `df -h .` should show 5 GiB free, or 12 where torch brings CUDA;
  - a Python so new that torch has no build for it yet: try another, as in  make PYTHON=python3.12 setup
    (after removing $(VENV)).
Nothing is lost: the same command goes on from where it stopped.
endef

export NO_PYTHON OLD_PYTHON NO_VENV NO_INSTALL

# --- For maintainers

# Keeps the pins that still fit pyproject.toml, unless UPGRADE=yes. Another torch: make lock TORCH=torch==X.Y.Z
# What only a CUDA build of torch depends on is left to torch.
ALL_EXTRAS = '.[class,cluster,postgresql,dev]'
lock:
	@$(call make_venv,.venv-lock)
	@$(call pip,.venv-lock,$(TORCH))
	@$(call pip,.venv-lock,$(if $(UPGRADE),,-c requirements.lock) -e $(ALL_EXTRAS))
	@{ echo '# Made by `make lock` from pyproject.toml. What `make` installs; the same pins stand in environment.yml.'; \
	  .venv-lock/bin/python -m pip freeze --all --exclude-editable --exclude pip | sed 's/+c[pu][0-9a-z]*$$//' \
	  | grep -viE '^(nvidia|cuda|triton)' | LC_ALL=C sort -f; } > .venv-lock/requirements.lock
	@{ echo '# Made by `make lock`: the pins of requirements.lock, for conda users.'; \
	  echo '#     conda env create -f environment.yml && conda activate training-language-models'; \
	  echo '#     jupyter lab --LabApp.app_settings_dir=course/lab'; \
	  echo 'name: training-language-models'; \
	  echo 'channels:'; \
	  echo '  - conda-forge'; \
	  echo 'dependencies:'; \
	  .venv-lock/bin/python -c 'import sys; print("  - python=%d.%d" % sys.version_info[:2])'; \
	  echo '  - pip'; \
	  echo '  - pip:'; \
	  sed -n '/^[^#]/s/^/      - /p' .venv-lock/requirements.lock; \
	  echo '      - --editable .'; } > .venv-lock/environment.yml
	@mv .venv-lock/requirements.lock .venv-lock/environment.yml . && rm -rf .venv-lock
	@echo 'Written: requirements.lock and environment.yml.'

# The lower ends of the ranges in pyproject.toml, tried: they are claims until this passes. (ipython: see there.)
LOWER_ENDS = 'import re, sys, tomllib; \
  project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
  lowest = [re.sub(r">=([^,]+).*", r"==\1", p) for p in project["dependencies"]]; \
  print(*(p for p in lowest if not p.startswith("ipython==")), sep="\n")'
TEST_EXTRAS = '.[class,cluster,postgresql,dev]'
test-lowest:
	@$(call make_venv,.venv-lowest)
	@.venv-lowest/bin/python -c $(LOWER_ENDS) > .venv-lowest/lowest.txt
	@$(call pip,.venv-lowest,-r .venv-lowest/lowest.txt -e $(TEST_EXTRAS))
	.venv-lowest/bin/python -m pytest $(PYTEST_ARGS)
