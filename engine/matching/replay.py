"""A function of tensors as a CUDA graph: captured once for each shape, then replayed with one launch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from engine.matching.head import Backbone
from engine.matching.student import Student

_WARM_UPS = 3
_Function = Callable[..., Any]


def replayed_student(student: Student) -> Student:
    """The same student on a GPU, each of its functions replayed."""
    return Student(
        replayed(student.walk), replayed(student.retrace), replayed(student.mixed), replayed(student.several)
    )


def replayed_backbone(backbone: Backbone) -> Backbone:
    """The same backbone on a GPU, each of its functions replayed."""
    return Backbone(replayed(backbone.features), replayed(backbone.retrace), replayed(backbone.back))


def replayed(function: _Function) -> _Function:
    """The same function of tensors (in tuples and lists, too) on a GPU; it must not wait for the device, nor draw.

    What it returns is its caller's own, untouched by later calls.
    """
    captures: dict[Any, Callable[[list[Any]], Any]] = {}

    @functools.wraps(function)
    def call(*inputs: Any) -> Any:
        leaves, structure = tree_flatten(inputs)
        key = (structure, *((leaf.shape, leaf.dtype) for leaf in leaves if isinstance(leaf, Tensor)))
        if key not in captures:
            captures[key] = _captured(function, leaves, structure)
        return captures[key](leaves)

    return call


def _captured(function: _Function, leaves: list[Any], structure: Any) -> Callable[[list[Any]], Any]:
    held = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    inputs = tree_unflatten(held, structure)
    _warm_up(function, inputs)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = function(*inputs)

    def replay(leaves: list[Any]) -> Any:
        for own, given in zip(held, leaves, strict=True):
            if isinstance(own, Tensor):
                own.copy_(given)
        graph.replay()
        return tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, outputs)

    return replay


def _warm_up(function: _Function, inputs: Any) -> None:
    """Lets libraries and compilers set themselves up, which a capture forbids."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(_WARM_UPS):
            function(*inputs)
    torch.cuda.current_stream().wait_stream(aside)
