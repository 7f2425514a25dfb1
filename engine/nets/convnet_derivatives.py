"""The ConvNet's passes by hand: forward, reverse, and both again along a tangent in its weights.

What autograd would do, without what nobody asks for: no graph, images channels-last throughout, a convolution's bias
left out since the norm behind it takes it away again (its derivative is zero), and weights' derivatives only on demand.
`low` is the type of convolutions and products; sums, norms and weights keep theirs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.nets.architectures import ConvNet
from engine.nets.functional import FlatNetwork
from engine.nets.norm_pool import Leaned, NormPool, Passed

_FEW_CHANNELS = 8


class Layer(NamedTuple):
    """A block's weights: convolution (out, in, 3, 3), scale and shift of its norm (out,)."""

    weight: Tensor
    scale: Tensor
    shift: Tensor


class Block(NamedTuple):
    """What a block keeps of its way forward: its input (B, H, W, in) and what its norm keeps."""

    inputs: Tensor
    passed: Passed


class TangentBlock(NamedTuple):
    """What a block keeps along a tangent: the tangent of its input (None: the images have none), and of its norm."""

    d_inputs: Tensor | None
    leaned: Leaned


class Reversed(NamedTuple):
    """in_pooled: the derivative in each block's pooled output, first to last; by_name: in its weights, by parameter
    name, where asked for; images (B, channels, H, W): in the images, where asked for.
    """

    in_pooled: list[Tensor]
    by_name: dict[str, Tensor]
    images: Tensor | None


class ByHand:
    """Passes through a ConvNet at weights theta (P,). Images within are (B, H, W, channels)."""

    def __init__(self, network: FlatNetwork, norm_pool: NormPool, low: torch.dtype | None = None) -> None:
        assert network.architecture is ConvNet
        self._network, self._norm_pool, self._low = network, norm_pool, low

    def layers(self, theta: Tensor) -> list[Layer]:
        """The blocks' weights in theta, the convolutions' as they are computed with."""
        by_name = self._network.unflatten(theta)
        count = sum(name.endswith("conv.weight") for name in by_name)
        names = [f"blocks.{index}" for index in range(count)]
        return [
            Layer(
                self.lower(_channels_last(by_name[f"{name}.conv.weight"])),
                by_name[f"{name}.norm.weight"],
                by_name[f"{name}.norm.bias"],
            )
            for name in names
        ]

    def head(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The classifier's weight (C, F), as it is computed with, and its bias (C,)."""
        weight, bias = self._network.head(theta)
        return self.lower(weight), bias

    def lower(self, x: Tensor) -> Tensor:
        """As convolutions and products take it."""
        return x if self._low is None else x.to(self._low)

    def forward(self, layers: list[Layer], images: Tensor) -> tuple[list[Block], Tensor]:
        """Images (B, channels, H, W) to what each block keeps, and the features (B, F)."""
        x, blocks = self.lower(images.permute(0, 2, 3, 1).contiguous()), []
        for layer in layers:
            passed, pooled = self._norm_pool.forward(_convolve(x, layer.weight), layer.scale, layer.shift)
            blocks.append(Block(x, passed))
            x = pooled
        return blocks, _flat(x)

    def reverse(
        self,
        layers: list[Layer],
        blocks: list[Block],
        in_features: Tensor,
        *,
        weights: bool = False,
        images: bool = False,
    ) -> Reversed:
        """Back from the derivative in the features (B, F), as far down as is asked for."""
        g, in_pooled = _planes(in_features, blocks[-1]), []
        by_name: dict[str, Tensor] = {}
        for index in range(len(layers) - 1, -1, -1):
            layer, (inputs, passed) = layers[index], blocks[index]
            in_pooled.append(g)
            if not (index or weights or images):
                break
            in_z, in_scale, in_shift = self._norm_pool.reverse(passed, layer.scale, layer.shift, g)
            if weights:
                by_name |= _block_gradient(index, _convolution_gradient(in_z, inputs, in_scale), in_scale, in_shift)
            if index or images:
                g = _convolve_back((in_z, layer.weight))
        return Reversed(in_pooled[::-1], by_name, _as_images(g, in_features.dtype) if images else None)

    def tangent(
        self, layers: list[Layer], d_layers: list[Layer], blocks: list[Block]
    ) -> tuple[list[TangentBlock], Tensor]:
        """Along a direction in the weights: what each block keeps, and the tangent of the features (B, F)."""
        d_x: Tensor | None = None
        tangents = []
        for layer, d_layer, block in zip(layers, d_layers, blocks, strict=True):
            d_z = _convolve(block.inputs, d_layer.weight)
            if d_x is not None:
                d_z = d_z + _convolve(d_x, layer.weight)
            leaned, d_pooled = self._norm_pool.tangent(
                block.passed, layer.scale, layer.shift, d_layer.scale, d_layer.shift, d_z
            )
            tangents.append(TangentBlock(d_x, leaned))
            d_x = d_pooled
        assert d_x is not None  # there is a block
        return tangents, _flat(d_x)

    def tangent_reverse(
        self,
        layers: list[Layer],
        d_layers: list[Layer],
        blocks: list[Block],
        tangents: list[TangentBlock],
        in_pooled: list[Tensor],
        d_in_features: Tensor,
        *,
        weights: bool = False,
    ) -> Reversed:
        """The tangents of what `reverse` gives, `in_pooled` excepted, which it gave and is needed here."""
        d_g = _planes(d_in_features, blocks[-1])
        by_name: dict[str, Tensor] = {}
        for index in range(len(layers) - 1, -1, -1):
            layer, d_layer, block, tangent = layers[index], d_layers[index], blocks[index], tangents[index]
            in_z, d_in_z, d_in_scale, d_in_shift = self._norm_pool.tangent_reverse(
                block.passed, tangent.leaned, layer.scale, layer.shift, d_layer.scale, in_pooled[index], d_g
            )
            if weights:
                in_weight = _convolution_gradient(d_in_z, block.inputs, d_in_scale)
                if tangent.d_inputs is not None:
                    in_weight = in_weight + _convolution_gradient(in_z, tangent.d_inputs, d_in_scale)
                by_name |= _block_gradient(index, in_weight, d_in_scale, d_in_shift)
            d_g = _convolve_back((d_in_z, layer.weight), (in_z, d_layer.weight))
        return Reversed([], by_name, _as_images(d_g, layers[0].scale.dtype))


def _block_gradient(index: int, in_weight: Tensor, in_scale: Tensor, in_shift: Tensor) -> dict[str, Tensor]:
    name = f"blocks.{index}"
    return {
        f"{name}.conv.weight": in_weight,
        f"{name}.conv.bias": torch.zeros_like(in_shift),
        f"{name}.norm.weight": in_scale,
        f"{name}.norm.bias": in_shift,
    }


def _as_images(g: Tensor, dtype: torch.dtype) -> Tensor:
    return g.permute(0, 3, 1, 2).to(dtype)


def _convolution_gradient(in_z: Tensor, inputs: Tensor, like: Tensor) -> Tensor:
    """The derivative in a convolution's weight (out, in, 3, 3) from the one in its output, in the type of `like`."""
    weight = inputs.new_empty(in_z.shape[3], inputs.shape[3], 3, 3)
    mask = [False, True, False]
    return _backward(in_z, inputs.permute(0, 3, 1, 2), weight, mask)[1].to(like.dtype)


def _convolve(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x.permute(0, 3, 1, 2), weight, padding=1).permute(0, 2, 3, 1).contiguous()


def _convolve_back(*pairs: tuple[Tensor, Tensor]) -> Tensor:
    """The derivative in the input of a convolution, from the one in its output and its weight; the sum over pairs."""
    (in_z, weight), *others = pairs
    b, h, w, _ = in_z.shape
    if weight.shape[1] < _FEW_CHANNELS and in_z.device.type == "cpu" and in_z.dtype != torch.bfloat16:
        # A library's kernels make sixteen channels of the images' three; a product is done with them in half the time.
        shares = _product(in_z, weight)
        for pair in others:
            shares = shares + _product(*pair)
        return F.fold(shares, (h, w), 3, padding=1).permute(0, 2, 3, 1).contiguous()
    shape_alone, mask = in_z.new_empty(1).expand(b, weight.shape[1], h, w), [True, False, False]
    found = _backward(in_z, shape_alone, weight, mask)[0].permute(0, 2, 3, 1).contiguous()
    return found + _convolve_back(*others) if others else found


def _product(in_z: Tensor, weight: Tensor) -> Tensor:
    """What every output pixel gives each of the nine below it, (B, in * 9, H * W)."""
    return weight.flatten(1).T @ in_z.flatten(1, 2).transpose(1, 2)


def _backward(in_z: Tensor, inputs: Tensor, weight: Tensor, mask: list[bool]) -> tuple[Tensor, ...]:
    one, none = [1, 1], [0, 0]
    return torch.ops.aten.convolution_backward(
        in_z.permute(0, 3, 1, 2), inputs, weight, None, one, one, one, False, none, 1, mask
    )


def _channels_last(weight: Tensor) -> Tensor:
    # Not by memory_format, which vmap does not know.
    return weight.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def _flat(x: Tensor) -> Tensor:
    """Features (B, F) in the order of the network's own flatten, channel by channel."""
    return x.permute(0, 3, 1, 2).flatten(1)


def _planes(features: Tensor, last: Block) -> Tensor:
    b, h, w, c = last.passed.mass.shape
    return features.view(b, c, h, w).permute(0, 2, 3, 1).contiguous()
