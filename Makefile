# Everything a new machine needs is installed here, into .venv; a second run reuses what is there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The environment of other people's tools; its torch is .venv's.
CLIENTS := .venv-clients

.PHONY: demo test test-all test-clients lint types generated docs wheel clean

# An extra is installed once; pyproject.toml's change installs it again.
$(VENV)/.installed-%: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@

demo: $(VENV)/.installed-train,plot
	$(BIN)/convzoo finetune --out runs/demo

test: $(VENV)/.installed-dev lint types
	$(BIN)/python -m pytest -n auto

# What repeats as well: deeper networks, more processes, more launches.
test-all: $(VENV)/.installed-dev lint types
	$(BIN)/python -m pytest -n auto -m 'long or not long'

# Other people's tools: installs them, tries each, and writes docs/clients.md.
test-clients: $(CLIENTS)/.installed
	$(CLIENTS)/bin/python -m pytest tests/clients tests/test_docs.py -k 'clients or blocks' \
		-m 'long or not long' --clients-table docs/clients.md

$(CLIENTS)/.installed: $(VENV)/.installed-dev tests/clients/requirements.txt
	@test -x $(CLIENTS)/bin/python || $(BIN)/python -m venv $(CLIENTS)
	@site='import sysconfig; print(sysconfig.get_path("purelib"))'; \
		echo "import site; site.addsitedir('$$($(BIN)/python -c "$$site")')" \
		> "$$($(CLIENTS)/bin/python -c "$$site")/dev.pth"
	$(CLIENTS)/bin/python -m pip install --quiet --requirement tests/clients/requirements.txt
	@touch $@

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy
	@# As a user's editor sees the package: an installed copy, not this source tree.
	@rm -rf $(VENV)/verify && mkdir $(VENV)/verify && cp -r src/convzoo $(VENV)/verify/
	cd $(VENV)/verify && PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=. \
		basedpyright --verifytypes convzoo --ignoreexternal
	@# What a user's lines are to both checkers.
	$(BIN)/mypy --strict tests/typed/users.py
	PATH="$(CURDIR)/$(BIN):$$PATH" basedpyright --level error tests/typed/users.py

# What only text can tell a type checker: tags and names, from the catalogue and the registry; and
# the pages of the families.
generated: $(VENV)/.installed-dev
	$(BIN)/python tests/generate_types.py
	$(BIN)/python docs/write_pages.py

docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

wheel: $(VENV)/.installed-dev
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) $(CLIENTS) dist site runs
