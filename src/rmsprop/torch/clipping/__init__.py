"""The limits of gradients and updates.

- `limits`: those of a parameter group.
- `clipper`: the norm of all gradients, which a step scales by; `exact_sum` adds it up where no kernel does.
- `units`: a gradient's norm limited by that of its parameters, unit by unit.
- `update_rms`: the root mean square of an update, tensor by tensor.
"""
