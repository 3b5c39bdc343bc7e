"""Recipe: what to run, read from a TOML file in which every unknown key is refused."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic.functional_validators import AfterValidator
from pydantic_core import PydanticCustomError

from reseen.errors import RecipeError
from reseen.protocols import ProtocolName

Condition = Literal["z", "c", "zc"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
Rows = Literal["averaged", "single"]
Share = Annotated[float, Field(ge=0, le=1)]
FSAVERAGE = "fsaverage"
"""The one space in which NSD's betas lie on the vertices of a surface, not in a volume."""
_NOT_IDENTITY: dict[str, Any] = {"identity": False}  # may change between runs into one results folder


def _folder_name(text: str) -> str:
    """Refuse what would leave the data's folders as part of a path, or say something to a shell."""
    if not re.fullmatch(r"\w[\w.+-]*", text):
        raise PydanticCustomError(
            "name", "expected the name of a folder: letters, digits, _ . + -; found {found}", {"found": repr(text)}
        )
    return text


FolderName = Annotated[str, AfterValidator(_folder_name)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataRecipe(_Section):
    """Say which brains and which pictures."""

    kind: Literal["nsd", "digital", "arrays"] = Field(
        "nsd", description="nsd: a tree in NSD's layout; digital: simulate one first; arrays: a folder or npz of arrays"
    )
    path: Path | None = Field(
        None, description="where the data lie; may be given as --data instead", json_schema_extra=_NOT_IDENTITY
    )
    subjects: tuple[FolderName, ...] = Field(("subj01",), description="which subjects, by folder name")
    sessions: PositiveInt | None = Field(None, description="how many sessions, from the first; left out: all")
    space: FolderName = Field("func1pt8mm", description="NSD's space of the betas: func1pt8mm, func1mm or fsaverage")
    betas: FolderName = Field("betas_fithrf_GLMdenoise_RR", description="NSD's preparation of the betas")
    rois: tuple[str, ...] = Field(
        ("early", "midventral", "midlateral", "midparietal", "ventral", "lateral", "parietal"),
        description="ROIs whose voxels are read",
    )
    scale_int16: bool = Field(True, description="divide NSD's int16 betas by 300, to per cent signal change")
    zscore_sessions: bool = Field(True, description="standardise each voxel within each session")
    test: Literal["shared", "folds"] = Field(
        "shared", description="shared: NSD's shared pictures are the test set; folds: leave whole stimuli out in turn"
    )
    n_folds: PositiveInt = Field(10, description="how many folds where test is 'folds'")
    n_test: PositiveInt | None = Field(None, description="only so many test pictures, half of them novel if known")
    test_trials: Rows = Field("averaged", description="average the repetitions of a test picture or not")
    train_trials: Rows = Field("single", description="average the repetitions of a training picture or not")


class SimulateRecipe(_Section):
    """Say what the digital subject is, where data.kind is 'digital'."""

    n_subjects: PositiveInt = Field(1, description="how many digital subjects")
    n_sessions: PositiveInt = Field(4, description="sessions of 750 trials")
    n_train: PositiveInt = Field(930, description="training pictures of each subject, most of them shown three times")
    n_test: PositiveInt = Field(100, description="shared test pictures, half of them novel combinations")
    trials_per_session: PositiveInt = Field(750, description="750 in NSD; fewer only for tests")
    voxel_share: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="share of the voxels; less only for tests"
    )
    seed: int = Field(1, description="the same seed writes the same bytes")


class ModelRecipe(_Section):
    """Say which latent diffusion model."""

    name: str = Field("builtin", description="'builtin', a diffusers folder, a .ckpt or .safetensors file, or a hub id")
    revision: str | None = Field(None, description="commit of a hub model, pinned")
    precision: Literal["fp32", "fp16", "bf16"] = Field("fp32", description="of the frozen model")
    compiled: bool = Field(
        False,
        description="let torch.compile make kernels for the U-Net; for long runs on a GPU",
        json_schema_extra=_NOT_IDENTITY,
    )


class ExtractRecipe(_Section):
    """Say how pictures and captions become z and c."""

    z_size: PositiveInt | None = Field(
        None, description="side of the picture whose z is decoded; left out: 5/8 of the model's"
    )
    posterior: Literal["mean", "sample"] = Field("mean", description="the autoencoder's posterior mean, or one sample")


class DecodeRecipe(_Section):
    """Say how betas become z and c."""

    z_rois: tuple[str, ...] = Field(("early",), description="ROIs that predict z")
    c_rois: tuple[str, ...] = Field(("ventral",), description="ROIs that predict c")
    alphas: tuple[float, ...] | None = Field(None, description="ridge penalties; left out: a grid scaled to the data")
    n_folds: PositiveInt = Field(5, description="folds that choose alpha")
    share_alpha: bool = Field(False, description="one alpha for all of z, one for all of c; for few pictures")
    group_folds: bool = Field(True, description="keep all trials of a stimulus in one fold")
    intercept: bool = Field(True, description="fit the mean of every target")
    rescale_averages: bool = Field(
        True,
        description="undo the shrinkage of predictions that averaging test trials causes, from training trials alone",
    )

    def rois_of(self, feature: str) -> tuple[str, ...]:
        """Give the ROIs that predict a feature, ``"z"`` or ``"c"``."""
        return {"z": self.z_rois, "c": self.c_rois}[feature]


class ReconstructRecipe(_Section):
    """Say how decoded z and c become pictures."""

    conditions: tuple[Condition, ...] = Field(CONDITIONS, description="which decoded parts make pictures")
    n_draws: PositiveInt = Field(5, description="pictures per stimulus, each from its own noise")
    n_steps: PositiveInt = Field(50, description="DDIM steps")
    strength: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8, description="share of the steps noised and undone, for zc"
    )
    guidance: Annotated[float, Field(ge=1)] = Field(5.0, description="classifier-free guidance scale")
    noise_index: Literal["diffusers", "compvis"] = Field(
        "diffusers",
        description="noise to the step denoising starts at (diffusers), or one step more (the released script)",
    )
    truncate_coarse: bool = Field(False, description="round the coarse picture to 8 bits before it is encoded again")
    coarse_posterior: Literal["mean", "sample"] = Field(
        "mean", description="the posterior mean of the coarse picture, or one sample, as the released script takes it"
    )
    batch_size: PositiveInt = Field(
        64, description="pictures denoised together; does not change the pictures", json_schema_extra=_NOT_IDENTITY
    )


class EvaluateRecipe(_Section):
    """Say how pictures are scored."""

    protocols: tuple[ProtocolName, ...] = Field(
        ("builtin",),
        min_length=1,
        description="how pictures are compared, by name: builtin, takagi2023, braindiffuser2023, mindeye2",
    )
    observers: tuple[str, ...] = Field(
        ("judge", "image_encoder"), description="networks that look at the pictures for the protocol builtin"
    )
    ceiling: bool = Field(True, description="also reconstruct from the true z and c")
    n_shuffles: NonNegativeInt = Field(
        3,
        description="how often brain rows are shuffled; each time decoders are fitted and make a picture of each item; "
        "scores are averaged over the shuffles; 0: no such floor",
    )
    full: bool = Field(
        False,
        description="also what takes more pictures or decoders: floors without the brain, kinds of pictures left out",
    )
    n_derangements: PositiveInt = Field(
        200, description="wrong pairings behind the re-paired floor, permutations behind p"
    )
    n_bootstrap: PositiveInt = Field(1000, description="resamplings of pictures behind each interval")


class EncodeRecipe(_Section):
    """Say how features become voxels."""

    features: tuple[str, ...] = Field(("z", "c"), description="feature spaces, one encoding model each; zc is another")
    noise: tuple[Share, ...] = Field((), description="strengths of zc, each in one model with z; none: left out")
    denoising: tuple[Share, ...] = Field(
        (), description="shares of the denoising steps, the latent after each in one model with z; none: left out"
    )
    layers: tuple[str, ...] = Field(
        (), description="U-Net modules by name, see `reseen layers`; auto: five of them; none: left out"
    )
    layer_progress: tuple[Share, ...] = Field(
        (0.2, 0.66, 1.0), description="shares of the denoising steps at which modules are recorded, under the caption"
    )
    activations: Literal["fp16", "fp32"] = Field("fp16", description="how the modules' activations are kept on disk")
    n_folds: PositiveInt = Field(5, description="folds that choose alpha")
    reduce: Literal["none", "pca", "projection"] = Field(
        "none", description="keep every feature, their first principal components, or a random projection of them"
    )
    n_components: PositiveInt = Field(
        6400, description="how many components or projections, where features are reduced"
    )
    null: Literal["parametric", "permutation"] = Field(
        "parametric", description="null of r: independent Gaussian vectors, or the test pictures permuted"
    )
    n_permutations: PositiveInt = Field(1000, description="permutations, where they are the null")
    fdr: Annotated[float, Field(gt=0, lt=1)] = Field(0.05, description="false discovery rate over a subject's voxels")
    n_bootstrap: PositiveInt = Field(1000, description="resamplings of test pictures behind each interval")
    export: tuple[Literal["nifti", "gifti", "vertices"], ...] = Field(
        (),
        description="also write maps, named as BIDS derivatives: nifti in the volume, gifti on fsaverage, "
        "vertices: one npz on fsaverage, as pycortex takes it",
        json_schema_extra=_NOT_IDENTITY,
    )


class ReportRecipe(_Section):
    """Say what the report shows."""

    n_random: PositiveInt = Field(6, description="randomly chosen test pictures shown beside best, median and worst")
    n_films: PositiveInt = Field(2, description="pictures whose denoising is shown step by step")


class Recipe(_Section):
    """Say everything that a run needs to know; one TOML section for each field.

    Name, data path, batch size, compilation and exported maps may change between runs into one folder, protocols may be
    added and a full evaluation asked for (`growth`); all else is part of its identity. Device and executor are no part
    of a recipe.
    """

    name: str = Field("unnamed", description="what to call it", json_schema_extra=_NOT_IDENTITY)
    seed: int = Field(0, description="seed of every draw, fold and resampling")
    data: DataRecipe = Field(default_factory=DataRecipe)
    simulate: SimulateRecipe = Field(default_factory=SimulateRecipe)
    model: ModelRecipe = Field(default_factory=ModelRecipe)
    extract: ExtractRecipe = Field(default_factory=ExtractRecipe)
    decode: DecodeRecipe = Field(default_factory=DecodeRecipe)
    reconstruct: ReconstructRecipe = Field(default_factory=ReconstructRecipe)
    evaluate: EvaluateRecipe = Field(default_factory=EvaluateRecipe)
    encode: EncodeRecipe = Field(default_factory=EncodeRecipe)
    report: ReportRecipe = Field(default_factory=ReportRecipe)

    @model_validator(mode="after")
    def _check_space(self) -> Recipe:
        if self.data.space == FSAVERAGE and self.data.kind == "digital":
            raise PydanticCustomError(
                "space",
                "data.space: a digital subject is written in func1pt8mm, not on fsaverage; leave data.space out",
            )
        if self.data.space == FSAVERAGE and "nifti" in self.encode.export:
            raise PydanticCustomError(
                "space", "encode.export: betas on fsaverage lie in no volume, so no NIfTI; ask for gifti or vertices"
            )
        return self


def load_recipe(path: Path | str) -> Recipe:
    """Read a recipe from a TOML file, or one that comes with reseen by its bare name (``"demo"``).

    Raises
    ------
    RecipeError
        If the file is missing, is no TOML, holds an unknown key or a value out of range.
    """
    path = _find(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}. {_names()}") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is no recipe: it is not UTF-8 text.") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is no valid TOML: {error}.") from error
    return _validate(content, str(path))


def recipe_folder() -> Path:
    """Give the folder of the recipes that come with reseen: in the package, or beside ``src`` in a working copy."""
    here = Path(__file__).resolve().parent
    return here / "recipes" if (here / "recipes").is_dir() else here.parents[1] / "recipes"


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Change single values of a recipe.

    Parameters
    ----------
    recipe
        What to change.
    settings
        Each ``"section.key=value"``, the value written as in TOML; a value that is no TOML is taken as a string, and
        an empty one leaves the key out.

    Raises
    ------
    RecipeError
        If a setting has another form, or names an unknown key or a value out of range.
    """
    content = recipe.model_dump(mode="json", exclude_none=True)
    for setting in settings:
        where, equals, text = setting.partition("=")
        *sections, key = where.strip().split(".")
        if not equals or not key or len(sections) > 1:
            raise RecipeError(f"expected section.key=value, such as reconstruct.n_steps=20; found {setting!r}.")
        target = content.setdefault(sections[0], {}) if sections else content
        if not isinstance(target, dict):
            raise RecipeError(f"{setting!r}: {sections[0]} is no section. Run `reseen recipe` to see every key.")
        if text.strip():
            target[key] = _toml_value(text.strip())
        else:
            target.pop(key, None)
    return _validate(content, "the settings")


def identity(recipe: Recipe) -> dict[str, Any]:
    """Give every value that could change a result, as ``{"section.key": value}`` of JSON types."""
    return {where: _plain(value) for where, value, field in _fields(recipe) if field.json_schema_extra != _NOT_IDENTITY}


def differences(found: Recipe, expected: Recipe) -> list[str]:
    """Name each value in which two recipes differ and that could change a result, with both values; not `growth`."""
    ours, theirs = identity(found), identity(expected)
    more = growth(found, expected)
    return [
        f"{where}: expected {json.dumps(theirs[where])}, found {json.dumps(ours[where])}"
        for where in ours
        if ours[where] != theirs[where] and where not in more
    ]


def growth(found: Recipe, expected: Recipe) -> list[str]:
    """Name what a recipe only scores beyond another one: further protocols, a full evaluation.

    Pictures and decoders of the other one stay as they are, and more may be made beside them.
    """
    ours, theirs = found.evaluate, expected.evaluate
    protocols = ours.protocols != theirs.protocols and set(ours.protocols) >= set(theirs.protocols)
    grown = {"evaluate.protocols": protocols, "evaluate.full": ours.full and not theirs.full}
    return [where for where, more in grown.items() if more]


def to_toml(recipe: Recipe, *, explained: bool = False) -> str:
    """Write a recipe as TOML; ``explained`` puts each field's description above it.

    Values that are left out are written as comments, so that every key is there to be seen.
    """
    lines: list[str] = []
    section = ""
    for where, value, field in _fields(recipe):
        head, _, key = where.rpartition(".")
        if head != section:
            section = head
            about = (type(getattr(recipe, section)).__doc__ or "").strip() if explained else ""
            lines += ["", *([f"# {about}"] if about else []), f"[{section}]"]
        if explained:
            lines.append(f"# {field.description}{_choices(field.annotation)}")
        lines.append(f"# {key} =" if value is None else f"{key} = {_toml_text(_plain(value))}")
    return "\n".join(lines) + "\n"


def _fields(recipe: Recipe) -> Iterator[tuple[str, Any, FieldInfo]]:
    for name, field in Recipe.model_fields.items():
        value = getattr(recipe, name)
        if isinstance(value, BaseModel):
            for key, inner in type(value).model_fields.items():
                yield f"{name}.{key}", getattr(value, key), inner
        else:
            yield name, value, field


def _find(path: Path | str) -> Path:
    path = Path(path)
    named = recipe_folder() / f"{path}.toml"
    return named if len(path.parts) == 1 and not path.suffix and not path.is_file() and named.is_file() else path


def _names() -> str:
    return f"Recipes that come with reseen: {', '.join(sorted(path.stem for path in recipe_folder().glob('*.toml')))}."


def _validate(content: dict[str, Any], source: str) -> Recipe:
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{source}:\n" + "\n".join(_problems(error))) from error


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        what = "unknown key" if problem["type"] == "extra_forbidden" else problem["msg"]
        lines.append(f"  {where}{': ' if where else ''}{what}. Run `reseen recipe` to see every key.")
    return lines


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _toml_text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml_text(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False)  # TOML's strings, numbers and booleans are JSON's


def _choices(annotation: Any) -> str:
    return f" (one of: {', '.join(get_args(annotation))})" if get_origin(annotation) is Literal else ""
