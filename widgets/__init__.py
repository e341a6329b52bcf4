"""Components for notebooks and dashboards, on ipywidgets and anywidget.

- `status`: a live tile of a database and its last transactions; `observer` is what it hears and sees, without Jupyter
- `table`: a table whose rows can be chosen, cards on a phone
- `cards`: headings, figures, badges and notices as accessible HTML
- `loop`: from another thread back to where widgets live

Front ends are ES modules beside their Python files; nothing is fetched from outside. Colours come from JupyterLab's
``--jp-*`` variables, with fallbacks for light and dark where there are none.
"""
