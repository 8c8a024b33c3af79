"""Records FBGEMM's row-wise RMSProp: fbgemm-gpu-cpu==1.9.0, torch==2.14.1, numpy==2.4.6.

Its libraries can be loaded beside PyTorch 2.14 alone, so that it needs an environment of its own:

    cd tests && python -m dialects.recorders.fbgemm

`ROWWISE_RMSPROP_AR` belongs to an embedding whose backward takes the step; here each row that is looked up is a bag of
its own, so that the gradient of the bag is that of the row.
"""

import datetime
import importlib.metadata
import json
import platform
from pathlib import Path

import numpy as np

RECORDED = Path(__file__).resolve().parent.parent / "recorded_rows" / "fbgemm.json"
ROWS, WIDTH, STEPS, BAGS = 30, 8, 40, 6
LR, LATER_LR = 0.01, 0.003  # of the first half of the steps and of the second
SHOWN = (1, 20, 40)  # the steps after which rows are recorded
# FBGEMM's own names and defaults.
CASES = {
    "defaults": {},
    "short memory": {"ema_beta": 0.3, "eps": 1e-3},
    "decay by staleness": {"ar_alpha": 2.0, "ema_beta": 0.9},
    "decay to the floor": {"ar_alpha": 40.0, "ema_beta": 0.9},
}


def inputs():
    """Return the table at the start, and for each step which rows are looked up and their gradients."""
    rng = np.random.default_rng(0)
    start = rng.standard_normal((ROWS, WIDTH)).astype(np.float32)
    rows = np.minimum(rng.zipf(1.5, (STEPS, BAGS)) - 1, ROWS - 1)  # some several times, some hardly ever
    return start, rows, rng.standard_normal((STEPS, BAGS, WIDTH)).astype(np.float32)


def run(settings):
    """Return the table after each step, and the state at the end: the averages and the steps of the last touch."""
    import torch
    from fbgemm_gpu.split_embedding_configs import EmbOptimType, SparseType
    from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation
    from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
        ComputeDevice,
        SplitTableBatchedEmbeddingBagsCodegen,
    )

    start, rows, grads = inputs()
    bags = SplitTableBatchedEmbeddingBagsCodegen(
        [(ROWS, WIDTH, EmbeddingLocation.HOST, ComputeDevice.CPU)],
        optimizer=EmbOptimType.ROWWISE_RMSPROP_AR,
        learning_rate=LR,
        weights_precision=SparseType.FP32,
        output_dtype=SparseType.FP32,
        **settings,
    )
    weight = bags.split_embedding_weights()[0]
    weight.data.copy_(torch.from_numpy(start))
    tables = []
    for step in range(STEPS):
        if step == STEPS // 2:
            bags.set_learning_rate(LATER_LR)
        out = bags(torch.from_numpy(rows[step]), torch.arange(BAGS + 1))
        out.backward(torch.from_numpy(grads[step]))
        tables.append(weight.detach().numpy().copy())
    square_avg, last = bags.split_optimizer_states()[0]
    return tables, square_avg.numpy(), last.numpy()


def recorded(settings):
    """Return what a case comes to, as it is recorded."""
    tables, square_avg, last = run(settings)
    shown = {str(step): tables[step - 1].astype(float).tolist() for step in SHOWN}
    return {"settings": settings, "rows": shown, "sum": square_avg.astype(float).tolist(), "prev_iter": last.tolist()}


def main():
    """Write the recording."""
    versions = {name: importlib.metadata.version(name) for name in ("fbgemm-gpu-cpu", "torch", "numpy")}
    start, rows, grads = inputs()
    recording = {
        "versions": {**versions, "python": platform.python_version()},
        "recorded": datetime.date.today().isoformat(),
        "inputs": {"start": start.astype(float).tolist(), "rows": rows.tolist(), "grads": grads.astype(float).tolist()},
        "cases": {name: recorded(settings) for name, settings in CASES.items()},
    }
    RECORDED.parent.mkdir(exist_ok=True)
    RECORDED.write_text(json.dumps(recording) + "\n", encoding="utf-8")
    print(f"{RECORDED.name}: {len(CASES)} cases, {RECORDED.stat().st_size} bytes")


if __name__ == "__main__":
    main()
