"""Rows with one average each as FBGEMM's ``ROWWISE_RMSPROP_AR`` has them: recorded, and live where it loads."""

import json

import numpy as np
import pytest
from dialects.recorders import fbgemm

torch = pytest.importorskip("torch")

from rmsprop.torch import RMSprop  # noqa: E402

RECORDING = json.loads(fbgemm.RECORDED.read_text(encoding="utf-8"))
OURS = {"ema_beta": "alpha", "eps": "eps", "ar_alpha": "staleness_decay"}


def by_torch(settings):
    start, rows, grads = fbgemm.inputs()
    param = torch.from_numpy(start.copy()).requires_grad_()
    options = {"alpha": 0.99, "eps": 1e-8} | {OURS[name]: value for name, value in settings.items()}
    optimizer = RMSprop([param], lr=fbgemm.LR, sparse="rowwise", **options)
    tables = []
    for step in range(fbgemm.STEPS):
        if step == fbgemm.STEPS // 2:
            optimizer.param_groups[0]["lr"] = fbgemm.LATER_LR
        indices, values = torch.from_numpy(rows[step])[None], torch.from_numpy(grads[step])
        param.grad = torch.sparse_coo_tensor(indices, values, start.shape, check_invariants=True)
        optimizer.step()
        tables.append(param.detach().numpy().copy())
    return tables, optimizer.state_dict()["state"][0]


def assert_equal(ours, tables, square_avg, last):
    """To 1e-6, as both round the 40 steps of the rows to float32; its share 1 − ρ is that of ρ rounded to float32."""
    found, state = ours
    for step, table in tables.items():
        np.testing.assert_allclose(found[step - 1], table, rtol=0, atol=1e-6)
    np.testing.assert_allclose(state["row_square_avg"], square_avg, rtol=1e-6 + 2**-25 / 0.01, atol=0)
    if "row_steps" in state:
        assert state["row_steps"].tolist() == [int(step) for step in last]


@pytest.mark.parametrize("name", fbgemm.CASES)
def test_rows_are_those_of_the_recorded_steps(name):
    case = RECORDING["cases"][name]
    assert case["settings"] == fbgemm.CASES[name]
    tables = {int(step): np.array(rows) for step, rows in case["rows"].items()}
    assert_equal(by_torch(case["settings"]), tables, case["sum"], case["prev_iter"])


@pytest.mark.parametrize("name", fbgemm.CASES)
def test_rows_are_those_of_the_live_steps(name):
    try:
        import fbgemm_gpu  # noqa: F401
    except (ImportError, OSError) as error:
        pytest.skip(f"fbgemm_gpu can't be loaded beside this PyTorch: {type(error).__name__}")
    tables, square_avg, last = fbgemm.run(fbgemm.CASES[name])
    assert_equal(by_torch(fbgemm.CASES[name]), dict(enumerate(tables, 1)), square_avg, last)


def test_the_recording_was_made_from_these_inputs():
    for ours, theirs in zip(fbgemm.inputs(), RECORDING["inputs"].values(), strict=True):
        assert np.array_equal(ours, np.array(theirs, ours.dtype))
    assert RECORDING["versions"]["fbgemm-gpu-cpu"] == "1.9.0"


def test_the_cases_reach_what_they_are_about():
    """A row that rests long decays to the floor in one case, which is another number than without it."""
    ends = {name: np.array(case["rows"]["40"]) for name, case in RECORDING["cases"].items()}
    assert abs(ends["decay to the floor"] - ends["decay by staleness"]).max() > 0.1
    rests = [np.diff(np.flatnonzero((fbgemm.inputs()[1] == row).any(1))) for row in range(fbgemm.ROWS)]
    assert max(gaps.max(initial=0) for gaps in rests) * fbgemm.LR * 40.0 > 0.9
