# Each target is a thin call of bootstrap.py, which also works where there is no make.
PYTHON ?= python3

.PHONY: install run test test-fast bench lint docs clean
install run test bench lint docs clean:
	@$(PYTHON) bootstrap.py $@ $(ARGS)
test-fast:
	@$(PYTHON) bootstrap.py test --fast $(ARGS)
