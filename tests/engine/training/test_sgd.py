"""A training step in every form against the straightforward one: nn.Module, torch.optim.SGD, backward()."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from engine.losses import CrossEntropy, TeacherLoss
from engine.nets import build_network
from engine.nets.functional import FlatNetwork, matmul_precision
from engine.nets.norm_pool_cpp import why_not_build
from engine.run.events import Warned
from engine.training import gradients
from engine.training.gradients import CROSS_ENTROPY, classifier_gradient, training_gradient
from engine.training.sgd import AdamW, Gradient, Gsam, Sgd, Step, TrainingState, train_epoch

CPU = torch.device("cpu")
GSAM = Gsam(rho=0.05, alpha=0.3)
SGD = Sgd(momentum=0.9, weight_decay=5e-3)
NETWORKS, STEPS, BATCH, RATE = 3, 5, 6, 0.05


def module(seed: int, dtype: torch.dtype) -> nn.Module:
    return build_network("convnet", channels=2, classes=4, image_size=8, width=5, depth=2, seed=seed).to(dtype)


def batches(dtype: torch.dtype, hard: bool) -> list[tuple[torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(STEPS, NETWORKS, BATCH, 2, 8, 8, generator=draw).to(dtype)
    logits = torch.randn(STEPS, NETWORKS, BATCH, 4, generator=draw).to(dtype)
    targets = logits.argmax(-1) if hard else logits.softmax(-1)
    return list(zip(images, targets, strict=True))


def plainly(net: nn.Module, steps, gsam: bool) -> torch.Tensor:
    """One network trained as one would write it down: GSAM of Zhuang et al. on top of SGD, parameter by parameter."""
    optimizer = torch.optim.SGD(net.parameters(), RATE, SGD.momentum, weight_decay=SGD.weight_decay)
    parameters = list(net.parameters())
    for images, targets in steps:
        gradients = torch.autograd.grad(F.cross_entropy(net(images), targets), parameters)
        if gsam:
            sharp = copy.deepcopy(net)
            length = torch.cat([(p * g).flatten() for p, g in zip(parameters, gradients, strict=True)]).norm()
            with torch.no_grad():
                for p, g in zip(sharp.parameters(), gradients, strict=True):
                    p += GSAM.rho * p**2 * g / length
            perturbed = torch.autograd.grad(F.cross_entropy(sharp(images), targets), list(sharp.parameters()))
            inner = sum((g * q).sum() for g, q in zip(gradients, perturbed, strict=True))
            square = sum((q**2).sum() for q in perturbed)
            gradients = [q - GSAM.alpha * (g - inner / square * q) for g, q in zip(gradients, perturbed, strict=True)]
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g
        optimizer.step()
    return FlatNetwork(net).flatten(net)


def trained(make, dtype: torch.dtype, hard: bool, gsam: bool, members=range(NETWORKS)) -> torch.Tensor:
    nets = [module(seed, dtype) for seed in members]
    network = FlatNetwork(nets[0])
    state = TrainingState.started([network.flatten(net) for net in nets], [RATE] * len(nets))
    step = Step(state, make(network), SGD, GSAM if gsam else None)
    chosen = list(members)
    train_epoch(step, [(images[chosen], targets[chosen]) for images, targets in batches(dtype, hard)])
    return state.theta


def looped(network, loss=CROSS_ENTROPY) -> Gradient:
    return training_gradient(network, 1, CPU, compiled=False, loss=loss)


def vectorized(network, loss=CROSS_ENTROPY) -> Gradient:
    return training_gradient(network, NETWORKS, CPU, compiled=False, loss=loss)


def in_cpp(network, loss=CROSS_ENTROPY) -> Gradient:
    if reason := why_not_build():
        pytest.skip(f"nothing can be compiled here: {reason}")
    return training_gradient(network, 1, CPU, compiled=True, loss=loss)


def analytic_vectorized(network, loss=CROSS_ENTROPY) -> Gradient:
    return training_gradient(network, NETWORKS, CPU, compiled=True, loss=loss)


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("make", [looped, vectorized, in_cpp, analytic_vectorized])
@pytest.mark.parametrize("gsam", [True, False])
@pytest.mark.parametrize("hard", [True, False])
def test_several_steps_with_every_gradient_equal_the_straightforward_loop(make, gsam, hard):
    for dtype, bound in ((torch.float64, 1e-10), (torch.float32, 1e-4)):
        steps = batches(dtype, hard)
        expected = torch.stack(
            [plainly(module(n, dtype), [(x[n], y[n]) for x, y in steps], gsam) for n in range(NETWORKS)]
        )
        assert difference(trained(make, dtype, hard, gsam), expected) < bound


@pytest.mark.parametrize("make", [looped, vectorized, in_cpp, analytic_vectorized])
def test_the_gradient_to_a_teachers_logits_equals_autograd(make):
    draw = torch.Generator().manual_seed(1)
    images = torch.randn(NETWORKS, BATCH, 2, 8, 8, generator=draw, dtype=torch.float64)
    wanted = torch.randn(NETWORKS, BATCH, 4, generator=draw, dtype=torch.float64)
    classes = torch.rand(NETWORKS, BATCH, 4, generator=draw, dtype=torch.float64).softmax(-1)
    nets = [module(seed, torch.float64) for seed in range(NETWORKS)]
    network = FlatNetwork(nets[0])
    theta = torch.stack([network.flatten(net) for net in nets])
    losses, gradient = make(network, TeacherLoss(0.3))(theta, images, torch.cat([wanted, classes], dim=-1))
    for n, net in enumerate(nets):
        logits = net(images[n])
        cross_entropy = -(classes[n] * logits.log_softmax(1)).sum() / BATCH
        loss = (logits - wanted[n]).square().sum() / (BATCH * 4) + 0.3 * cross_entropy
        names, parameters = zip(*net.named_parameters(), strict=True)
        expected = network.join(dict(zip(names, torch.autograd.grad(loss, parameters), strict=True)))
        assert losses[n].item() == pytest.approx(loss.item(), rel=1e-12)
        assert difference(gradient[n], expected) < 1e-10


@pytest.mark.parametrize("loss", [CrossEntropy(), TeacherLoss(0.3)])
def test_the_derivative_of_a_loss_in_closed_form_is_that_of_autograd(loss):
    draw = torch.Generator().manual_seed(2)
    logits = torch.randn(BATCH, 4, generator=draw, dtype=torch.float64, requires_grad=True)
    targets = torch.rand(BATCH, 4 if isinstance(loss, CrossEntropy) else 8, generator=draw, dtype=torch.float64)
    targets[:, -4:] /= targets[:, -4:].sum(1, keepdim=True)
    plain = loss(logits, targets)
    value, derivative = loss.with_derivative(logits.detach(), targets)
    assert value.item() == pytest.approx(plain.item(), rel=1e-12)
    assert difference(derivative, torch.autograd.grad(plain, logits)[0]) < 1e-12


def test_adamw_is_torchs_own_for_each_network_at_its_rate():
    draw = torch.Generator().manual_seed(0)
    start = torch.randn(2, 7, generator=draw, dtype=torch.float64)
    slopes = torch.randn(20, 2, 7, generator=draw, dtype=torch.float64)
    state, optimizer = TrainingState.started(list(start), [1e-2, 3e-3]), AdamW(weight_decay=0.1)
    references = [row.clone().requires_grad_() for row in start]
    by_torch = [
        torch.optim.AdamW([row], rate, weight_decay=0.1) for row, rate in zip(references, (1e-2, 3e-3), strict=True)
    ]
    for number, slope in enumerate(slopes):
        optimizer.update(state, slope)
        for row, own, reference in zip(references, slope, by_torch, strict=True):
            row.grad = own
            reference.step()
        if number == 10:
            state.rate.mul_(0.5)
            for reference in by_torch:
                reference.param_groups[0]["lr"] *= 0.5
    assert difference(state.theta, torch.stack([row.detach() for row in references])) < 1e-12


@pytest.mark.cuda
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("group", [1, NETWORKS])
def test_steps_replayed_on_a_gpu_equal_those_of_a_cpu(compiled, group):
    cuda = torch.device("cuda")
    with matmul_precision("float32", cuda):
        expected = trained(looped, torch.float64, True, True).to(cuda)
        nets = [module(seed, torch.float64) for seed in range(NETWORKS)]
        network = FlatNetwork(nets[0])
        gradient = training_gradient(network, group, cuda, compiled)
        for first in range(0, NETWORKS, group):
            members = list(range(first, first + group))
            weights = [network.flatten(nets[member]).to(cuda) for member in members]
            state = TrainingState.started(weights, [RATE] * group)
            shown = [(x[members].to(cuda), y[members].to(cuda)) for x, y in batches(torch.float64, True)]
            train_epoch(Step(state, gradient, SGD, GSAM), shown)
            assert difference(state.theta, expected[members]) < 1e-9


@pytest.mark.parametrize("compiled", [False, True])
def test_a_training_step_that_cannot_be_captured_gives_a_warning(compiled, monkeypatch):
    """A GPU that refuses every capture, made up."""

    class Refusing:
        def __init__(self, warn) -> None:
            self.warn = warn

        def replayed(self, function):
            def call(*inputs):
                self.warn("operation not permitted when stream is capturing")
                return function(*inputs)

            return call

    monkeypatch.setattr(gradients, "CudaGraphs", Refusing)
    monkeypatch.setattr(gradients, "compiled_norm_pool", gradients.eager_norm_pool)
    cuda, events, net = torch.device("cuda"), [], module(0, torch.float64)
    network, (images, targets) = FlatNetwork(net), batches(torch.float64, True)[0]
    gradient = training_gradient(network, NETWORKS, cuda, compiled, emit=events.append)
    gradient(network.flatten(net).repeat(NETWORKS, 1), images, targets)
    classify = classifier_gradient(network, cuda, events.append)
    theta = network.flatten(net)[None]
    features = network.features(theta[0], images[0])
    classify(theta[:, network.classifier], features[None], targets[:1])
    assert [type(event) for event in events] == [Warned] * 2
    assert all("not permitted" in event.message for event in events)


def test_in_bfloat16_the_gradient_points_the_same_way():
    net = module(0, torch.float32)
    network, (images, targets) = FlatNetwork(net), batches(torch.float32, True)[0]
    theta = network.flatten(net)[None]
    whole = looped(network)(theta, images[:1], targets[:1])[1][0]
    for compiled in (False, why_not_build() is None):
        low = training_gradient(network, 1, CPU, compiled, "bf16")(theta, images[:1], targets[:1])[1][0]
        assert low.dtype == torch.float32
        assert 0.98 < torch.cosine_similarity(low, whole, dim=0) < 1 - 1e-9


@pytest.mark.parametrize("make", [looped, vectorized, analytic_vectorized])
def test_a_network_becomes_the_same_alone_and_in_a_group(make):
    together = trained(make, torch.float64, True, True)
    for member in range(NETWORKS):
        assert difference(trained(make, torch.float64, True, True, [member])[0], together[member]) < 1e-12


def test_each_network_has_a_rate_of_its_own_and_its_own_mean_loss():
    weights = [torch.tensor([3.0]), torch.tensor([3.0])]
    state = TrainingState.started(weights, [0.5, 0.1])

    def gradient(theta, images, targets):
        return images[:, 0] * theta[:, 0], images[:, :1]

    shown = [(torch.full((2, 1), scale), torch.zeros(2, 1)) for scale in (1.0, 2.0)]
    losses = train_epoch(Step(state, gradient, Sgd(0.0, 0.0)), shown)
    assert torch.allclose(state.theta[:, 0], torch.tensor([3 - 0.5 * 3, 3 - 0.1 * 3]))
    assert losses == pytest.approx([(3 + 2 * 2.5) / 2, (3 + 2 * 2.9) / 2])


def test_gsam_on_a_quadratic_equals_its_closed_form():
    theta, curvature = torch.tensor([[1.0, -2.0]], dtype=torch.float64), torch.tensor([3.0, 0.5], dtype=torch.float64)

    def gradient_at(weights):
        return (curvature * weights**2).sum(1) / 2, curvature * weights

    _, gradient = Gsam(rho=0.01, alpha=0.3).gradient(theta, gradient_at)
    start = theta[0]
    g = curvature * start
    perturbed = curvature * (start + 0.01 * start**2 * g / (start * g).norm())
    orthogonal = g - (g @ perturbed) / (perturbed @ perturbed) * perturbed
    assert torch.allclose(gradient[0], perturbed - 0.3 * orthogonal, rtol=1e-9)


def test_gsam_without_radius_is_the_plain_gradient():
    theta = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    _, gradient = Gsam(rho=1e-12, alpha=0.3).gradient(theta, lambda w: ((w**4).sum(1), 4 * w**3))
    assert torch.allclose(gradient, 4 * theta**3, rtol=1e-9)
