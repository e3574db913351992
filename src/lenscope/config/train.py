"""`TrainConfig`: every setting that decides a run's result."""

from __future__ import annotations

import re
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, Self

import tomli_w
from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from lenscope.config.settings import NumberGroup, Settings, parse_toml, read_toml, shown
from lenscope.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

NetworkName = Literal["lenet", "lenet1998", "mlp", "autoencoder", "mlp-autoencoder"]
InitName = Literal["pytorch", "glorot", "he", "orthogonal"]
OptimizerName = Literal["gd", "sgd", "momentum", "nesterov", "adam", "adamw"]
ScheduleName = Literal["constant", "cosine", "onecycle"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]
EngineName = Literal["auto", "fused", "numpy", "torch"]
RecipeName = Literal["lecture", "speedrun", "fast", "best"]
Preparation = Literal["auto", "digit", "resize"]
FitName = Literal["squeeze", "pad", "crop"]
EvaluateName = Literal["every", "spread", "last"]
AUTOENCODERS = ("autoencoder", "mlp-autoencoder")  # networks that learn without labels

WRITTEN_BY_A_RUN = {"data", "network", "epochs", "optimizer", "train_accuracy", "seed", "device"}  # by every release


class Augmentation(NumberGroup):
    """The largest random distortions of training images; `lenscope.data.augment` defines them. All 0: no distortion.

    >>> print(Augmentation(shift=2, rotation=7.5))
    shift=2,rotation=7.5

    Raises:
        ConfigError: a setting outside its range, in one line.
    """

    setting = "augment"
    example = "rotation=10,shift=2"
    shift: float = Field(0.0, ge=0, le=16, description="largest shift along each axis, in pixels")
    rotation: float = Field(0.0, ge=0, le=180, description="largest rotation in either direction, in degrees")
    scale: float = Field(0.0, ge=0, le=0.9, description="largest change of size in either direction, as a fraction")
    shear: float = Field(0.0, ge=0, le=60, description="largest shear angle in either direction, in degrees")
    elastic: float = Field(
        0.0, ge=0, le=8, description="root mean square displacement of an elastic field along each axis, in pixels"
    )
    smoothness: float = Field(
        4.0, ge=1, le=16, description="standard deviation of the Gaussian that smooths the elastic field, in pixels"
    )

    @property
    def distorts(self) -> bool:
        """Whether images are changed at all."""
        return any((self.shift, self.rotation, self.scale, self.shear, self.elastic))


class Autoencoding(NumberGroup):
    """Input noise and sparsity penalties of an autoencoder; `pytorch/reconstruction.py` defines them.

    >>> print(Autoencoding(masking=0.25, gaussian=0.3))
    masking=0.25,gaussian=0.3

    Raises:
        ConfigError: a setting outside its range, in one line.
    """

    setting = "autoencode"
    example = "masking=0.25,gaussian=0.3"
    masking: float = Field(0.0, ge=0, lt=1, description="fraction of the input values set to 0")
    gaussian: float = Field(
        0.0, ge=0, le=100, description="standard deviation of noise added to the input, whose pixels are 0 to 1"
    )
    kl: float = Field(0.0, ge=0, le=1e6, description="weight of the KL divergence from the target activity")
    target: float = Field(0.05, gt=0, lt=1, description="target mean activity of the code, after tanh")
    l1: float = Field(0.0, ge=0, le=1e6, description="weight of the mean absolute value of the code")

    @property
    def corrupts(self) -> bool:
        """Whether there is noise on the input."""
        return bool(self.masking or self.gaussian)


class TrainConfig(Settings):
    """Every setting that decides a run's result.

    Raises:
        ConfigError: a setting outside its range, in one line.
    """

    model_config = ConfigDict(strict=True)  # refuses epochs = true

    data: str = Field(
        "mnist", min_length=1, description="what to train on: the name of a data set, or a folder of pictures"
    )
    skip_unreadable: bool = Field(
        default=False,
        description="skip unreadable pictures of a folder instead of stopping with an error; other files stay errors",
    )
    fit: FitName = Field(
        "squeeze",
        description="how a picture that is not square becomes square: squeeze: change its shape; pad: add bars; "
        "crop: keep its centre",
    )
    network: NetworkName = Field(
        "lenet",
        description="lenet: the lecture's; lenet1998: the paper's; mlp: without convolutions; or an autoencoder",
    )
    init: InitName = Field(
        "pytorch",
        description="initial weights: PyTorch's default, or the scheme of Glorot, He, or Saxe (orthogonal)",
    )
    recipe: RecipeName = Field("lecture", description="preset; every other option overrides it")
    epochs: int = Field(10, ge=1, le=1_000_000, description="passes over the training images")
    batch_size: int = Field(100, ge=1, le=1_000_000_000, description="images per batch (gd uses the full training set)")
    optimizer: OptimizerName = Field("adam", description="optimiser; gd is full-batch gradient descent")
    learning_rate: float = Field(
        1e-4, gt=0, description="peak learning rate; the lecture uses 1e-4 with adam, sgd needs about 0.1"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum coefficient of momentum and nesterov")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty; decoupled weight decay for adamw")
    schedule: ScheduleName = Field("constant", description="learning-rate schedule")
    augment: Augmentation = Field(
        Augmentation(),
        description="random distortions of the training images, different in each epoch: none, or the largest amounts, "
        "such as rotation=10,shift=2; rotation and shear in degrees, shift, elastic and smoothness in pixels, "
        "scale as a fraction",
    )
    autoencode: Autoencoding = Field(
        Autoencoding(),
        description="(autoencoders) input noise and sparsity penalties: none, or such as masking=0.25,gaussian=0.3, "
        "kl=0.001,target=0.05 or l1=0.01",
    )
    validation: int | float | None = Field(
        None,
        ge=0,
        le=1_000_000_000,
        description="training images held out for validation: a count, or a fraction below 1; 0 for none; by default "
        "0.2 where the data have only training images, else 0",
    )
    stratify: bool = Field(default=True, description="hold out each class in proportion to its size")
    train_images: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="use only this many training images, balanced across classes; by default all",
    )
    patience: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="stop after this many epochs without a lower validation loss; requires validation images",
    )
    train_accuracy: bool = Field(default=False, description="also measure accuracy on the training images")
    evaluate: EvaluateName = Field(
        "every",
        description="epochs after which validation and test images are evaluated; spread: evenly in their logarithm, "
        "about ten for each power of ten",
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**63,
        description="seed of the initial weights, the order of the images, the validation images and the choice of "
        "--train-images",
    )
    engine: EngineName = Field(
        "auto",
        description="training backend; auto: fused for a LeNet (numpy where fused is not built), torch for other "
        "networks",
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="CPU threads; by default all that this process may use"
    )
    device: DeviceName = Field(
        "auto", description="auto: the CPU for a LeNet, for other networks the GPU if there is one"
    )
    checkpoint_every: str | None = Field(
        None,
        description="write a checkpoint every N epochs, N seconds (30s) or N steps (200steps); "
        "by default after each epoch, at most every ten seconds",
    )
    init_from: str | None = Field(None, min_length=1, description="start from the trained weights of this run")

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, settings: Any) -> Any:
        """Take `lr` for `learning_rate`, as everywhere, and numpy's integers for Python's."""
        return {name: _plain(value) for name, value in renamed(settings).items()}

    @field_validator("augment", "autoencode", mode="before")
    @classmethod
    def _take_text_for_a_table(cls, value: Any, info: ValidationInfo) -> NumberGroup:
        try:
            return (Augmentation if info.field_name == Augmentation.setting else Autoencoding).parse(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @field_validator("checkpoint_every", mode="before")
    @classmethod
    def _take_a_count(cls, value: Any) -> Any:
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if isinstance(text, str) and not re.fullmatch(r"[1-9][0-9]{0,8}(s|steps)?", text, re.ASCII):
            raise ValueError(
                f"checkpoint_every: got {shown(value)}, expected epochs (5), seconds (30s) or steps (200steps)"
            )
        return text

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse settings that are each valid and do not go together."""
        network = self.network
        if self.patience is not None and self.validation == 0:  # by default, the data decide
            raise ValueError("patience: requires a validation set; add --validation 5000")
        if self.patience is not None and self.evaluate != "every":
            raise ValueError(f"evaluate: got '{self.evaluate}', but patience requires every epoch; leave evaluate out")
        if network == "lenet1998" and self.init != "pytorch":
            raise ValueError(f"init: got '{self.init}', but lenet1998 has initial weights of its own; leave init out")
        if self.validation and self.validation >= 1 and self.validation != int(self.validation):
            raise ValueError(f"validation: got {self.validation}, expected a whole count or a fraction below 1")
        if not self.reconstructs and str(self.autoencode) != "none":
            raise ValueError(
                f"autoencode: got {self.autoencode}, but {network} is not an autoencoder; "
                f"expected one of {', '.join(AUTOENCODERS)}"
            )
        if self.reconstructs and self.train_accuracy:
            raise ValueError(f"train_accuracy: {network} does not classify, so it has no accuracy; leave this out")
        if network == "mlp-autoencoder" and self.epochs < 2:
            raise ValueError(f"epochs: got {self.epochs}, expected at least 2 for {network}, half for each layer")
        if network == "mlp-autoencoder" and self.patience:
            raise ValueError(f"patience: {network} trains each layer for half of the epochs; leave this out")
        return self

    @property
    def reconstructs(self) -> bool:
        """Whether the network is an autoencoder, which has a reconstruction error and no accuracy."""
        return self.network in AUTOENCODERS

    @property
    def full_batch(self) -> bool:
        """Whether each step uses the full training set, whatever the batch size."""
        return self.optimizer == "gd"

    def images_per_step(self, train_images: int) -> int:
        """How many of the training images a step uses; the last step of an epoch may use fewer."""
        return train_images if self.full_batch else self.batch_size

    def with_settings(self, /, **settings: Any) -> TrainConfig:
        """A validated copy with some settings changed; raises ConfigError."""
        return TrainConfig(**{**self.model_dump(), **renamed(settings)})

    def to_toml(self) -> str:
        """The settings as TOML, without those that are None."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))

    @classmethod
    def from_toml(cls, text: str, source: str = "config") -> TrainConfig:
        """The settings in a TOML text over the defaults; raises ConfigError naming `source`."""
        settings = parse_settings(text, source)
        try:
            return cls(**settings)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None


def renamed(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with `lr` spelt out; raises ConfigError where both names are given."""
    if {"lr", "learning_rate"} <= settings.keys():
        raise ConfigError("learning_rate: given twice, once as lr; give one")
    return {{"lr": "learning_rate"}.get(name, name): value for name, value in settings.items()}


def read_settings(file: Path) -> dict[str, Any]:
    """The settings in a TOML file, `lr` spelt out; raises ConfigError."""
    settings = parse_settings(read_toml(file), str(file))
    try:
        return renamed(settings)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def parse_settings(text: str, source: str) -> dict[str, Any]:
    """The settings in a TOML text; those of an older run keep their meaning. Raises ConfigError naming `source`."""
    settings = parse_toml(text, source)
    if settings.keys() >= WRITTEN_BY_A_RUN and settings.get("validation"):
        return {"stratify": False} | settings  # a run without this setting is of a release that did not have it
    return settings


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else value
