"""Steps that backward takes.

- `step_in_backward`: the hooks, parameter by parameter.
- `joint_update`: several small parameters at once.
- `taken`: by which optimizer a parameter's steps are taken.
"""
