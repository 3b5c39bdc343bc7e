"""Checks that a run starts with and that `reseen check` prints."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reseen.check import costs, files, requirements
from reseen.check.finding import Finding, finding_of
from reseen.check.inputs import Inputs, with_precision
from reseen.check.sizes import guess_sizes
from reseen.conditions import decoded_features, in_role, is_denoised
from reseen.errors import ModelError, ResultsError
from reseen.executor import Progress
from reseen.files.reading import shown
from reseen.ldm.devices import check_device
from reseen.ldm.extraction import image_shape, z_size
from reseen.ldm.sampling import sampling_schedule
from reseen.networks import load_evaluation_network, load_network
from reseen.protocols import PROTOCOLS
from reseen.recipe import Recipe
from reseen.reconstruction import find_sampler
from reseen.results import started_recipe


def check(recipe: Recipe, out: Path, *, device: str = "cpu", progress: Progress | None = None) -> list[Finding]:
    """Check everything that a run needs, without running or fetching anything.

    Parameters
    ----------
    recipe
        The recipe to check.
    out
        The results folder; nothing is written there.
    device
        Device of the model's networks.
    progress
        Callback ``(step, n_done, n_total)``.

    Returns
    -------
    list
        The findings of all `CHECKS`, those that a run refuses included.
    """
    with suppress(ModelError):  # the check `device` reports it
        check_device(device)
        recipe = with_precision(recipe, device)
    inputs = Inputs(recipe, out, device=device, thorough=True, progress=progress)
    findings = [finding for one in CHECKS for finding in one.find(inputs)]
    return [*findings, *(Finding("warning", text, absent=True) for text in dict.fromkeys(inputs.warned))]


def require(inputs: Inputs, stages: Collection[str]) -> None:
    """Raise the first reason for which a run of these stages is refused.

    Raises
    ------
    ReseenError
        The error of the first finding that has one.
    """
    for one in CHECKS:
        if one.refuses and (one.stages == ALL or not one.stages.isdisjoint(stages)):
            for finding in one.find(inputs):
                if finding.error is not None:
                    raise finding.error


# ----------------------------------------------------------------------------------------------- folder and device


def results_folder(inputs: Inputs) -> Iterator[Finding]:
    """Check that the results folder is free, or contains a run of the same recipe."""
    yield finding_of("results folder", lambda: _folder(inputs.recipe, inputs.out))


def _folder(recipe: Recipe, out: Path) -> str:
    if out.exists() and not out.is_dir():
        message = f"{shown(out)} is a file. Choose a folder for --out."
        raise ResultsError(message, where=out, expected="folder", found="file")
    if started_recipe(out, recipe) is None:
        return f"{out} is new"
    return f"{out} exists, and the run will continue it"


def device(inputs: Inputs) -> Iterator[Finding]:
    """Check that the device exists."""

    def find() -> str:
        check_device(inputs.device)
        return inputs.device

    yield finding_of("device", find)


# ------------------------------------------------------------------------------------------------------------ data


def rois(inputs: Inputs) -> Iterator[Finding]:
    """Yield which ROIs predict which feature."""
    recipe = inputs.recipe
    names = decoded_features(recipe.reconstruct.conditions)
    yield Finding("ROIs", "; ".join(f"{name} from {', '.join(recipe.decode.rois_of(name))}" for name in names))


def held_out(inputs: Inputs) -> Iterator[Finding]:
    """Count the held-out images; an impossible split is refused."""

    def count() -> str:
        notes = [f"{subject}: {outline.note}" for subject, outline in inputs.outlines.items() if outline.note]
        return "; ".join([str(inputs.sizes), *notes]) if inputs.outlines else ""

    if inputs.readable:
        yield finding_of("held out", count)
    else:  # another finding gives the reason
        yield Finding("held out", f"about {guess_sizes(inputs.recipe)}, by the recipe; the data were not counted")


# ----------------------------------------------------------------------------------------------------------- model


def model_to_simulate(inputs: Inputs) -> Iterator[Finding]:
    """Load the model before a subject is simulated for it."""
    if inputs.to_simulate and not inputs.thorough:
        yield from model(inputs)


def model(inputs: Inputs) -> Iterator[Finding]:
    """Load the model."""

    def load() -> str:
        ldm = inputs.model
        return (
            f"{ldm.name}: images of {ldm.image_size} pixels, conditioning {ldm.conditioning_shape}, "
            f"{inputs.recipe.model.precision} on {inputs.device}"
        )

    yield finding_of("model", load)


def z(inputs: Inputs) -> Iterator[Finding]:
    """Check that the model can encode images of the size whose z is decoded."""

    def encode() -> str:
        ldm = inputs.model
        size = z_size(ldm, inputs.recipe.extract)
        return f"of images of {size} pixels, {ldm.latent_shape[0]} x {size // ldm.factor} x {size // ldm.factor}"

    if inputs.has_model:
        yield finding_of("z", encode)


def image_embedding(inputs: Inputs) -> Iterator[Finding]:
    """Check that the model has an image adapter, if i is decoded or used for encoding."""
    if "i" in inputs.needed_features and inputs.has_model:
        yield finding_of("i", lambda: f"embeddings of {image_shape(inputs.model)[-1]} numbers")


def denoising(inputs: Inputs) -> Iterator[Finding]:
    """Check that the sampler can run the steps of the recipe."""
    section = inputs.recipe.reconstruct

    def denoise() -> str:
        find_sampler(section.sampler)
        schedule = sampling_schedule(inputs.model, section.sampler)
        n_steps = len(schedule.timesteps(section.n_steps, section.noise_index))
        found = []
        for condition in denoised:
            if in_role(condition, "start") is None:
                found.append(f"{condition} in {n_steps} steps")
                continue
            _, undone = schedule.partial_timesteps(n_steps, section.strength, section.noise_index)
            of_all = "" if section.sampler == "lcm" else f" of {n_steps}"
            found.append(f"{condition} in {len(undone)}{of_all} steps")
        return "; ".join(found)

    denoised = [condition for condition in section.conditions if is_denoised(condition)]
    if denoised and inputs.has_model:
        yield finding_of("denoising", denoise)


# ------------------------------------------------------------------------------------------------ evaluation networks


def builtin_networks(inputs: Inputs) -> Iterator[Finding]:
    """Load the evaluation networks of the protocol builtin."""
    for name in inputs.recipe.evaluate.networks:
        yield finding_of(f"network {name}", lambda name=name: f"{len(load_evaluation_network(name).layers)} layers")  # type: ignore[misc]


def published_networks(inputs: Inputs) -> Iterator[Finding]:
    """Load the evaluation networks of other protocols; without one, a run continues and leaves its scores out."""
    for name in networks_of(inputs.recipe):
        try:
            yield Finding(f"network {name}", f"weights {load_network(name)[1]}")
        except ModelError as error:
            yield Finding(f"network {name}", f"missing, and its scores will be left out: {error}", absent=True)


def networks_of(recipe: Recipe) -> list[str]:
    """List the published networks that the recipe's protocols use."""
    networks = [network for name in recipe.evaluate.protocols for network in PROTOCOLS[name].networks]
    return list(dict.fromkeys(network.architecture for network in networks))


# ---------------------------------------------------------------------------------------------------------- the list


@dataclass(frozen=True)
class Check:
    """One check: its function, the stages that need it, and whether it can refuse a run."""

    find: Callable[[Inputs], Iterator[Finding]]
    stages: frozenset[str]
    refuses: bool = True


def _check(find: Callable[[Inputs], Iterator[Finding]], stages: str = "", *, refuses: bool = True) -> Check:
    return Check(find, frozenset(stages.split()) or ALL, refuses)


ALL = frozenset(("simulate", "extract", "decode", "encode", "reconstruct", "evaluate", "report"))
_DATA = "extract decode encode reconstruct evaluate report"
CHECKS: Sequence[Check] = (
    _check(rois, refuses=False),
    _check(results_folder),
    _check(device),
    _check(files.settings),
    _check(files.files, _DATA),
    _check(held_out, _DATA),
    _check(requirements.captions, "extract"),
    _check(requirements.captioner, "extract"),
    _check(requirements.own_decoder, "decode"),
    _check(requirements.predictions, "decode"),
    _check(requirements.decoding_folds, "decode"),
    _check(requirements.encoding_folds, "encode"),
    _check(requirements.tested, "evaluate"),
    _check(requirements.tested_voxels, "encode"),
    _check(requirements.exports, "encode"),
    _check(model_to_simulate, "simulate"),
    _check(builtin_networks, "evaluate"),
    _check(published_networks, "evaluate", refuses=False),
    _check(model, "simulate extract reconstruct"),
    _check(z, "extract reconstruct"),
    _check(image_embedding, "extract reconstruct"),
    _check(denoising, "reconstruct"),
    _check(requirements.varying, "extract"),
    _check(requirements.cut_captions, refuses=False),
    _check(requirements.duplicates, refuses=False),
    _check(requirements.known_images, refuses=False),
    _check(requirements.labels, refuses=False),
    _check(costs.encoding_features, "extract encode"),
    _check(costs.space, "extract decode encode reconstruct"),
    _check(costs.decoders, refuses=False),
    _check(costs.effort, refuses=False),
)
"""All checks in their order: fast checks and checks of the recipe alone come first."""
