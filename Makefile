# `make demo` and `make test` do all their own set-up in .venv. PYTHON names another interpreter (3.11 or later).
PYTHON ?= $(or $(shell command -v python3.11),$(shell command -v python3),python)
BIN     = .venv/bin

.PHONY: demo test check notebooks clean

demo: .venv/installed     ## about ten minutes on two cores: pretrain on MotionSense, prove that it learned, pictures in demo/
	$(BIN)/python benchmarks/demo.py --out demo

test: .venv/installed     ## what CI runs
	$(MAKE) check

check:                    ## on the working copy as it is: sync of notebooks and modules, notebooks, pytest
	$(BIN)/python -m pytest -q tests/test_project.py
	$(BIN)/nbdev-test --n-workers 2
	$(BIN)/python -m pytest -q

notebooks:                ## after editing nbs/: write the modules, clean the notebooks
	$(BIN)/nbdev-export
	$(BIN)/nbdev-clean

clean:
	rm -rf .venv build dist *.egg-info demo

.venv/installed: settings.ini setup.py pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -e '.[dev]'
	touch $@
