"""Published settings as rows: what a paper or a reference implementation trained with, and where it says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from rmsprop.dialects import get_dialect
from rmsprop.rule import Rule, RuleOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """The RMSProp settings of a published result.

    Args:
        dialect: Whose RMSProp it was trained with, a key of `rmsprop.DIALECTS`.
        lr: The learning rate that the schedule starts from, or peaks at.
        settings: The fields of `Rule` that the source gives; the others are the dialect's defaults. Weight decay is
            among them only where the source decays every parameter; otherwise ``around`` says which ones.
        schedule: How the learning rate changes, in words.
        around: What belongs to the recipe beside the optimizer: batch size, clipping, averaging of weights.
        source: The paper, or the file and commit, that the numbers were read from.
        max_grad_norm: What the norm of all gradients is clipped at, where that is the clipping. Default None.
        max_grad_value: What each element of a gradient is clipped at, where that is. Default None.

    Examples:
        >>> RECIPES["efficientnet"].rule.eps
        0.001
    """

    dialect: str
    lr: float
    settings: RuleOptions = field(default_factory=RuleOptions)
    schedule: str
    around: str
    source: str
    max_grad_norm: float | None = None
    max_grad_value: float | None = None

    def __post_init__(self) -> None:
        """Make the settings read-only."""
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))

    @property
    def rule(self) -> Rule:
        """The rule with all its settings."""
        return get_dialect(self.dialect).rule_with(**self.settings)

    @property
    def clipping(self) -> dict[str, float]:
        """The limits that its gradients have, by the keywords of `rmsprop.torch.RMSprop`."""
        limits = {"max_grad_norm": self.max_grad_norm, "max_grad_value": self.max_grad_value}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def arguments(self, keywords: Mapping[str, str], overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a front end is called with.

        Args:
            keywords: ``"lr"`` or field of `Rule` -> the front end's own keyword, where that is another.
            overrides: The front end's own keywords, which win; None stands for the recipe's choice.

        Returns:
            Keyword -> value.

        Examples:
            >>> RECIPES["char_rnn"].arguments({"decay": "alpha"}, {"lr": 0.1, "eps": None})
            {'lr': 0.1, 'dialect': 'torch', 'alpha': 0.95, 'eps': 1e-08}
        """
        own = {
            keywords.get(name, name): value
            for name, value in {"lr": self.lr, "dialect": self.dialect, **self.settings}.items()
        }
        return own | {name: value for name, value in overrides.items() if value is not None}


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "efficientnet": Recipe(
            dialect="tensorflow1",
            lr=0.256,
            settings={"decay": 0.9, "momentum": 0.9, "eps": 1e-3},
            schedule="linear from 0 over 5 epochs; × 0.97 every 2.4 epochs (staircase), counted from the very start; "
            "350 epochs",
            around="this lr is for batch 4096, by the code's 0.016 per 256 images; the code's default is batch 2048, "
            "and so lr 0.128; weight decay 1e-5 as L2 in the loss, on everything but batch normalisation; exponential "
            "average of weights 0.9999; label smoothing 0.1. The paper gives no ε; the code does.",
            source="Tan and Le, EfficientNet, arXiv 1905.11946, section 5.2; tensorflow/tpu, "
            "models/official/efficientnet/main.py (01b6706) and utils.py (139e1f4)",
        ),
        "efficientnet_v2": Recipe(
            dialect="tensorflow1",
            lr=0.256,
            settings={"decay": 0.9, "momentum": 0.9, "eps": 1e-3},
            schedule="linear from 0 over 5 epochs; × 0.97 every 2.4 epochs (staircase), counted from the very start; "
            "350 epochs",
            around="batch 4096 (lr 0.016 per 256 images); weight decay 1e-5 as L2 in the loss, not on biases, γ and β; "
            "exponential average of weights 0.9999; label smoothing 0.1. The paper gives no ε; the code does.",
            source="Tan and Le, EfficientNetV2, arXiv 2104.00298, section 5.1; google/automl, "
            "efficientnetv2/hparams.py (2fb46e7) and utils.py (2ccb46a)",
        ),
        "efficientnet_timm": Recipe(
            dialect="timm",
            lr=0.016,
            settings={"decay": 0.9, "momentum": 0.9, "eps": 1e-3},
            schedule="linear from 1e-6 over 3 epochs; × 0.97 every 2.4 epochs (staircase, looked at once per epoch, "
            "counted from the very start); 450 epochs",
            around="EfficientNet-B2, batch 2 × 128; weight decay 1e-5 as L2, not on biases and other vectors; "
            "exponential average of weights 0.9999; dropout 0.3, stochastic depth 0.2, label smoothing 0.1",
            source="huggingface/pytorch-image-models, docs/training_hparam_examples.md (5ccf682), defaults of train.py "
            "(004fb5f)",
        ),
        "mobilenet_v2": Recipe(
            dialect="tensorflow1",
            lr=0.045,
            settings={"decay": 0.9, "momentum": 0.9},
            schedule="× 0.98 every epoch",
            around="16 asynchronous workers, batch 96; weight decay 4e-5. The paper gives neither ε nor what is "
            "decayed: here ε is TensorFlow's default, the recipe slim has the authors' later trainer.",
            source="Sandler et al., MobileNetV2, arXiv 1801.04381, section 6.1",
        ),
        "mobilenet_v3": Recipe(
            dialect="tensorflow1",
            lr=0.1,
            settings={"momentum": 0.9},
            schedule="× 0.99 every 3 epochs",
            around="batch 4096; L2 weight decay 1e-5; exponential average of weights 0.9999; dropout 0.8. The paper "
            "gives neither the decay of the average nor ε: here they are TensorFlow's defaults.",
            source="Howard et al., Searching for MobileNetV3, arXiv 1905.02244, section 6.1.1",
        ),
        "mobilenet_v3_torchvision": Recipe(
            dialect="torch",
            lr=0.064,
            settings={"decay": 0.9, "momentum": 0.9, "eps": 0.0316, "weight_decay": 1e-5},
            schedule="× 0.973 every 2 epochs (staircase), no warm-up; 600 epochs",
            around="batch 8 × 128; AutoAugment, random erasing 0.2; the parameters of the last 3 checkpoints that "
            "improved are averaged. All parameters decay, batch normalisation too. Its ε is √0.001, outside the root.",
            source="pytorch/vision, references/classification/README.md and train.py (017e9b9)",
        ),
        "inception_v3": Recipe(
            dialect="tensorflow1",
            lr=0.045,
            settings={"decay": 0.9, "eps": 1.0},
            schedule="× 0.94 every 2 epochs; 100 epochs",
            around="50 asynchronous replicas, batch 32 each; gradients clipped at 2.0; running average of weights. The "
            "paper gives no momentum beside RMSProp; the trainer published with it has 0.9.",
            source="Szegedy et al., Rethinking the Inception Architecture, arXiv 1512.00567, section 8",
        ),
        "slim": Recipe(
            dialect="tensorflow1",
            lr=0.01,
            settings={"decay": 0.9, "momentum": 0.9, "eps": 1.0},
            schedule="× 0.94 every 2 epochs (staircase)",
            around="batch 32; weight decay 4e-5 as L2 in the loss, on the weights of convolutions and fully connected "
            "layers. These are the trainer's defaults, for Inception-v3.",
            source="tensorflow/models, research/slim/train_image_classifier.py (07ed366) and nets/inception_utils.py "
            "(054bfa1)",
        ),
        "graves": Recipe(
            dialect="graves",
            lr=1e-4,
            settings={"decay": 0.95, "momentum": 0.9, "eps": 1e-4, "centered": True},
            schedule="constant",
            around="derivatives of the outputs clipped to ±100, those of the LSTM to ±10",
            source="Graves, Generating Sequences With Recurrent Neural Networks, arXiv 1308.0850, section 4.2, "
            "eq. 38 to 45",
        ),
        "char_rnn": Recipe(
            dialect="torch",
            lr=2e-3,
            settings={"decay": 0.95, "eps": 1e-8},
            schedule="constant, then × 0.97 after every epoch from the 10th on; 50 epochs",
            around="batch 50, sequences of 50; gradients clipped to ±5, element by element. Lua Torch's rmsprop has "
            "today's form and ε.",
            source="karpathy/char-rnn, train.lua (a8c1582); torch/optim, rmsprop.lua (30f6bd3)",
            max_grad_value=5.0,
        ),
        "wgan": Recipe(
            dialect="torch",
            lr=5e-5,
            settings={"decay": 0.99, "eps": 1e-8},
            schedule="constant",
            around="batch 64; both networks; 5 steps of the critic per step of the generator (100 for the first 25, "
            "and every 500th), the critic's weights clamped to ±0.01 before each of its steps. Decay and ε are torch's "
            "defaults, as in the code.",
            source="Arjovsky et al., Wasserstein GAN, arXiv 1701.07875, algorithm 1; martinarjovsky/WassersteinGAN, "
            "main.py (2cf43ba)",
        ),
        "dqn": Recipe(
            dialect="dqn",
            lr=2.5e-4,
            settings={"decay": 0.95, "eps": 0.01, "centered": True},
            schedule="constant",
            around="batch 32, an update every 4 steps; TD errors clipped to ±1; target network copied every 10 000",
            source="Mnih et al., Human-level control through deep reinforcement learning, Nature 518, 2015, extended "
            "data table 1; run_gpu and dqn/NeuralQLearner.lua of its code (kuz/DeepMind-Atari-Deep-Q-Learner, 54978fa)",
        ),
        "dqn_dopamine": Recipe(
            dialect="tensorflow1",
            lr=2.5e-4,
            settings={"decay": 0.95, "eps": 1e-5, "centered": True},
            schedule="constant",
            around="batch 32, an update every 4 steps; target network copied every 8000",
            source="google/dopamine, dopamine/agents/dqn/configs/dqn.gin (163a9c0)",
        ),
        "a2c_baselines": Recipe(
            dialect="tensorflow1",
            lr=7e-4,
            settings={"decay": 0.99, "eps": 1e-5},
            schedule="linear to 0 over all environment steps (80 million)",
            around="5 steps of each environment per update; global gradient norm clipped at 0.5",
            source="openai/baselines, baselines/a2c/a2c.py (015dc21) and utils.py (45c0b17)",
            max_grad_norm=0.5,
        ),
        "a2c_sb3": Recipe(
            dialect="sb3",
            lr=7e-4,
            settings={"decay": 0.99, "eps": 1e-5},
            schedule="constant",
            around="Atari, 16 environments, 5 steps of each per update; gradient norm clipped at 0.5. Without this, "
            "Stable-Baselines3's A2C takes torch's RMSprop with the same numbers.",
            source="DLR-RM/rl-baselines3-zoo, hyperparams/a2c.yml (02846e4); stable_baselines3/a2c/a2c.py and "
            "common/sb2_compat/rmsprop_tf_like.py, Stable-Baselines3 2.9.2",
            max_grad_norm=0.5,
        ),
        "impala": Recipe(
            dialect="tensorflow1",
            lr=4.8e-4,
            settings={"decay": 0.99, "eps": 0.1},
            schedule="linear to 0 over all environment frames (1 billion)",
            around="one level of DeepMind Lab, batch 32 × 100 steps; the loss is a sum, which is why ε is large; the "
            "gradient is not clipped. For DMLab-30: lr 3.19e-4 over 10 billion frames.",
            source="google-deepmind/scalable_agent, experiment.py (103308a) and README.md (1e70452)",
        ),
        "impala_torchbeast": Recipe(
            dialect="torch",
            lr=4.8e-4,
            settings={"decay": 0.99, "eps": 0.01},
            schedule="linear to 0 over all environment steps",
            around="Atari, batch 8 × 80 steps; the loss is a sum; gradient norm clipped at 40",
            source="facebookresearch/torchbeast, torchbeast/monobeast.py (ab0c488)",
            max_grad_norm=40.0,
        ),
        "qmix": Recipe(
            dialect="torch",
            lr=5e-4,
            settings={"decay": 0.99, "eps": 1e-5},
            schedule="constant",
            around="batch 32 episodes, replay of 5000; gradient norm clipped at 10; target network copied every 200 "
            "episodes",
            source="oxwhirl/pymarl, src/config/default.yaml (64111fc), src/config/algs/qmix.yaml (76286f5) and "
            "src/learners/q_learner.py (023de7e)",
            max_grad_norm=10.0,
        ),
        "dreamerv3": Recipe(
            dialect="torch",
            lr=4e-5,
            settings={
                "decay": 0.999,
                "eps": 1e-20,
                "momentum": 0.9,
                "averaged_momentum": True,
                "bias_correction": True,
            },
            schedule="linear from 0 over 1000 steps, then constant",
            around="batch 16 × 64 steps; before all else each tensor's gradient is clipped at 0.3 of the norm of its "
            "parameters (adaptive gradient clipping), which is not part of a rule",
            source="Hafner et al., Mastering Diverse Domains through World Models, arXiv 2301.04104; "
            "danijar/dreamerv3, dreamerv3/configs.yaml (05699cd) and embodied/jax/opt.py",
        ),
        "dpo": Recipe(
            dialect="torch",
            lr=1e-6,
            settings={"decay": 0.99, "eps": 1e-8},
            schedule="linear from 0 over 150 steps, then constant",
            around="β 0.1 (0.5 for summaries), batch 64; gradient norm clipped at 10, by the code's default. The "
            "code's default lr is 5e-7, and it takes RMSprop because that works about as well as Adam in less memory. "
            "Decay and ε are torch's defaults, as in the code.",
            source="Rafailov et al., Direct Preference Optimization, arXiv 2305.18290, appendix B; "
            "eric-mitchell/direct-preference-optimization, config/config.yaml (1ea1c06) and trainers.py (5815fab)",
            max_grad_norm=10.0,
        ),
    }
)


def get_recipe(name: str) -> Recipe:
    """Return a recipe by its name.

    Args:
        name: A key of `RECIPES`.

    Returns:
        The recipe.

    Raises:
        ValueError: If there is no such recipe.

    Examples:
        >>> get_recipe("efficientnet").dialect
        'tensorflow1'
    """
    if name not in RECIPES:
        raise ValueError(f"Unknown recipe {name!r} (known: {', '.join(sorted(RECIPES))})")
    return RECIPES[name]
