"""The managers' service: Voilà behind the hub, on notebooks that an analyst put into the dashboards folder.

- `access`: who comes in, asked of the hub at each request
- `kernels`: the kernels that run dashboards: one stock kernel, no secret of the hub, a limit on their life
- `app`: Voilà with those two, our template, and a routing table in which every door is guarded
- `pages`: the list of dashboards
"""
