"""What a training run is made of: one frozen, validated model, and its presets."""

from __future__ import annotations

import errno
import re
import tomllib
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from lenscope.errors import ConfigError, UsageError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable

NetworkName = Literal["lenet", "lenet1998", "mlp", "autoencoder", "mlp-autoencoder"]
InitName = Literal["pytorch", "glorot", "he", "orthogonal"]
OptimizerName = Literal["gd", "sgd", "momentum", "nesterov", "adam", "adamw"]
ScheduleName = Literal["constant", "cosine", "onecycle"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]
EngineName = Literal["auto", "fused", "numpy", "torch"]
RecipeName = Literal["lecture", "fast", "best"]
Preparation = Literal["auto", "digit", "resize"]
AUTOENCODERS = ("autoencoder", "mlp-autoencoder")  # networks that learn without labels

WRITTEN_BY_A_RUN = {"data", "network", "epochs", "optimizer", "train_accuracy", "seed", "device"}  # always, together

# Characters of settings as TOML. All of them with two of the longest paths take 9,000. A key of 16,000 characters with
# a dot at every second takes the parser two seconds, one twice as long four times that.
MAX_CHARACTERS = 10_000
SHOWN_PROBLEMS = 3

RECIPES: dict[str, dict[str, Any]] = {
    # Lecture 29: Adam at 1e-4, batches of 100, ten epochs; the same as the defaults, and named so that it stays.
    "lecture": {
        "network": "lenet",
        "optimizer": "adam",
        "learning_rate": 1e-4,
        "weight_decay": 0.0,
        "schedule": "constant",
        "batch_size": 100,
        "epochs": 10,
    },
    # The fewest seconds to 99 % of MNIST, and the most of it within 30 s: docs/recipes.md tells how they were found.
    "fast": {
        "network": "lenet",
        "optimizer": "adam",
        "learning_rate": 6e-3,
        "schedule": "onecycle",
        "batch_size": 50,
        "epochs": 3,
        "augment": "shift=1",
    },
    "best": {
        "network": "lenet",
        "optimizer": "adam",
        "learning_rate": 2e-3,
        "schedule": "onecycle",
        "batch_size": 50,
        "epochs": 40,
        "augment": "rotation=10,shift=1.5,scale=0.1,shear=8,elastic=0.6",
    },
}


class Settings(BaseModel):
    """Frozen and validated settings that say what is wrong with them in one line.

    Raises:
        ConfigError: a setting outside its range, or one that nobody knows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, /, **settings: Any) -> None:
        """Validate the settings; raises ConfigError with one line for all that is wrong."""
        try:
            super().__init__(**settings)
        except ValidationError as error:
            known = type(self).model_fields
            # A union reports once a member: the last speaks for the setting.
            problems = [*{item["loc"][:1]: _problem(item, known) for item in error.errors()}.values()]
            more = [f"and {len(problems) - SHOWN_PROBLEMS} more"] if len(problems) > SHOWN_PROBLEMS else []
            raise ConfigError("; ".join(problems[:SHOWN_PROBLEMS] + more)) from None
        for name, value in self:
            for path in value if isinstance(value, tuple) else (value,):
                if isinstance(path, Path):
                    require_possible(name, path)


class Table(Settings):
    """Settings that stand together as one: a table in TOML, or a text such as `rotation=10,shift=2`."""

    model_config = ConfigDict(strict=True)
    setting: ClassVar[str]  # of `TrainConfig` that is such a table
    example: ClassVar[str]  # as a text

    def __str__(self) -> str:
        fields = type(self).model_fields
        given = [f"{name}={value!r}".removesuffix(".0") for name, value in self if value != fields[name].default]
        return ",".join(given) or "none"

    @classmethod
    def parse(cls, value: Any) -> Self:
        """The settings from a table of them, or from a text such as the example or `none`.

        Raises:
            ConfigError: an unknown setting, or one outside its range.
        """
        try:
            table = _table(value) if isinstance(value, str) else value
            if isinstance(table, dict):
                return cls(**{str(key): setting for key, setting in table.items()})
        except ConfigError as error:
            raise ConfigError(f"{cls.setting}: {error}") from None
        if not isinstance(table, cls):
            raise ConfigError(
                f"{cls.setting}: got {_shown(value)}, expected a table, '{cls.example}' or such, or 'none'"
            )
        return table


class Augmentation(Table):
    """How far training images are distorted at most; `lenscope.data.augment` says how. All zero is not at all.

    >>> print(Augmentation(shift=2, rotation=7.5))
    shift=2,rotation=7.5

    Raises:
        ConfigError: a setting outside its range, in one line.
    """

    setting = "augment"
    example = "rotation=10,shift=2"
    shift: float = Field(0.0, ge=0, le=16, description="pixels, along either axis and either way")
    rotation: float = Field(0.0, ge=0, le=180, description="degrees, either way")
    scale: float = Field(0.0, ge=0, le=0.9, description="a fraction of the size, larger or smaller")
    shear: float = Field(0.0, ge=0, le=60, description="degrees that upright lines lean over, either way")
    elastic: float = Field(0.0, ge=0, le=8, description="root mean square pixels of an elastic field, along each axis")
    smoothness: float = Field(4.0, ge=1, le=16, description="pixels: standard deviation of that field's Gaussian")

    @property
    def distorts(self) -> bool:
        """Whether images are changed at all."""
        return any((self.shift, self.rotation, self.scale, self.shear, self.elastic))


class Autoencoding(Table):
    """What makes an autoencoder's task harder than giving back what it gets; `pytorch/reconstruction.py` says how.

    >>> print(Autoencoding(masking=0.25, gaussian=0.3))
    masking=0.25,gaussian=0.3

    Raises:
        ConfigError: a setting outside its range, in one line.
    """

    setting = "autoencode"
    example = "masking=0.25,gaussian=0.3"
    masking: float = Field(0.0, ge=0, lt=1, description="share of the input's values that are set to 0")
    gaussian: float = Field(
        0.0, ge=0, le=100, description="standard deviation of noise on the input, whose pixels are 0 to 1"
    )
    kl: float = Field(0.0, ge=0, le=1e6, description="weight of the divergence from the target activity")
    target: float = Field(0.05, gt=0, lt=1, description="target activity, the mean of the squashed code")
    l1: float = Field(0.0, ge=0, le=1e6, description="weight of the code's mean magnitude")

    @property
    def corrupts(self) -> bool:
        """Whether there is noise on the input."""
        return bool(self.masking or self.gaussian)


class TrainConfig(Settings):
    """Every setting that decides a run's result.

    Raises:
        ConfigError: a setting outside its range, in one line.
    """

    model_config = ConfigDict(strict=True)  # epochs = true is no number

    data: str = Field("mnist", min_length=1, description="data set: a name from `lenscope data list`, or a folder")
    skip_unreadable: bool = Field(
        default=False, description="leave out pictures of a folder that cannot be read, instead of refusing it"
    )
    network: NetworkName = Field(
        "lenet",
        description="the lecture's LeNet, the 1998 paper's, one without convolutions, or an autoencoder",
    )
    init: InitName = Field(
        "pytorch", description="initial weights: PyTorch's default, or as Glorot, He or Saxe (orthogonal) draw them"
    )
    recipe: RecipeName = Field("lecture", description="preset that the other options start from")
    epochs: int = Field(10, ge=1, le=1_000_000, description="passes over the training images")
    batch_size: int = Field(100, ge=1, le=1_000_000_000, description="images an update (gd takes all of them)")
    optimizer: OptimizerName = Field("adam", description="update rule")
    learning_rate: float = Field(
        1e-4, gt=0, description="peak learning rate; 1e-4 is the lecture's for adam, sgd wants about 0.1"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="for momentum and nesterov")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty; decoupled for adamw")
    schedule: ScheduleName = Field("constant", description="course of the learning rate over the run")
    augment: Augmentation = Field(
        Augmentation(),
        description="distort training images anew each epoch: none, or at most so far as rotation=10,shift=2 and such; "
        "rotation and shear are degrees, shift, elastic and smoothness pixels, scale is a fraction",
    )
    autoencode: Autoencoding = Field(
        Autoencoding(),
        description="of an autoencoder: none, or noise on its input and penalties on its code as masking=0.25, "
        "gaussian=0.3, kl=0.001 with target=0.05, l1=0.01",
    )
    validation: int | float = Field(
        0, ge=0, le=1_000_000_000, description="training images held out: a count, or a fraction below 1; 0 for none"
    )
    stratify: bool = Field(
        default=True, description="hold out of each class in proportion, instead of without a look at the classes"
    )
    train_images: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="train on so many of the other training images, of each class equally many; by default on all",
    )
    patience: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="stop after this many epochs without a lower validation loss; needs --validation",
    )
    train_accuracy: bool = Field(default=False, description="measure accuracy on the training images as well")
    seed: int = Field(
        0,
        ge=0,
        lt=2**63,
        description="decides the initial weights, the order, the held-out part and the choice of images",
    )
    engine: EngineName = Field(
        "auto",
        description="training backend; auto is fused for a LeNet (numpy where that is not built), torch for the others",
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="processor threads; by default all that this process may use"
    )
    device: DeviceName = Field(
        "auto", description="auto: a LeNet on the CPU, other networks on the GPU where there is one"
    )
    checkpoint_every: str | None = Field(
        None,
        description="keep all to go on from after so many epochs, seconds (30s) or steps (200steps); "
        "by default after each epoch, at most once in ten seconds",
    )
    init_from: str | None = Field(None, min_length=1, description="run whose trained weights this one starts from")

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, settings: Any) -> Any:
        """Take `lr` for `learning_rate`, as everywhere, and numpy's integers for Python's."""
        return {name: _plain(value) for name, value in renamed(settings).items()}

    @field_validator("augment", "autoencode", mode="before")
    @classmethod
    def _take_text_for_a_table(cls, value: Any, info: ValidationInfo) -> Table:
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
                f"checkpoint_every: got {_shown(value)}, expected epochs (5), seconds (30s) or steps (200steps)"
            )
        return text

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.patience is not None and not self.validation:
            raise ValueError("patience: needs a validation part; add --validation 5000")
        if self.network == "lenet1998" and self.init != "pytorch":
            raise ValueError(f"init: got '{self.init}', but lenet1998 has initial weights of its own; leave init out")
        if self.validation >= 1 and self.validation != int(self.validation):
            raise ValueError(f"validation: got {self.validation}, expected a whole count or a fraction below 1")
        _check_autoencoder(self)
        return self

    @property
    def reconstructs(self) -> bool:
        """Whether it is an autoencoder that is trained, which has a reconstruction error and no accuracy."""
        return self.network in AUTOENCODERS

    def with_settings(self, /, **settings: Any) -> TrainConfig:
        """A copy with some settings changed, validated anew; raises ConfigError."""
        return TrainConfig(**{**self.model_dump(), **renamed(settings)})

    def to_toml(self) -> str:
        """The settings as TOML; those that are None are left out."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))

    @classmethod
    def from_toml(cls, text: str, source: str = "config") -> TrainConfig:
        """The settings in a TOML text over the defaults; raises ConfigError naming `source`."""
        settings = parse_settings(text, source)
        try:
            return cls(**settings)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None


def resolve(recipe: str | None = None, file: Path | None = None, **options: Any) -> TrainConfig:
    """Settings in their order of precedence: defaults < recipe < file < options.

    Args:
        recipe: a name in RECIPES; if None, the file's or the default.
        file: a TOML file of settings.
        options: settings given by hand.

    Raises:
        ConfigError: an unreadable file or a setting outside its range.
        UsageError: an unknown recipe.
    """
    from_file = read_settings(file) if file is not None else {}
    given = renamed(options) | ({} if recipe is None else {"recipe": recipe})
    try:
        return _over_recipe({**from_file, **given})
    except UsageError as error:
        if file is not None and _refusal(from_file) == str(error):  # what is given beside it has no part in it
            raise type(error)(f"{file}: {error}") from None
        raise


def _over_recipe(settings: dict[str, Any]) -> TrainConfig:
    name = settings.get("recipe", TrainConfig.model_fields["recipe"].default)
    if not isinstance(name, str) or name not in RECIPES:
        raise unknown_name("recipe", name if isinstance(name, str) else _shown(name), RECIPES)
    return TrainConfig(**{**RECIPES[name], **settings})


def _refusal(settings: dict[str, Any]) -> str:
    """Why settings alone are refused; empty where they are not."""
    try:
        _over_recipe(settings)
    except UsageError as error:
        return str(error)
    return ""


def read_settings(file: Path) -> dict[str, Any]:
    """The settings in a TOML file, `lr` spelt out; raises ConfigError."""
    settings = parse_settings(_read(file), str(file))
    try:
        return renamed(settings)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def parse_settings(text: str, source: str) -> dict[str, Any]:
    """The settings in a TOML text, of which an older run's mean what they meant; raises ConfigError naming `source`."""
    settings = parse_toml(text, source)
    if settings.keys() >= WRITTEN_BY_A_RUN and settings.get("validation"):
        return {"stratify": False} | settings  # a run that does not name it is of a release that did not have it
    return settings


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """The top-level table of a TOML text; raises ConfigError naming `source`."""
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"{source}: more than {MAX_CHARACTERS} characters; settings take a few hundred")
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))  # a byte order mark, as Windows' editors write
    except (ValueError, RecursionError) as error:  # a plain ValueError: an integer of thousands of digits
        reason = str(error) if len(str(error)) <= 200 else f"{str(error)[:100]}…{str(error)[-60:]}"  # a key is as long
        raise ConfigError(f"{source}: not TOML: {reason}; expected lines such as 'epochs = 10'") from None


def _check_autoencoder(config: TrainConfig) -> None:
    """Raise ValueError for what an autoencoder cannot do, and what only an autoencoder can."""
    network = config.network
    if not config.reconstructs and str(config.autoencode) != "none":
        raise ValueError(
            f"autoencode: got {config.autoencode}, but {network} is no autoencoder; "
            f"choose one of {', '.join(AUTOENCODERS)}"
        )
    if config.reconstructs and config.train_accuracy:
        raise ValueError(f"train_accuracy: {network} names no classes, so it has no accuracy; leave it out")
    if network == "mlp-autoencoder" and config.epochs < 2:
        raise ValueError(f"epochs: got {config.epochs}, expected at least 2 for {network}, half for each layer")
    if network == "mlp-autoencoder" and config.patience:
        raise ValueError(f"patience: {network} trains its layers in turn, half of the epochs each; leave it out")


def _table(text: str) -> dict[str, Any] | None:
    """The names and numbers in a text such as `rotation=10,shift=2`, or None where it is no such text."""
    if text.strip() == "none":
        return {}
    pairs = [[part.strip() for part in pair.split("=")] for pair in text.split(",")]
    if any(len(pair) != 2 for pair in pairs):
        return None
    if len(dict(pairs)) < len(pairs):
        raise ConfigError(f"got {_shown(text)}, expected each setting once")
    return {name: _number(value) for name, value in pairs}


def _number(text: str) -> float | str:
    """The number in a text, or the text itself, which validation then refuses by name."""
    try:
        return float(text)
    except ValueError:
        return text


def _read(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as text:
            return text.read(MAX_CHARACTERS + 1)
    except (OSError, ValueError) as error:
        unreadable = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error
        reason = getattr(error, "strerror", None) or unreadable
        raise ConfigError(f"{file}: cannot be read: {reason}; --config takes a TOML file") from None


def require_possible(name: str, path: Path) -> None:
    """Raise ConfigError for a path that no file can have: too long, with a NUL, or of characters without bytes."""
    try:
        path.lstat()
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG:  # the path can be
            return
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{name}: {_shown(str(path))} cannot be a path: {reason}; choose another") from None


def renamed(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with `lr` spelt out; raises ConfigError where both names are there."""
    if {"lr", "learning_rate"} <= settings.keys():
        raise ConfigError("learning_rate: got it twice, once as lr; give one of them")
    return {{"lr": "learning_rate"}.get(name, name): value for name, value in settings.items()}


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else value


def _problem(item: Any, known: Iterable[str]) -> str:
    """One pydantic error in our words: the setting, what was got, what was expected."""
    name = str(item["loc"][0]) if item["loc"] else ""
    if item["type"] == "extra_forbidden":
        return str(unknown_name("setting", name, known))
    if item["type"] == "string_unicode":
        return f"{name}: got {_shown(item['input'])}, whose bytes are not UTF-8, as settings are; rename it"
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if item["type"] == "value_error":
        return str(message)
    return f"{name}: got {_shown(item['input'])}, expected {message}"


def _shown(value: Any) -> str:
    """A wrong value on one short line, whatever it is."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a table within a table without end
        return "too much to show"
    return text if len(text) <= 60 else f"{text[:59]}…"
