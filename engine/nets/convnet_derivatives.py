"""The ConvNet's forward and backward pass, and the tangents (JVPs) of both, written out instead of left to autograd.

Forward and backward give a gradient; the tangent of backward along a direction v in the weights gives the mixed
derivative d/dx [v . gradient] that matching needs (docs/method.md, section 7). Faster than autograd of autograd:
no graph is kept, images are channels-last throughout, and derivatives in the weights are computed on demand.

The derivative in a convolution's bias is zero and is not computed: the instance norm behind it subtracts it again.
Names: `grad_x` is the derivative of the loss in x, `d_x` the tangent of x along v, z the output of a convolution.
`low_dtype` is the type of convolutions and products; sums, norms and weights keep theirs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.nets.architectures import ConvNet
from engine.nets.functional import FlatNetwork
from engine.nets.norm_pool import NormPool, Saved, SavedTangent

_FEW_CHANNELS = 8


class BlockWeights(NamedTuple):
    """The weights of a block: convolution (out, in, 3, 3), scale and shift of its norm (out,)."""

    convolution: Tensor
    scale: Tensor
    shift: Tensor


class SavedBlock(NamedTuple):
    """What forward saves of a block: its input (B, H, W, in), and what its norm saves."""

    inputs: Tensor
    norm: Saved


class SavedTangentBlock(NamedTuple):
    """What forward_jvp saves of a block: the tangent of its input (None: images have none), and what its norm saves."""

    d_inputs: Tensor | None
    norm: SavedTangent


class Gradients(NamedTuple):
    """Derivatives of the loss: `pooled` in the output of each block, first to last (B, H/2, W/2, out); `weights` by
    parameter name, where asked for (else empty); `images` (B, channels, H, W), where asked for (else None).
    """

    pooled: list[Tensor]
    weights: dict[str, Tensor]
    images: Tensor | None


class ConvNetDerivatives:
    """Passes through a ConvNet, given as functions of weights; inside, images are (B, H, W, channels)."""

    def __init__(self, network: FlatNetwork, norm_pool: NormPool, low_dtype: torch.dtype | None = None) -> None:
        assert network.architecture is ConvNet
        self.network, self._norm_pool, self._low_dtype = network, norm_pool, low_dtype

    def blocks(self, theta: Tensor) -> list[BlockWeights]:
        """The weights of each block in theta (P,), or its tangent in a direction (P,); convolutions in low_dtype."""
        by_name = self.network.unflatten(theta)
        depth = sum(name.endswith("conv.weight") for name in by_name)
        return [
            BlockWeights(
                self.lower(_channels_last(by_name[f"blocks.{index}.conv.weight"])),
                by_name[f"blocks.{index}.norm.weight"],
                by_name[f"blocks.{index}.norm.bias"],
            )
            for index in range(depth)
        ]

    def classifier(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The classifier's weight (C, F) in low_dtype, and its bias (C,)."""
        weight, bias = self.network.classifier_weights(theta)
        return self.lower(weight), bias

    def lower(self, x: Tensor) -> Tensor:
        """x in low_dtype, as convolutions and products take it."""
        return x if self._low_dtype is None else x.to(self._low_dtype)

    def forward(self, blocks: list[BlockWeights], images: Tensor) -> tuple[list[SavedBlock], Tensor]:
        """What each block saves of images (B, channels, H, W), and the features (B, F)."""
        x, saved = self.lower(images.permute(0, 2, 3, 1).contiguous()), []
        for block in blocks:
            norm, pooled = self._norm_pool.forward(_convolve(x, block.convolution), block.scale, block.shift)
            saved.append(SavedBlock(x, norm))
            x = pooled
        return saved, _flatten_features(x)

    def backward(
        self,
        blocks: list[BlockWeights],
        saved: list[SavedBlock],
        grad_features: Tensor,
        *,
        weights: bool = False,
        images: bool = False,
    ) -> Gradients:
        """Derivatives from the one in the features (B, F): in every block's output, and what else is asked for.

        Asked for neither weights nor images, it stops above the first block's norm, which nothing needs then.
        """
        grad, grad_pooled = _unflatten_features(grad_features, saved[-1]), []
        by_name: dict[str, Tensor] = {}
        for index in range(len(blocks) - 1, -1, -1):
            block, (inputs, norm) = blocks[index], saved[index]
            grad_pooled.append(grad)
            if not (index or weights or images):
                break
            grad_z, grad_scale, grad_shift = self._norm_pool.backward(norm, block.scale, block.shift, grad)
            if weights:
                grad_convolution = _convolution_weight_gradient(grad_z, inputs, grad_scale)
                by_name |= _by_parameter_name(index, grad_convolution, grad_scale, grad_shift)
            if index or images:
                grad = _convolution_input_gradient((grad_z, block.convolution))
        return Gradients(grad_pooled[::-1], by_name, _as_images(grad, grad_features.dtype) if images else None)

    def forward_jvp(
        self, blocks: list[BlockWeights], d_blocks: list[BlockWeights], saved: list[SavedBlock]
    ) -> tuple[list[SavedTangentBlock], Tensor]:
        """The tangent of forward along d_blocks in the weights: what each block saves, and d_features (B, F)."""
        d_x: Tensor | None = None
        saved_tangents = []
        for block, d_block, own in zip(blocks, d_blocks, saved, strict=True):
            # The product rule on a convolution; the images themselves do not move, so the first block has one term.
            d_z = _convolve(own.inputs, d_block.convolution)
            if d_x is not None:
                d_z = d_z + _convolve(d_x, block.convolution)
            norm, d_pooled = self._norm_pool.forward_jvp(
                own.norm, block.scale, block.shift, d_block.scale, d_block.shift, d_z
            )
            saved_tangents.append(SavedTangentBlock(d_x, norm))
            d_x = d_pooled
        assert d_x is not None  # there is a block
        return saved_tangents, _flatten_features(d_x)

    def backward_jvp(
        self,
        blocks: list[BlockWeights],
        d_blocks: list[BlockWeights],
        saved: list[SavedBlock],
        saved_tangents: list[SavedTangentBlock],
        grad_pooled: list[Tensor],
        d_grad_features: Tensor,
        *,
        weights: bool = False,
    ) -> Gradients:
        """The tangent of backward: d of the derivatives in images and, where asked for, in weights; `pooled` is empty.

        grad_pooled: `pooled` of `backward` at the same weights.
        """
        d_grad = _unflatten_features(d_grad_features, saved[-1])
        by_name: dict[str, Tensor] = {}
        for index in range(len(blocks) - 1, -1, -1):
            block, d_block, own, tangent = blocks[index], d_blocks[index], saved[index], saved_tangents[index]
            grad_z, d_grad_z, d_grad_scale, d_grad_shift = self._norm_pool.backward_jvp(
                own.norm, tangent.norm, block.scale, block.shift, d_block.scale, grad_pooled[index], d_grad
            )
            if weights:
                d_grad_convolution = _convolution_weight_gradient(d_grad_z, own.inputs, d_grad_scale)
                if tangent.d_inputs is not None:
                    other_term = _convolution_weight_gradient(grad_z, tangent.d_inputs, d_grad_scale)
                    d_grad_convolution = d_grad_convolution + other_term
                by_name |= _by_parameter_name(index, d_grad_convolution, d_grad_scale, d_grad_shift)
            d_grad = _convolution_input_gradient((d_grad_z, block.convolution), (grad_z, d_block.convolution))
        return Gradients([], by_name, _as_images(d_grad, blocks[0].scale.dtype))


def _by_parameter_name(
    index: int, grad_convolution: Tensor, grad_scale: Tensor, grad_shift: Tensor
) -> dict[str, Tensor]:
    name = f"blocks.{index}"
    return {
        f"{name}.conv.weight": grad_convolution,
        f"{name}.conv.bias": torch.zeros_like(grad_shift),
        f"{name}.norm.weight": grad_scale,
        f"{name}.norm.bias": grad_shift,
    }


# ---- Convolutions, 3x3 with padding 1, on channels-last images ----


def _convolve(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x.permute(0, 3, 1, 2), weight, padding=1).permute(0, 2, 3, 1).contiguous()


def _convolution_weight_gradient(grad_z: Tensor, inputs: Tensor, like: Tensor) -> Tensor:
    """The derivative in a convolution's weight (out, in, 3, 3), in the type of `like`."""
    weight = inputs.new_empty(grad_z.shape[3], inputs.shape[3], 3, 3)
    return _convolution_backward(grad_z, inputs.permute(0, 3, 1, 2), weight, [False, True, False])[1].to(like.dtype)


def _convolution_input_gradient(*pairs: tuple[Tensor, Tensor]) -> Tensor:
    """The derivative in a convolution's input (B, H, W, in) from pairs (grad_z, weight); the sum over the pairs."""
    (grad_z, weight), *others = pairs
    b, h, w, _ = grad_z.shape
    if weight.shape[1] < _FEW_CHANNELS and grad_z.device.type == "cpu" and grad_z.dtype != torch.bfloat16:
        # oneDNN pads the three channels of images to sixteen; a matrix product and a fold take half the time.
        columns = _product_columns(grad_z, weight)
        for pair in others:
            columns = columns + _product_columns(*pair)
        return F.fold(columns, (h, w), 3, padding=1).permute(0, 2, 3, 1).contiguous()
    # Of the input aten only needs the shape: an expanded scalar has it without the memory.
    shape_alone, mask = grad_z.new_empty(1).expand(b, weight.shape[1], h, w), [True, False, False]
    grad_x = _convolution_backward(grad_z, shape_alone, weight, mask)[0].permute(0, 2, 3, 1).contiguous()
    return grad_x + _convolution_input_gradient(*others) if others else grad_x


def _product_columns(grad_z: Tensor, weight: Tensor) -> Tensor:
    """What every output pixel sends to each of its nine inputs, (B, in * 9, H * W): the columns that F.fold adds up."""
    return weight.flatten(1).T @ grad_z.flatten(1, 2).transpose(1, 2)


def _convolution_backward(grad_z: Tensor, inputs: Tensor, weight: Tensor, mask: list[bool]) -> tuple[Tensor, ...]:
    # mask: whether the derivatives in input, weight and bias are wanted.
    one, none = [1, 1], [0, 0]
    return torch.ops.aten.convolution_backward(
        grad_z.permute(0, 3, 1, 2), inputs, weight, None, one, one, one, False, none, 1, mask
    )


def _channels_last(weight: Tensor) -> Tensor:
    # Not by memory_format, which vmap does not know.
    return weight.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def _as_images(grad: Tensor, dtype: torch.dtype) -> Tensor:
    return grad.permute(0, 3, 1, 2).to(dtype)


def _flatten_features(x: Tensor) -> Tensor:
    """Features (B, F) in the order of the network's own flatten, channel by channel."""
    return x.permute(0, 3, 1, 2).flatten(1)


def _unflatten_features(features: Tensor, last: SavedBlock) -> Tensor:
    b, h, w, c = last.norm.open_sum.shape
    return features.view(b, c, h, w).permute(0, 2, 3, 1).contiguous()
