"""Image adapters: a U-Net that also attends to tokens of an image embedding (IP-Adapter, arXiv 2308.06721).

An adapter has two parts. The *projection* turns an embedding of an image into tokens of the width of the text
conditioning. To every cross-attention of the U-Net it adds keys and values of these tokens:
``Attention(q, k_text, v_text) + scale * Attention(q, k_image, v_image)``. Nothing else changes, and without tokens the
U-Net computes the same as before. Two projections are supported: one linear layer from a pooled embedding
(``ip-adapter_sd15``, ``ip-adapter_sdxl_vit-h``), and a resampler of hidden states (``ip-adapter-plus_*``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from reseen.errors import ModelError
from reseen.files import check_regular, check_tensors, reading
from reseen.files.reading import shown
from reseen.files.shell import shell_line
from reseen.ldm.image_encoder import CLIP_FILES, ImageEncoder, digest_of, load_builtin_encoder, load_clip_encoder
from reseen.ldm.parts import check_network

if TYPE_CHECKING:
    from torch import Tensor

State = Mapping[str, "Tensor"]
AnyPath = TypeVar("AnyPath", Path, PurePosixPath)
ENCODER_KEY = "image_encoder"
"""Key of an adapter's metadata that names its image encoder; published files have none."""
_BUILTIN = Path(__file__).parent / "builtin" / "image_adapter" / "image_adapter.safetensors"
_PROJECTION, _ATTENTION = "image_proj.", "ip_adapter."
_HEAD = 64  # numbers in a head of the resampler's attention, in all published adapters
_RENAMED = {
    "0.norm1": "ln0",
    "0.norm2": "ln1",
    "0.to_q": "attn.to_q",
    "0.to_out": "attn.to_out.0",
    "1.0": "ff.0",
    "1.1": "ff.1.net.0.proj",
    "1.3": "ff.1.net.2",
}
"""Modules of a layer of the resampler: name in the file -> name in diffusers."""


@dataclass(frozen=True, eq=False)
class ImageAdapter:
    """Image encoder and projection of an IP-Adapter, whose keys and values are in the U-Net.

    Parameters
    ----------
    fingerprint
        SHA-256 of the adapter's file and of its image encoder.
    encoder
        Network that computes an embedding of an image.
    projection
        Network from embeddings ``(n, *encoder.shape)`` to tokens ``(n, n_tokens, dim)``, in single precision.
    n_tokens
        Number of tokens of an image.
    pooled
        Whether the embedding is one vector. An absent image is then an embedding of zeros, as in the training of the
        adapter; for hidden states it is the hidden states of an input of zeros.
    """

    fingerprint: str
    encoder: ImageEncoder
    projection: Any
    n_tokens: int
    pooled: bool

    def to(self, device: str) -> ImageAdapter:
        """Return the adapter with its networks on a device, in single precision, for inference only."""
        networks = [
            network.float().to(device).eval().requires_grad_(False)
            for network in (self.encoder.network, self.projection)
        ]
        return replace(self, encoder=replace(self.encoder, network=networks[0]), projection=networks[1])


@dataclass(frozen=True)
class AdapterFile:
    """Tensors of an adapter's file.

    Parameters
    ----------
    path
        The file.
    projection, attention
        Tensors of the projection, and keys and values of the attentions, without the prefixes of the file.
    fix
        Advice if a tensor is missing or damaged.
    builtin_encoder
        Whether the embedding is that of a built-in network, and not of a CLIP.
    """

    path: Path
    projection: State
    attention: State
    fix: str
    builtin_encoder: bool = False

    @property
    def pooled(self) -> bool:
        """Whether the projection is a linear layer from a pooled embedding, and not a resampler of hidden states."""
        return "latents" not in self.projection

    @property
    def embedding_dim(self) -> int:
        """Width of the embedding: of the pooled vector, or of each hidden state."""
        return int(self.projection["proj.weight" if self.pooled else "proj_in.weight"].shape[1])


def load_adapter(name: str, unet: Any, *, fetch: bool) -> ImageAdapter:
    """Load an image adapter, and add its keys and values to a U-Net, in place.

    Parameters
    ----------
    name
        ``"builtin"``, for the built-in model; the path of a ``.safetensors`` file, whose image encoder is in the folder
        ``image_encoder`` next to it; or a file on the hub, such as
        ``"h94/IP-Adapter:models/ip-adapter_sd15.safetensors"``. A file whose metadata have ``image_encoder = builtin``,
        as ``tools/train_image_adapter.py`` writes it, uses a built-in network.
    unet
        U-Net of diffusers.
    fetch
        Download files of the hub that are not in the local cache. If false, a missing file is an error.

    Raises
    ------
    ModelError
        If a file is missing, damaged, or of another model.
    """
    path, fix = _find(name, fetch=fetch)
    file = read_adapter(path, fix)
    # an adapter of another model is refused here, before a large encoder is read
    projection, n_tokens = make_projection(file, unet.config.cross_attention_dim)
    attach(unet, file, n_tokens)
    if file.builtin_encoder:
        encoder = load_builtin_encoder(file.embedding_dim)
    else:
        encoder = load_clip_encoder(encoder_folder(path), file.embedding_dim, pooled=file.pooled, fix=fix)
    return ImageAdapter(digest_of((path,), encoder.fingerprint), encoder, projection, n_tokens, file.pooled)


def encoder_folder(file: AnyPath) -> AnyPath:
    """Return the folder of the image encoder of an adapter's file, in the layout of ``h94/IP-Adapter``.

    Examples
    --------
    >>> encoder_folder(PurePosixPath("models/ip-adapter_sd15.safetensors"))
    PurePosixPath('models/image_encoder')
    >>> encoder_folder(PurePosixPath("sdxl_models/ip-adapter_sdxl_vit-h.safetensors"))
    PurePosixPath('models/image_encoder')
    """
    # adapters of SDXL for ViT-H share the encoder of the adapters of Stable Diffusion 1.5
    is_shared = file.parent.name == "sdxl_models" and "vit-h" in file.name
    return (file.parent.parent / "models" if is_shared else file.parent) / "image_encoder"


def _find(name: str, *, fetch: bool) -> tuple[Path, str]:
    """Return the path of an adapter's file, and the advice if one of its files is missing or damaged."""
    if name == "builtin":
        return _BUILTIN, "Install reseen again."
    path = Path(name).expanduser()
    repository, _, inside = name.partition(":")
    if path.exists() or not inside or "/" not in repository:
        encoder = shown(encoder_folder(path))
        return path, f"Copy the adapter's file again, and its image encoder ({' and '.join(CLIP_FILES)}) to {encoder}."
    import huggingface_hub

    folder = encoder_folder(PurePosixPath(inside))
    wanted = [inside, *(str(folder / file) for file in CLIP_FILES)]
    command = shell_line("hf", "download", repository, *wanted)
    try:
        found = [huggingface_hub.hf_hub_download(repository, file, local_files_only=not fetch) for file in wanted]
    except Exception as error:  # the hub's client raises a dozen types, from a wrong name to a lost connection
        places = "the hub or its local cache" if fetch else "the hub's local cache"
        raise ModelError(
            f"the image adapter {name} cannot be loaded from {places} ({type(error).__name__}). With a network "
            f"connection, run `{command}`, or use the path of a local copy.",
            where="model.image_adapter",
            found=name,
        ) from error
    return Path(found[0]), f"With a network connection, run `{command}`."


def read_adapter(path: Path, fix: str) -> AdapterFile:
    """Read the file of an adapter.

    Parameters
    ----------
    path
        A ``.safetensors`` file.
    fix
        Advice if it is damaged.

    Raises
    ------
    ModelError
        If the file is missing or damaged, is a pickle, or is no adapter of a supported type.
    """
    import safetensors

    if path.suffix.lower() != ".safetensors":
        raise ModelError(
            f"{shown(path)} is not a safetensors file; reseen reads no pickles. Use the .safetensors file of the same "
            "adapter.",
            where=path,
            expected=".safetensors",
            found=path.suffix,
        )
    check_regular(path, ModelError)
    check_tensors(path, ModelError, fix)
    with reading(path, ModelError, fix):
        opened: Any = safetensors.safe_open(path, framework="pt")
        with opened as content:
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (it is no mapping)
            metadata = content.metadata() or {}
    other = sorted(name for name in tensors if not name.startswith((_PROJECTION, _ATTENTION)))
    own: list[dict[str, Any]] = []
    for part in (_PROJECTION, _ATTENTION):
        names = [name for name in tensors if name.startswith(part)]
        own.append({name.removeprefix(part): tensors[name].float() for name in names})
    # the matrices from which all sizes are read, and their number of axes
    sizes = {"latents": 3, "proj_in.weight": 2} if "latents" in own[0] else {"proj.weight": 2, "norm.weight": 1}
    is_known = all(name in own[0] and own[0][name].ndim == n_axes for name, n_axes in sizes.items())
    if other or not is_known or not own[1] or not all(tensor.numel() for tensor in tensors.values()):
        raise ModelError(
            f"{shown(path)} is no image adapter that reseen reads: an IP-Adapter for one pooled embedding, or "
            "IP-Adapter Plus. FaceID and full-face adapters are not supported.",
            where=path,
            expected=(_PROJECTION, _ATTENTION),
            found=other or sorted(tensors),
        )
    return AdapterFile(path, own[0], own[1], fix, metadata.get(ENCODER_KEY) == "builtin")


def make_projection(file: AdapterFile, dim: int) -> tuple[Any, int]:
    """Return the projection of an adapter, in single precision, and its number of tokens.

    Parameters
    ----------
    file
        From `read_adapter`.
    dim
        Width of the model's text conditioning.

    Raises
    ------
    ModelError
        If the tokens have another width, or a tensor is missing, unexpected, of another shape or not finite.
    """
    width = _token_width(file)
    if width != dim:
        raise ModelError(
            f"{shown(file.path)} makes tokens of width {width}, and the model needs {dim}: it is an adapter of another "
            "model. Use the adapter of your model (ip-adapter_sd15 for Stable Diffusion 1.x).",
            where=file.path,
            expected=dim,
            found=width,
        )
    return _pooled_projection(file, dim) if file.pooled else _resampler(file, dim)


def _token_width(file: AdapterFile) -> int:
    norm = file.projection.get("norm.weight" if file.pooled else "norm_out.weight")
    return 0 if norm is None else norm.numel()


def _pooled_projection(file: AdapterFile, dim: int) -> tuple[Any, int]:
    import torch
    from diffusers.models.embeddings import ImageProjection

    n_tokens = len(file.projection["proj.weight"]) // dim
    with torch.device("meta"):
        projection = ImageProjection(file.embedding_dim, dim, n_tokens)
    state = {_renamed_start(name, "proj.", "image_embeds."): tensor for name, tensor in file.projection.items()}
    _fill(projection, state, "projection", file)
    return projection, n_tokens


def _resampler(file: AdapterFile, dim: int) -> tuple[Any, int]:
    import torch
    from diffusers.models.embeddings import IPAdapterPlusImageProjection

    state = _resampler_state(file.projection)
    _, n_tokens, hidden = file.projection["latents"].shape
    depth = len({name.split(".")[1] for name in state if name.startswith("layers.")})
    first = {part: file.projection.get(f"layers.0.{part}.weight") for part in ("0.to_q", "1.1")}
    n_heads, inner = (0 if tensor is None else len(tensor) for tensor in first.values())
    with torch.device("meta"), reading(file.path, ModelError, file.fix):
        projection = IPAdapterPlusImageProjection(
            embed_dims=file.embedding_dim,
            output_dims=dim,
            hidden_dims=hidden,
            depth=depth,
            dim_head=_HEAD,
            heads=max(n_heads // _HEAD, 1),
            num_queries=n_tokens,
            ffn_ratio=max(inner, 1) / hidden,
        )
    _fill(projection, state, "projection", file)
    return projection, n_tokens


def _resampler_state(tensors: State) -> dict[str, Tensor]:
    """Return the tensors of a resampler under the names of diffusers."""
    state: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        layers, _, rest = name.partition(".")
        number, _, inside = rest.partition(".")
        module, _, kind = inside.rpartition(".")
        start = f"layers.{number}"
        if layers == "layers" and module == "0.to_kv":
            # keys and values are one matrix in the file
            keys, values = tensor.chunk(2) if len(tensor) > 1 else (tensor, tensor)
            state |= {f"{start}.attn.to_k.{kind}": keys, f"{start}.attn.to_v.{kind}": values}
        elif layers == "layers" and module in _RENAMED:
            state[f"{start}.{_RENAMED[module]}.{kind}"] = tensor
        else:
            state[name] = tensor
    return state


def attach(unet: Any, file: AdapterFile, n_tokens: int) -> None:
    """Add the keys and values of an adapter to the cross-attentions of a U-Net, in place.

    The file numbers the cross-attentions 1, 3, 5 ... in the order of ``unet.attn_processors``: the blocks down, the
    blocks up, then the middle block, which is not the order of execution.

    Raises
    ------
    ModelError
        If a tensor is missing, unexpected, of another shape or not finite.
    """
    import torch
    from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0

    make_processor: Any = IPAdapterAttnProcessor2_0
    processors = dict(unet.attn_processors)
    crossed = [name for name in processors if name.endswith("attn2.processor")]
    added = torch.nn.ModuleDict()
    for i, name in enumerate(crossed):
        attention = unet.get_submodule(name.removesuffix(".processor"))
        dim = attention.to_k.in_features
        with torch.device("meta"):
            processors[name] = make_processor(attention.to_k.out_features, dim, num_tokens=(n_tokens,), scale=[1.0])
        added[str(2 * i + 1)] = processors[name]
    # a processor can serve several adapters, and lists their matrices: ours is the first
    state = {
        name.replace(".to_k_ip.", ".to_k_ip.0.").replace(".to_v_ip.", ".to_v_ip.0."): tensor
        for name, tensor in file.attention.items()
    }
    _fill(added, state, "attentions", file)
    unet.set_attn_processor(processors)


def set_image_scale(unet: Any, scale: float) -> None:
    """Set the weight of the attention to the image tokens; at 0 it is not computed."""
    from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0

    for processor in unet.attn_processors.values():
        if isinstance(processor, IPAdapterAttnProcessor2_0):
            processor.scale = [scale]


def _fill(network: Any, state: State, part: str, file: AdapterFile) -> None:
    """Load tensors into a network; all must be there, fit and be finite, and none may be left over."""
    expected = network.state_dict()
    for name, tensor in state.items():
        if name in expected and tensor.shape != expected[name].shape:
            shape, wanted = tuple(tensor.shape), tuple(expected[name].shape)
            raise ModelError(
                f"{shown(file.path)}: {shown(name)} of the {part} has shape {shape}; expected {wanted}. It is damaged, "
                "or an adapter of another model.",
                where=file.path,
                expected=wanted,
                found=shape,
            )
    missing, unexpected = network.load_state_dict(state, strict=False, assign=True)
    check_network(f"{part} of the image adapter", network, missing, unexpected, file.path, file.fix)


def _renamed_start(name: str, start: str, new: str) -> str:
    return new + name.removeprefix(start) if name.startswith(start) else name
