"""Records what a training loop does into a file that survives a kill, and costs the loop little.

- `recorder`: `Recorder`, which hooks onto an optimizer.
- `budget`: which steps are measured.
- `layers`, `moments`, `measure`: what is measured of a step, on a few coordinates of each layer.
- `losses`, `file`: what is written, and read again.
- `scalars`: the same for TensorBoard.
"""
