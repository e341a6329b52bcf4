"""Deployments: JupyterHub with sign-in, roles, JupyterLab for analysts and Voilà dashboards for managers.

`python -m wendelin.hub_config.run` brings all of it up on one machine. One file a task:

- `run`, `launch`, `watch`: the program, the order of starting and stopping, the processes
- `settings`, `folders`, `ports`, `tools`: what a deployment is made of
- `jupyterhub_config`, `conf.d/*.py`, `parts`: the hub's configuration in sorted parts, each checked
- `accounts`, `users`, `sign_in`: who may sign in
- `dashboards/`: the managers' service
"""
