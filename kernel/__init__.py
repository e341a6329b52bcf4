"""What computes: the Wendelin kernel, whose cells are transactions, and the `%wendelin` magics for every IPython.

`session` is the thin part that everything shares. `cells` ties it to IPython's events, `magics` to the command line
of a cell, `completion` and `display` to what one sees, `kernel` to Jupyter, `extension` to any other IPython.
"""
