"""Functions of tensors as CUDA graphs: captured once for each shape, then replayed with one launch."""

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
class Replayer:
    """Makes functions of tensors (in tuples and lists, too) replayed ones, whose captures share their memory.

    Such a function must neither wait for the device nor draw random numbers. What it returns is its caller's own,
    untouched by later calls. What cannot be captured is called as it is, and `told` why.
    """

    told: Callable[[str], None]
    pool: Any = field(default_factory=torch.cuda.graph_pool_handle)

    def replayed(self, function: _Function) -> _Function:
        """The same function, captured at its first call for each shape of its tensors."""
        captures: dict[Any, _Function] = {}

        def call(*inputs: Any) -> Any:
            leaves, structure = tree_flatten(inputs)
            key = (structure, *((leaf.shape, leaf.dtype) for leaf in leaves if isinstance(leaf, Tensor)))
            if key not in captures:
                captures[key] = self._captured(function, leaves, structure)
            return captures[key](*inputs)

        return call

    def _captured(self, function: _Function, leaves: list[Any], structure: Any) -> _Function:
        held = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        inputs = tree_unflatten(held, structure)
        _warm_up(function, inputs)
        graph = torch.cuda.CUDAGraph()
        try:
            # The outer stream, since a capture that fails at its end leaves its own stream the current one.
            with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph, pool=self.pool):
                outputs = function(*inputs)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.told(str(error).strip().splitlines()[0][:200])
            return function

        own, found = _tensors(held), _tensors(tree_leaves(outputs))

        def replay(*inputs: Any) -> Any:
            # A tape is twenty tensors: copied one by one they would be as many launches.
            torch._foreach_copy_(own, _tensors(tree_leaves(inputs)))
            graph.replay()
            copies = [torch.empty_like(leaf) for leaf in found]
            torch._foreach_copy_(copies, found)
            rest = iter(copies)
            return tree_map(lambda leaf: next(rest) if isinstance(leaf, Tensor) else leaf, outputs)

        return replay


def _tensors(leaves: list[Any]) -> list[Tensor]:
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _warm_up(function: _Function, inputs: Any) -> None:
    """Lets libraries and compilers set themselves up, which a capture forbids."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(_WARM_UPS):
            function(*inputs)
    torch.cuda.current_stream().wait_stream(aside)
