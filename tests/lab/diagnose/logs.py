"""The same two curves as the logs of many programs and people, with what is to be found in them."""

import json

TRAIN = [2.0 / n for n in range(1, 13)]
HELD_OUT = [2.0, 1.2, 1.0, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
PAIRS = list(zip(TRAIN, HELD_OUT, strict=True))
ENDS = ("epoch", "loss", "val_loss")
COUNTED = "the order of the rows, counted"


def each(row):
    """A row per epoch."""
    return [row(n, a, b) for n, (a, b) in enumerate(PAIRS)]


def several(rows):
    """Several rows per epoch."""
    return [row for n, (a, b) in enumerate(PAIRS) for row in rows(n, a, b)]


PLAIN = each(lambda n, a, b: [n, a, b])


def table(header, rows, delimiter=","):
    names = header.split(",") if isinstance(header, str) else header
    return "".join(delimiter.join(map(str, row)) + "\n" for row in [names, *rows])


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def columns(**lists):
    return json.dumps(lists)


def german(value):
    return str(value).replace(".", ",")


def padded(*cells):
    return ",".join(f"{cell:>15}" for cell in cells) + "\n"


def trainer_state(steps=10):
    rows = several(
        lambda n, a, b: (
            {"epoch": n / 2, "learning_rate": 1e-3, "loss": a, "step": steps * (n + 1)},
            {"epoch": n / 2, "eval_loss": b, "step": steps * (n + 1)},
        )
    )
    total = {"epoch": 6.0, "step": 12 * steps, "train_loss": 0.5, "train_runtime": 9.0}
    return json.dumps({"global_step": 12 * steps, "log_history": [*rows, total]}, indent=2)


YOLO = ["epoch", "train/box_loss", "train/cls_loss", "metrics/mAP50(B)", "val/box_loss", "val/cls_loss", "lr/pg0"]
WANDB = [f"sun-1 - {tag}{end}" for tag in ("train/loss", "val/loss") for end in ("", "__MIN", "__MAX")]

# File, content, and the time, training loss and validation loss that are meant; all hold TRAIN and HELD_OUT.
WHOLE = {
    "semicolons and decimal commas": (
        "log.csv",
        table("Epoche,loss,val_loss", each(lambda n, a, b: [n, german(a), german(b)]), ";"),
        ("Epoche", "loss", "val_loss"),
    ),
    "quoted decimal commas": (
        "log.csv",
        table(ENDS, each(lambda n, a, b: [n, f'"{german(a)}"', f'"{german(b)}"'])),
        ENDS,
    ),
    "quoted thousands": (
        "log.csv",
        table("step,loss,val_loss", each(lambda n, a, b: [f'"{1000 * n:,}"', a, b])),
        ("step", "loss", "val_loss"),
    ),
    "tabs": ("log.tsv", table(ENDS, PLAIN, "\t"), ENDS),
    "bars": ("log.txt", table(ENDS, PLAIN, " | "), ENDS),
    "spaces": ("log.txt", table(ENDS, PLAIN, "  "), ENDS),
    "a declared delimiter": ("log.csv", "sep=;\n" + table(ENDS, PLAIN, ";"), ENDS),
    "a declared delimiter in quotes": ("log.csv", '"sep=;"\n' + table(ENDS, PLAIN, ";"), ENDS),
    "a comment first": ("log.csv", '#{"start": 1}\n' + table(ENDS, PLAIN), ENDS),
    "blank lines": ("log.csv", table(ENDS, PLAIN).replace("\n", "\n\n"), ENDS),
    "delimiters at the end": ("log.csv", table(ENDS, each(lambda n, a, b: [n, a, b, ""])), ENDS),
    "padded headers and partial losses": (
        "results.csv",
        padded(*YOLO) + "".join(each(lambda n, a, b: padded(n, a / 4, a * 0.75, 0.5, b / 4, b * 0.75, 0.1))),
        ("epoch", "train/box_loss + train/cls_loss", "val/box_loss + val/cls_loss"),
    ),
    "mean squared error": (
        "log.csv",
        table("round,train_mse,val_mse", PLAIN),
        ("round", "train_mse", "val_mse"),
    ),
    "a metric beside the loss": (
        "log.csv",
        table("epoch,mse,loss,val_mse,val_loss", each(lambda n, a, b: [n, 9, a, 9, b])),
        ENDS,
    ),
    "the scale of AMP": (
        "log.csv",
        table("step,loss_scale,train_loss,val_loss", each(lambda n, a, b: [n, 65536, a, b])),
        ("step", "train_loss", "val_loss"),
    ),
    "the best so far": (
        "log.csv",
        table("epoch,loss,val_loss,best_val_loss", each(lambda n, a, b: [n, a, b, 0.9])),
        ENDS,
    ),
    "the best so far of a loss with a name": (
        "log.csv",
        table("epoch,train_ce_loss,val_ce_loss,best_val_ce_loss", each(lambda n, a, b: [n, a, b, 0.9])),
        ("epoch", "train_ce_loss", "val_ce_loss"),
    ),
    "the name of the loss": (
        "log.csv",
        table("epoch,loss_fn,loss,val_loss", each(lambda n, a, b: [n, "mse", a, b])),
        ENDS,
    ),
    "validation and test": (
        "log.csv",
        table("epoch,loss,test_loss,val_loss", each(lambda n, a, b: [n, a, 9, b])),
        ENDS,
    ),
    "words without a space": (
        "log.csv",
        table("epoch,trainLoss,valloss", PLAIN),
        ("epoch", "trainLoss", "valloss"),
    ),
    "a total beside its parts": (
        "log.json",
        lines(each(lambda n, a, b: {"iteration": n, "total_loss": a, "loss_cls": 1, "loss_box": 2, "val_loss": b})),
        ("iteration", "total_loss", "val_loss"),
    ),
    "XGBoost": (
        "log.csv",
        table(",train-logloss,test-logloss", PLAIN),
        (COUNTED, "train-logloss", "test-logloss"),
    ),
    "XGBoost through scikit-learn": (
        "log.json",
        columns(validation_0={"logloss": TRAIN, "error": TRAIN}, validation_1={"logloss": HELD_OUT, "error": TRAIN}),
        (COUNTED, "validation_0/logloss", "validation_1/logloss"),
    ),
    "LightGBM": (
        "log.json",
        columns(training={"binary_logloss": TRAIN}, valid_1={"binary_logloss": HELD_OUT}),
        (COUNTED, "training/binary_logloss", "valid_1/binary_logloss"),
    ),
    "Keras' history": (
        "history.json",
        columns(accuracy=[0.5] * 12, loss=TRAIN, val_accuracy=[0.5] * 12, val_loss=HELD_OUT),
        (COUNTED, "loss", "val_loss"),
    ),
    "Keras' history with its epochs": (
        "history.json",
        columns(epoch=list(range(12)), history={"loss": TRAIN, "val_loss": HELD_OUT}, params={"epochs": 12}),
        (COUNTED, "loss", "val_loss"),
    ),
    "pandas' JSON": (
        "log.json",
        columns(loss=dict(enumerate(TRAIN)), val_loss=dict(enumerate(HELD_OUT))),
        (COUNTED, "loss", "val_loss"),
    ),
    "a list of objects": (
        "log.json",
        json.dumps(each(lambda n, a, b: {"epoch": n, "loss": a, "val_loss": b})),
        ENDS,
    ),
    "JSON lines": ("log.jsonl", lines(each(lambda n, a, b: {"epoch": n, "loss": a, "val_loss": b})), ENDS),
    "JSON lines of objects in objects": (
        "log.jsonl",
        lines(each(lambda n, a, b: {"step": n, "train": {"loss": a}, "val": {"loss": b}})),
        ("step", "train/loss", "val/loss"),
    ),
    "JSON lines with numbers as text": (
        "log.jsonl",
        lines(each(lambda n, a, b: {"epoch": n, "train_loss": f"{a!r}", "valid_loss": f"{b!r}"})),
        ("epoch", "train_loss", "valid_loss"),
    ),
    "JSON lines of two kinds": (
        "log.jsonl",
        lines(several(lambda n, a, b: ({"step": n, "loss": a}, {"step": n, "val_loss": b}))),
        ("step", "loss", "val_loss"),
    ),
    "JSON lines cut short": (
        "log.jsonl",
        lines(each(lambda n, a, b: {"epoch": n, "loss": a, "val_loss": b})) + '{"epoch": 12, "lo',
        ENDS,
    ),
    "validation rows without the step": (
        "log.jsonl",
        lines(several(lambda n, a, b: ({"step": n, "loss": a}, {"epoch": n, "val_loss": b}))),
        ("step", "loss", "val_loss"),
    ),
    "JSON lines by mode": (
        "log.json",
        lines(several(lambda n, a, b: [{"mode": m, "epoch": n, "loss": x} for m, x in (("train", a), ("val", b))])),
        ("epoch", "train/loss", "val/loss"),
    ),
    "phases": (
        "log.csv",
        table("epoch,phase,loss", several(lambda n, a, b: ([n, "train", a], [n, "val", b]))),
        ("epoch", "train/loss", "val/loss"),
    ),
    "a row per metric": (
        "log.csv",
        table("step,metric,value", several(lambda n, a, b: ([n, "loss", a], [n, "val_loss", b], [n, "acc", 1]))),
        ("step", "loss", "val_loss"),
    ),
    "Lightning's gaps": (
        "metrics.csv",
        table("epoch,step,train_loss,val_loss", several(lambda n, a, b: ([n, 9 * n, a, ""], [n, 9 * n + 5, "", b]))),
        ("step", "train_loss", "val_loss"),
    ),
    "gaps that are called nan": (
        "metrics.csv",
        table("step,train_loss,val_loss", several(lambda n, a, b: ([9 * n, a, "nan"], [9 * n + 5, "nan", b]))),
        ("step", "train_loss", "val_loss"),
    ),
    "Hugging Face": ("trainer_state.json", trainer_state(), ("step", "loss", "eval_loss")),
    "a total in one row": (
        "log.csv",
        table("step,loss,eval_loss,train_loss", [*each(lambda n, a, b: [n, a, b, ""]), [12, "", "", 0.5]]),
        ("step", "loss", "eval_loss"),
    ),
    "the limits of Weights & Biases": (
        "export.csv",
        table(["Step", *WANDB], each(lambda n, a, b: [n, a, 0, 9, b, 0, 9])),
        ("Step", "train/loss", "val/loss"),
    ),
    "epochs and batches": (
        "log.csv",
        table("epoch,batch,loss,val_loss", each(lambda n, a, b: [n // 4, n % 4, a, b])),
        ("epoch and batch, 4 steps per epoch", "loss", "val_loss"),
    ),
    "epochs and every tenth iteration": (
        "log.csv",
        table("epoch,iter,loss,val_loss", each(lambda n, a, b: [n // 4 + 1, 10 * (n % 4 + 1), a, b])),
        ("epoch and iter, 40 steps per epoch", "loss", "val_loss"),
    ),
    "epochs and steps that begin anew": (
        "log.csv",
        table("epoch,step,loss,val_loss", each(lambda n, a, b: [n // 4, n % 4, a, b])),
        ("epoch and step, 4 steps per epoch", "loss", "val_loss"),
    ),
    "epochs without batches": (
        "log.csv",
        table(ENDS, each(lambda n, a, b: [n // 4, a, b])),
        ("the rows, counted: epoch stands at several", "loss", "val_loss"),
    ),
    "batches without epochs": (
        "log.csv",
        table("batch,loss,val_loss", each(lambda n, a, b: [n % 4, a, b])),
        ("batch", "loss", "val_loss"),
    ),
    "batches of training and of validation": (
        "log.json",
        lines(
            [
                {"env": "x", "seed": 3},
                *several(
                    lambda n, a, b: (
                        {"mode": "train", "epoch": n, "iter": 50, "loss": a},
                        {"mode": "val", "epoch": n, "iter": 20, "loss": b},
                    )
                ),
            ]
        ),
        ("epoch", "train/loss", "val/loss"),
    ),
    "a validation after each batch, of a batch of its own": (
        "log.csv",
        table(
            "epoch,batch,phase,loss",
            several(lambda n, a, b: ([n // 4, n % 4, "train", a], [n // 4, 0, "val", b])),
        ),
        ("epoch and batch, 4 steps per epoch", "train/loss", "val/loss"),
    ),
    "tensors as they are printed": (
        "log.csv",
        table(ENDS, each(lambda n, a, b: [n, f"\"tensor({a}, device='cuda:0')\"", f"np.float64({b})"])),
        ENDS,
    ),
    "parts of epochs": ("log.csv", table(ENDS, each(lambda n, a, b: [n / 4, a, b])), (COUNTED, "loss", "val_loss")),
    "the newest row first": ("log.csv", table(ENDS, PLAIN[::-1]), ENDS),
    "a fit appended to another": ("log.csv", table(ENDS, each(lambda n, a, b: [n % 6, a, b])), ENDS),
    "a run taken up from a checkpoint": (
        "log.csv",
        table(ENDS, [*PLAIN[:6], [6, 0.28, 1.2], [7, 0.24, 1.3], *PLAIN[5:]]),
        ENDS,
    ),
    "a second header": ("log.csv", table(ENDS, PLAIN[:5]) + table(ENDS, PLAIN[5:]), ENDS),
    "a second header with another order": (
        "log.csv",
        table(ENDS, PLAIN[:5]) + table("epoch,val_loss,loss", [[n, b, a] for n, a, b in PLAIN[5:]]),
        ENDS,
    ),
    "rows that are written twice": ("log.csv", table(ENDS, [row for row in PLAIN for _ in range(2)]), ENDS),
    "a scheduler's list as learning rate": (
        "log.csv",
        table("epoch,loss,val_loss,lr", each(lambda n, a, b: [n, a, b, "[0.001]"])),
        ENDS,
    ),
}
