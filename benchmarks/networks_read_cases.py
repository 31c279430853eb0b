"""The networks that `networks_read.py` tries, by group."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class MissingPackageError(Exception):
    """What a case needs is not installed."""


@dataclass(frozen=True)
class Case:
    """One network.

    Attributes:
        name: of it.
        make: returns a module and its example (a tuple of tensors, or tensors by name), or a path and None.
        options: of `mho.load`, for files.
        most: integers of a file's inputs stay below it.
    """

    name: str
    make: Callable[[], tuple[Any, Any]]
    options: dict[str, Any] = field(default_factory=dict)
    most: int = 2


def _need(package: str) -> Any:
    if importlib.util.find_spec(package) is None:
        raise MissingPackageError(f"{package} is not installed")
    return importlib.import_module(package)


# -- torchvision ---------------------------------------------------------------------------------------------------

_CLASSIFIERS = """
    alexnet vgg11 vgg16_bn resnet18 resnet50 resnext50_32x4d wide_resnet50_2 squeezenet1_1 densenet121 inception_v3
    googlenet shufflenet_v2_x1_0 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large mnasnet1_0 efficientnet_b0
    efficientnet_v2_s regnet_y_400mf convnext_tiny vit_b_16 swin_t swin_v2_t maxvit_t
"""
_SIZES = {"alexnet": 64, "inception_v3": 96, "vit_b_16": 224, "swin_t": 64, "swin_v2_t": 64, "maxvit_t": 224}


class _Dict(nn.Module):
    """A module whose outputs by name become a tuple."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Any:
        return tuple(self.module(x).values())


class _Detector(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Any:
        return tuple(self.module([x[0]])[0].values())


def _classifier(name: str) -> Case:
    def make() -> tuple[Any, Any]:
        models = _need("torchvision").models
        options = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}
        return models.get_model(name, weights=None, **options), (torch.randn(1, 3, *(_SIZES.get(name, 64),) * 2),)

    return Case(name, make)


def _torchvision(name: str, wrap: Callable[[nn.Module], nn.Module] | None, *shape: int) -> Case:
    def make() -> tuple[Any, Any]:
        models = _need("torchvision").models
        options = {} if wrap is None else {"weights_backbone": None}
        module = models.get_model(name, weights=None, **options)
        return (module if wrap is None else wrap(module)), (torch.randn(*shape),)

    return Case(name, make)


_TORCHVISION = [
    *map(_classifier, _CLASSIFIERS.split()),
    _torchvision("fcn_resnet50", _Dict, 1, 3, 64, 64),
    _torchvision("deeplabv3_mobilenet_v3_large", _Dict, 1, 3, 64, 64),
    _torchvision("lraspp_mobilenet_v3_large", _Dict, 1, 3, 64, 64),
    _torchvision("r3d_18", None, 1, 3, 4, 32, 32),
    _torchvision("r2plus1d_18", None, 1, 3, 4, 32, 32),
    _torchvision("fasterrcnn_mobilenet_v3_large_320_fpn", _Detector, 1, 3, 64, 64),
]

# -- Hugging Face --------------------------------------------------------------------------------------------------

_SMALL = {
    "vocab_size": 99, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 64,
}  # fmt: skip
_GROUPED = {**_SMALL, "num_key_value_heads": 2}
_GPT = {"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
_VISION = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
_SPEECH = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 32,
    "conv_dim": (16, 16), "conv_kernel": (10, 3), "conv_stride": (5, 2), "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "apply_spec_augment": False,
}  # fmt: skip

_DECODERS: dict[str, dict[str, Any]] = {
    "GPT2LMHeadModel": _GPT,
    "GPTNeoForCausalLM": {
        "vocab_size": 99, "hidden_size": 32, "num_layers": 2, "num_heads": 4, "max_position_embeddings": 64,
        "attention_types": [[["global", "local"], 1]], "window_size": 4,
    },
    "GPTNeoXForCausalLM": _SMALL,
    "OPTForCausalLM": {**_SMALL, "ffn_dim": 64, "word_embed_proj_dim": 32},
    "LlamaForCausalLM": _GROUPED,
    "MistralForCausalLM": {**_GROUPED, "sliding_window": 4},
    "Qwen2ForCausalLM": _GROUPED,
    "Qwen3ForCausalLM": {**_GROUPED, "head_dim": 8},
    "GemmaForCausalLM": {**_GROUPED, "head_dim": 8},
    "Gemma2ForCausalLM": {**_GROUPED, "head_dim": 8},
    "PhiForCausalLM": _SMALL,
    "Phi3ForCausalLM": {**_GROUPED, "pad_token_id": 0},
    "FalconForCausalLM": {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    "BloomForCausalLM": {"vocab_size": 99, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "StableLmForCausalLM": _GROUPED,
    "SmolLM3ForCausalLM": {**_GROUPED, "pad_token_id": 0},
}  # fmt: skip
_ENCODERS: dict[str, dict[str, Any]] = {
    "BertModel": _SMALL,
    "DistilBertModel": {"vocab_size": 99, "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4},
    "RobertaModel": _SMALL,
    "AlbertModel": {**_SMALL, "embedding_size": 16},
    "ElectraModel": {**_SMALL, "embedding_size": 16},
    "MPNetModel": _SMALL,
    "MobileBertModel": {**_SMALL, "embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
    "SqueezeBertModel": {**_SMALL, "embedding_size": 32},
    "DebertaV2Model": {**_SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "CLIPTextModel": _SMALL,
    "T5EncoderModel": {
        "attn_implementation": "eager",
        "vocab_size": 99,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 4,
    },
}
_IMAGES: dict[str, dict[str, Any]] = {
    "ViTModel": _VISION,
    "DeiTModel": _VISION,
    "BeitModel": _VISION,
    "Dinov2Model": _VISION,
    "CLIPVisionModel": _VISION,
    "SwinModel": {
        "attn_implementation": "eager",
        "image_size": 32,
        "patch_size": 4,
        "embed_dim": 16,
        "depths": [1, 1],
        "num_heads": [2, 2],
        "window_size": 4,
    },
    "SegformerModel": {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 16, 32], "num_attention_heads": [1, 1, 2, 2]},
    "ConvNextModel": {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 16, 32]},
}
_SOUNDS: dict[str, dict[str, Any]] = {"Wav2Vec2Model": _SPEECH, "HubertModel": _SPEECH}


def _hub(name: str, settings: dict[str, Any], example: Callable[[], dict[str, Tensor]]) -> Case:
    def make() -> tuple[Any, Any]:
        transformers = _need("transformers")
        transformers.logging.set_verbosity_error()
        kind = getattr(transformers, name)
        config = kind.config_class(**{**settings})
        config.use_cache = False
        return kind(config).eval(), example()

    return Case(name, make)


def _ids() -> dict[str, Tensor]:
    return {"input_ids": torch.randint(3, 99, (1, 12))}


def _masked_ids() -> dict[str, Tensor]:
    mask = torch.ones(1, 12, dtype=torch.int64)
    mask[:, 9:] = 0
    return {**_ids(), "attention_mask": mask}


_HUB = [
    *(_hub(name, settings, _ids) for name, settings in _DECODERS.items()),
    *(_hub(name, settings, _masked_ids) for name, settings in _ENCODERS.items()),
    *(_hub(n, settings, lambda: {"pixel_values": torch.randn(1, 3, 32, 32)}) for n, settings in _IMAGES.items()),
    *(_hub(name, settings, lambda: {"input_values": torch.randn(1, 800)}) for name, settings in _SOUNDS.items()),
]

# -- timm ----------------------------------------------------------------------------------------------------------

_TIMM_NAMES = """
    resnet18 resnext26ts seresnext26d_32x4d efficientnet_lite0 efficientnet_b0 mobilenetv3_small_050
    mobilenetv4_conv_small convnext_atto convnextv2_atto vit_tiny_patch16_224 deit_tiny_patch16_224
    swin_tiny_patch4_window7_224 swinv2_cr_tiny_224 mixer_s32_224 resmlp_12_224 gmlp_ti16_224 poolformer_s12
    efficientformer_l1 levit_128s mobilevit_xxs edgenext_xx_small ghostnet_050 regnety_002 repvgg_a0 tinynet_e
    cait_xxs24_224 crossvit_tiny_240 fastvit_t8 eva02_tiny_patch14_224
"""
_ANY_SIZE = ("vit", "deit", "swin", "mixer", "resmlp", "gmlp", "efficientformer", "levit", "cait", "crossvit", "eva")


def _timm(name: str) -> Case:
    def make() -> tuple[Any, Any]:
        model = _need("timm").create_model(name, pretrained=False, num_classes=10)
        size = model.default_cfg["input_size"][-1] if any(word in name for word in _ANY_SIZE) else 64
        return model, (torch.randn(1, 3, size, size),)

    return Case(name, make)


_TIMM = [_timm(name) for name in _TIMM_NAMES.split()]

# -- layers --------------------------------------------------------------------------------------------------------


class _Apply(nn.Module):
    """A function of tensors, with a linear layer before it, so that there is something to compile."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(8, 8), function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.linear(x))


class _First(nn.Module):
    """The first output of a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *x: Tensor) -> Tensor:
        return self.module(*x)[0]


def _layer(name: str, make: Callable[[], nn.Module], *shapes: tuple[int, ...]) -> Case:
    return Case(name, lambda: (make(), tuple(torch.randn(*shape) for shape in shapes)))


def _after_linear(name: str, module: Callable[[], nn.Module]) -> Case:
    return _layer(name, lambda: nn.Sequential(nn.Linear(8, 8), module()), (1, 4, 8))


def _function(name: str, function: Callable[..., Any]) -> Case:
    return _layer(name, lambda: _Apply(function), (1, 4, 8))


def _upsample(mode: str) -> nn.Module:
    return nn.Sequential(nn.Conv2d(8, 4, 1), nn.Upsample(scale_factor=1.5, mode=mode))


_IMAGE = (1, 8, 6, 6)
_ACTIVATIONS = """
    ELU SELU CELU Mish Softplus Softsign PReLU SiLU GELU Hardshrink Hardtanh LogSigmoid Softshrink Tanhshrink GLU
"""
_LAYERS = [
    *(_after_linear(name, getattr(nn, name)) for name in _ACTIVATIONS.split()),
    _layer("conv_transpose1d", lambda: nn.ConvTranspose1d(4, 6, 3, 2, 1, 1), (1, 4, 7)),
    _layer("conv_transpose2d", lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, groups=2), (1, 4, 5, 5)),
    _layer("conv3d", lambda: nn.Conv3d(2, 4, 3, padding=1), (1, 2, 4, 5, 5)),
    _layer("lstm", lambda: _First(nn.LSTM(6, 8, batch_first=True)), (1, 5, 6)),
    _layer("lstm_bidirectional", lambda: _First(nn.LSTM(6, 8, 2, batch_first=True, bidirectional=True)), (1, 5, 6)),
    _layer("gru", lambda: _First(nn.GRU(6, 8, batch_first=True)), (1, 5, 6)),
    _layer("rnn", lambda: _First(nn.RNN(6, 8, batch_first=True)), (1, 5, 6)),
    _layer("lstm_cell", lambda: _First(nn.LSTMCell(6, 8)), (1, 6)),
    _layer("gru_cell", lambda: nn.GRUCell(6, 8), (1, 6)),
    _layer("multihead_attention", lambda: _First(nn.MultiheadAttention(8, 2, batch_first=True)), *[(1, 4, 8)] * 3),
    _layer("encoder_layer", lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (1, 4, 8)),
    _layer("decoder_layer", lambda: nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), (1, 4, 8), (1, 3, 8)),
    _layer("bilinear", lambda: nn.Bilinear(4, 5, 3), (1, 4), (1, 5)),
    Case("embedding", lambda: (nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 8)), (torch.tensor([[1, 5, 8]]),))),
    _layer("group_norm", lambda: nn.Sequential(nn.Conv2d(8, 8, 1), nn.GroupNorm(2, 8)), _IMAGE),
    _layer("instance_norm", lambda: nn.Sequential(nn.Conv2d(8, 8, 1), nn.InstanceNorm2d(8, affine=True)), _IMAGE),
    _layer("instance_norm1d", lambda: nn.Sequential(nn.Conv1d(8, 8, 1), nn.InstanceNorm1d(8)), (1, 8, 6)),
    _layer("batch_norm3d", lambda: nn.Sequential(nn.Conv3d(2, 4, 1), nn.BatchNorm3d(4)), (1, 2, 3, 4, 4)),
    _after_linear("rms_norm", lambda: nn.RMSNorm(8)),
    _layer("local_response_norm", lambda: nn.Sequential(nn.Conv2d(8, 8, 1), nn.LocalResponseNorm(3)), _IMAGE),
    _layer("pixel_shuffle", lambda: nn.Sequential(nn.Conv2d(8, 8, 1), nn.PixelShuffle(2)), _IMAGE),
    _layer("pixel_unshuffle", lambda: nn.Sequential(nn.Conv2d(8, 8, 1), nn.PixelUnshuffle(2)), _IMAGE),
    *(_layer(f"upsample_{mode}", partial(_upsample, mode), _IMAGE) for mode in ("nearest", "bilinear", "bicubic")),
    _layer("reflection_pad", lambda: nn.Sequential(nn.ReflectionPad2d(2), nn.Conv2d(8, 4, 3)), _IMAGE),
    _layer("replication_pad", lambda: nn.Sequential(nn.ReplicationPad2d(1), nn.Conv2d(8, 4, 3)), _IMAGE),
    _layer("circular_pad", lambda: nn.Conv2d(8, 4, 3, padding=1, padding_mode="circular"), _IMAGE),
    _layer("adaptive_avg_pool", lambda: nn.Sequential(nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(3)), _IMAGE),
    _layer("max_pool3d", lambda: nn.Sequential(nn.Conv3d(2, 4, 1), nn.MaxPool3d(2)), (1, 2, 4, 4, 4)),
    _layer("lp_pool", lambda: nn.Sequential(nn.Conv2d(8, 4, 1), nn.LPPool2d(2, 2)), _IMAGE),
    _layer("unfold", lambda: nn.Sequential(nn.Conv2d(8, 4, 1), nn.Unfold(3)), _IMAGE),
    _layer("fold", lambda: nn.Sequential(nn.Linear(16, 16), nn.Fold((5, 5), 2)), (1, 12, 16)),
    _function("cumsum", lambda x: x.cumsum(1)),
    _function("einsum", lambda x: torch.einsum("bij,bkj->bik", x, x)),
    _function("topk", lambda x: x.topk(3).values),
    _function("argmax", lambda x: x.argmax(-1)),
    _function("logsumexp", lambda x: x.logsumexp(-1)),
    _function("norm", lambda x: nn.functional.normalize(x, dim=-1)),
    _function("std", lambda x: x.std(-1)),
]  # fmt: skip

# -- files ---------------------------------------------------------------------------------------------------------


def _file(package: str, pattern: str, most: int = 2, **options: Any) -> Case:
    def make() -> tuple[Any, Any]:
        if (spec := importlib.util.find_spec(package)) is None or not spec.submodule_search_locations:
            raise MissingPackageError(f"{package} is not installed")
        found = sorted(Path(spec.submodule_search_locations[0]).glob(pattern))
        if not found:
            raise MissingPackageError(f"{package} has no {pattern}")
        return str(found[0]), None

    return Case(f"{package}/{pattern.rsplit('/', 1)[-1]}", make, options, most)


_OCR = "rapidocr_onnxruntime"
_FILES = [
    _file(_OCR, "models/ch_PP-OCRv4_det_infer.onnx", input_shape=(3, 64, 64)),
    _file(_OCR, "models/ch_PP-OCRv4_rec_infer.onnx", input_shape=(3, 48, 64)),
    _file(_OCR, "models/ch_ppocr_mobile_v2.0_cls_infer.onnx", input_shape=(3, 48, 192)),
    _file("ddddocr", "common.onnx", input_shape=(1, 64, 64)),
    _file("ddddocr", "common_old.onnx", input_shape=(1, 64, 64)),
    _file("ddddocr", "common_det.onnx"),
    _file("nudenet", "320n.onnx", input_shape=(3, 64, 64)),
    _file("magika", "models/*/model.onnx", most=256),
    _file("silero_vad", "data/silero_vad_openvino_16k.onnx"),
    _file(
        "silero_vad", "data/silero_vad_16k_sequence.onnx", input_shape={"input": (3, 576), "h": (1, 128), "c": (1, 128)}
    ),
    _file("silero_vad", "data/silero_vad_16k_op15.onnx", input_shape={"input": (576,), "state": (2, 1, 128)}),
    _file("silero_vad", "data/silero_vad_half.onnx", input_shape={"input": (576,), "state": (2, 1, 128)}),
]

GROUPS: dict[str, list[Case]] = {
    "torchvision": _TORCHVISION, "hub": _HUB, "timm": _TIMM, "layers": _LAYERS, "files": _FILES,
}  # fmt: skip
