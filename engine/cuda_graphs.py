"""Functions of tensors as CUDA graphs: captured at the first call for each shape, then replayed with one launch.

For functions of many small kernels, whose launches take longer than their work. Why a graph holds one gradient and not
a whole inner loop: docs/decisions/0007.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

_WARM_UPS = 3
_Function = Callable[..., Any]


@dataclass(frozen=True)
class CudaGraphs:
    """Makes replayed functions, whose graphs share one memory pool. `warn` gets the reason where capturing fails."""

    warn: Callable[[str], None]
    pool: Any = field(default_factory=torch.cuda.graph_pool_handle)

    def replayed(self, function: _Function) -> _Function:
        """The same function of tensors (also in tuples and lists), captured once for each shape of its inputs.

        It must neither wait for the device nor draw random numbers. What it returns belongs to the caller: later calls
        do not overwrite it. A function that cannot be captured is called as it is; torch.OutOfMemoryError is raised.
        """
        captures: dict[Any, _Function] = {}

        def call(*inputs: Any) -> Any:
            leaves, structure = tree_flatten(inputs)
            key = (structure, *((leaf.shape, leaf.dtype) for leaf in leaves if isinstance(leaf, Tensor)))
            if key not in captures:
                captures[key] = self._captured(function, leaves, structure)
            return captures[key](*inputs)

        return call

    def _captured(self, function: _Function, leaves: list[Any], structure: Any) -> _Function:
        # A graph reads and writes fixed addresses: it gets inputs of its own, into which each call copies.
        own_leaves = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        own_inputs = tree_unflatten(own_leaves, structure)
        _warm_up(function, own_inputs)
        graph = torch.cuda.CUDAGraph()
        try:
            # The outer stream context, since a capture that fails at its end leaves its own stream the current one.
            with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph, pool=self.pool):
                outputs = function(*own_inputs)
        except torch.OutOfMemoryError:
            raise  # also a RuntimeError, but the caller can do something about it: fewer images at a time
        except RuntimeError as error:
            self.warn(str(error).strip().splitlines()[0][:200])
            return function

        own_inputs_flat, own_outputs_flat = _tensors(own_leaves), _tensors(tree_leaves(outputs))

        def replay(*inputs: Any) -> Any:
            # All tensors in one launch each way: saved activations are twenty tensors.
            torch._foreach_copy_(own_inputs_flat, _tensors(tree_leaves(inputs)))
            graph.replay()
            copies = [torch.empty_like(output) for output in own_outputs_flat]
            torch._foreach_copy_(copies, own_outputs_flat)
            remaining = iter(copies)
            return tree_map(lambda leaf: next(remaining) if isinstance(leaf, Tensor) else leaf, outputs)

        return replay


def _tensors(leaves: list[Any]) -> list[Tensor]:
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _warm_up(function: _Function, inputs: Any) -> None:
    """Calls the function a few times: libraries and compilers set themselves up, which a capture forbids."""
    side_stream = torch.cuda.Stream()
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):
        for _ in range(_WARM_UPS):
            function(*inputs)
    torch.cuda.current_stream().wait_stream(side_stream)
