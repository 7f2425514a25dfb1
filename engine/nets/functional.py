"""A network as a function of one flat weight vector theta (P,), backbone first and classifier last.

Trajectory matching measures distances between weights and moves them along gradients: with one vector instead of named
parameters these are single operations, several networks are a matrix (G, P), and an epoch of an expert is a row.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call

from engine.run.fields import Precision

Forward = Callable[[Tensor, Tensor], Tensor]
"""A forward pass: logits (B, C), or features (B, F), at weights (P,) of images (B, channels, H, W)."""


def split_at_classifier(net: nn.Module) -> tuple[list[str], list[str]]:
    """Parameter names of the backbone and of the classifier (weight, then bias)."""
    names = [name for name, _ in net.named_parameters()]
    classifier = [name for name in names if name.startswith("classifier.")]
    return [name for name in names if name not in classifier], classifier


class FlatNetwork:
    """The architecture of `module` without its weights: logits = network(theta, x), theta of shape (P,).

    theta[backbone] and theta[classifier] are its two parts, as slices; the classifier is its weight (C, F), flattened,
    and then its bias (C,). theta[everything] is the whole, for code that takes any of the three.
    """

    def __init__(self, module: nn.Module) -> None:
        backbone, classifier = split_at_classifier(module)
        parameters = dict(module.named_parameters())
        self.architecture, self._module = type(module), module
        self._features = _Features(module)
        self._names = backbone + classifier
        self._shapes = [parameters[name].shape for name in self._names]
        self._sizes = [shape.numel() for shape in self._shapes]
        self.num_parameters, boundary = sum(self._sizes), sum(self._sizes[: len(backbone)])
        self.num_classes = parameters[classifier[-1]].shape[0]
        self.everything, self.backbone = slice(0, self.num_parameters), slice(0, boundary)
        self.classifier = slice(boundary, self.num_parameters)

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter by its name, in the order of theta."""
        return {name: tuple(shape) for name, shape in zip(self._names, self._shapes, strict=True)}

    def flatten(self, module: nn.Module) -> Tensor:
        """The weights of a module of this architecture as a new vector (P,)."""
        parameters = dict(module.named_parameters())
        return self.join({name: parameters[name].detach() for name in self._names})

    def activations(self, image: torch.Size) -> int:
        """How many numbers all convolutions together put out for one image (channels, H, W)."""
        outputs: list[int] = []
        # On the meta device nothing is computed: only shapes go through the network.
        only_shapes = copy.deepcopy(self._module).to("meta", torch.float32)
        for layer in only_shapes.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(lambda layer, inputs, output: outputs.append(output.numel()))
        only_shapes(torch.empty(1, *image, device="meta", dtype=torch.float32))
        return sum(outputs)

    def join(self, by_name: dict[str, Tensor]) -> Tensor:
        """One vector (P,) from a tensor for each parameter name, in the order of theta."""
        return torch.cat([by_name[name].flatten() for name in self._names])

    def unflatten(self, theta: Tensor) -> dict[str, Tensor]:
        """Views of theta (P,) under the module's parameter names."""
        pieces = zip(self._names, theta.split(self._sizes), self._shapes, strict=True)
        return {name: piece.view(shape) for name, piece, shape in pieces}

    def with_weights(self, theta: Tensor) -> nn.Module:
        """A module of this architecture with the weights theta (P,), on the CPU."""
        module = copy.deepcopy(self._module).cpu()
        module.load_state_dict(self.unflatten(theta.detach().cpu()))
        return module

    def __call__(self, theta: Tensor, x: Tensor) -> Tensor:
        """Logits (B, C) of images x (B, channels, H, W) at weights theta (P,)."""
        logits: Tensor = functional_call(self._module, self.unflatten(theta), (x,))
        return logits

    def features(self, theta: Tensor, x: Tensor) -> Tensor:
        """What the classifier sees, (B, F), of images x at weights theta (only its backbone matters)."""
        weights = {f"module.{name}": value for name, value in self.unflatten(theta).items()}
        features: Tensor = functional_call(self._features, weights, (x,))
        return features

    def with_layer_inputs(self, theta: Tensor, x: Tensor) -> tuple[Tensor, list[tuple[nn.Module, Tensor]]]:
        """Logits (B, C), and each convolution and norm with what it was given, (B, channels, H, W), in their order."""
        inputs: list[tuple[nn.Module, Tensor]] = []
        layers = [layer for layer in self._module.modules() if isinstance(layer, nn.Conv2d | nn.GroupNorm)]
        hooks = [layer.register_forward_pre_hook(lambda own, given: inputs.append((own, given[0]))) for layer in layers]
        try:
            return self(theta, x), inputs
        finally:
            for hook in hooks:
                hook.remove()

    def classifier_weights(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The classifier's weight (C, F) and bias (C,) in theta (P,), as views."""
        return self.split_classifier(theta[self.classifier])

    def split_classifier(self, classifier: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (C, F) and bias (C,) of a flat classifier (C * F + C,), as views."""
        return classifier[: -self.num_classes].view(self.num_classes, -1), classifier[-self.num_classes :]

    def classifier_norms(self, theta: Tensor) -> list[float]:
        """The length of each class's row of the classifier (C,); longer for head classes if an expert is imbalanced."""
        norms: list[float] = self.classifier_weights(theta)[0].norm(dim=1).tolist()
        return norms


class _Features(nn.Module):
    """The module with `features` as its forward, since functional_call only calls forward."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.module.features(x)  # type: ignore[operator]
        return features


# ---- Precision of products and convolutions; weights are float32 in every one ----


def in_precision(forward: Forward, precision: Precision, device: torch.device) -> Forward:
    """The forward pass, with products and convolutions of bfloat16 if that is the precision.

    Its result has the type of theta: losses and sums over a batch stay float32.
    """
    if precision != "bf16":
        return forward

    def in_bfloat16(theta: Tensor, images: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            return forward(theta, images).to(theta.dtype)

    return in_bfloat16


@contextlib.contextmanager
def matmul_precision(precision: Precision, device: torch.device) -> Iterator[None]:
    """A context in which float32 products and convolutions on a GPU use TF32, or, for `float32`, do not."""
    if device.type != "cuda":  # a CPU has no TF32
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
