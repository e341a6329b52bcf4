# Each target is a thin call of bootstrap.py, which also works where there is no make.
PYTHON ?= python3
TARGETS := install run test test-fast bench lint docs clean

# make bench storage: words behind `bench` that are no targets name benchmarks.
ifeq (bench,$(firstword $(MAKECMDGOALS)))
NAMES := $(filter-out $(TARGETS),$(MAKECMDGOALS))
endif

.PHONY: $(TARGETS) $(NAMES)
install run test lint docs clean:
	@$(PYTHON) bootstrap.py $@ $(ARGS)
bench:
	@$(PYTHON) bootstrap.py bench $(NAMES) $(ARGS)
test-fast:
	@$(PYTHON) bootstrap.py test --fast $(ARGS)
$(NAMES):
	@:
