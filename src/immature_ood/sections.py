"""The sections of a study that are no plug-ins, with their defaults."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from immature_ood.config import Config, Name, NonNegative, Positive, Real

__all__ = ["DriftConfig", "EvaluationConfig", "FeatureConfig", "TrainingConfig"]


class TrainingConfig(Config):
    """How models are trained, by maximum likelihood."""

    optimizer: Literal["adamax", "adamw"] = "adamax"
    """Steps are those of this optimiser."""
    dequantisation: Literal["uniform", "none"] = "uniform"
    """Uniform noise of one grey level is added to pixels, or, as for the released grey model, none."""
    learning_rate: Annotated[Real, Field(gt=0)] = 1e-3
    """Steps have this size after warm-up."""
    weight_decay: Annotated[Real, Field(ge=0)] = 5e-5
    """The optimiser's weight decay, of Adamax an L2 penalty, of AdamW decoupled."""
    batch_size: Positive = 64
    """A step takes so many images; an incomplete last batch of an epoch is left out."""
    epochs_per_pass: Positive = 1
    """A pass over the training images is so many epochs: with 10, epochs are tenths of what they are with 1."""
    warmup_epochs: NonNegative = 1
    """The learning rate rises linearly over so many epochs."""
    warmup: Literal["step", "epoch"] = "step"
    """The learning rate is raised at every step, or once an epoch, as in the public Glow."""
    initialisation_images: Positive = 256
    """Actnorms are initialised on so many images, 512 in the released code."""
    gradient_clip: Annotated[Real, Field(gt=0)] | None = None
    """The gradient of all parameters is scaled down to this norm, in bits per dimension; by default it is not."""
    precision: Literal["fp32", "tf32", "bf16-coupling"] = "fp32"
    """All is float32, or products are rounded to TF32, or the networks inside the couplings use bfloat16."""
    compile: bool = False
    """The model is compiled by torch.compile: minutes at the start, for a GPU, where small steps wait for launches."""

    @property
    def images_needed(self) -> int:
        """The least number of training images: those of a step in each epoch of a pass."""
        return self.batch_size * self.epochs_per_pass


def _name_or_names(value: Any) -> Any:
    names = value if isinstance(value, list) and value else [value]
    if value is not None and not all(isinstance(name, str) for name in names):
        raise ValueError("a name, or a list of names, is asked for")
    return value


class FeatureConfig(Config):
    """What is extracted from each kept checkpoint: layer-wise gradient norms and likelihoods."""

    batch_sizes: Annotated[list[Positive], Field(min_length=1)] = [1, 5]
    """Images are scored in groups of b, for each b of this list."""
    fit_images: Positive = 1000
    """The first so many images of the ID fit set are used."""
    test_images: Positive = 1000
    """The first so many images of each test set are used."""
    chunk_images: Positive | None = None
    """So many images are worked on at once: it changes memory, not results; by default as many as suit."""
    tf32: bool = False
    """On a GPU products are rounded to TF32, which is faster, and not what the scores were checked with."""
    precision: Literal["fp32", "bf16-norms"] = "fp32"
    """All is float32, or the factors of the norms of weights are bfloat16, where there are instructions for it."""
    objective: Annotated[str | list[str] | None, BeforeValidator(_name_or_names)] = None
    """Gradients are of these, such as log_prob or sum_z (as in the released code); by default what a model says."""
    layers: Literal["all", "without_weights"] | None = None
    """Norms are taken of these; by default of all that detectors read: without weights it takes half of the time."""
    noise: Literal["fixed", "fresh", "none"] = "fixed"
    """Noise is fixed for an image, fresh at every checkpoint, or none; a model's own noise is never none, but fixed."""


class DriftConfig(Config):
    """A stream of ID images that change step by step."""

    of: str
    """The stream begins with test images of this ID data set."""
    through: Annotated[list[str], Field(min_length=1)]
    """It goes on with those of each of these data sets, such as the same images turned by a growing amount."""


class EvaluationConfig(Config):
    """How AUROCs are given an interval and compared."""

    confidence: Annotated[Real, Field(gt=0, lt=1)] = 0.95
    """Intervals hold the truth with this probability."""
    margin: Annotated[Real, Field(ge=0)] = 0.02
    """AUROCs whose difference is surely smaller than this are equivalent."""
    drop_minimum: bool = False
    """Each set's smallest score is left out of the AUROC, as in the paper's released code."""
    controls: list[str] | None = None
    """A pair that one of these detectors solves is told apart; by default those that read no trained model."""
    reference: str | None = None
    """Detectors are compared with the one of this name; by default with gradient_norms, if the study has it."""
    calibration_images: NonNegative = 0
    """So many images of the ID fit set, after those that detectors are fitted on, give p-values and false alarms."""
    drift: dict[Name, DriftConfig] = {}
    """Streams by name: false alarms, detections, and when to refit, in tables/drift.csv; needs calibration_images."""
