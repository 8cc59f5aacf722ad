"""Many runs as one: stacked state, and a loss made a pure function of it.

The state of a net is its parameters and buffers by name; the state of a pack carries a leading `[runs]` axis.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call, functionalize, vmap
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_map

from aebench import graph, streams
from aebench.feed import Batch
from aebench.memory import Live
from aebench.optim import Descent, StackedOptimizer
from aebench.recorded import peak_bytes, writes
from aebench.variant import Model, Network, Shape, Variant

State = dict[str, Tensor]
BUILDING = Lock()


def build(variant: Variant, event_shape: Shape, network: Network, sizes: Any, seed: int) -> nn.Module:
    """The net of one seed: built in float32 on the CPU, its weights drawn from the seed's init stream.

    Modules draw from the process's own generator, so one thread builds at a time; no other device is spoken to.
    """
    with BUILDING, torch.random.fork_rng(devices=[]), torch.device("cpu"):
        default = torch.get_default_dtype()
        torch.default_generator.set_state(streams.generator(seed, "init").get_state())
        torch.set_default_dtype(torch.float32)
        try:
            return variant.build(event_shape, network, sizes)
        finally:
            torch.set_default_dtype(default)


def state_of(net: nn.Module) -> State:
    """Parameters and buffers of a net by name, detached."""
    return {name: tensor.detach() for name, tensor in [*net.named_parameters(), *net.named_buffers()]}


def stack(states: Sequence[State]) -> State:
    """One `[runs, ...]` tensor for each name."""
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


def unstack(state: State, run: int) -> State:
    """The state of one run of a pack."""
    return {name: tensor[run] for name, tensor in state.items()}


@torch.no_grad()
def load(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Write the state of one run into a net; tied weights and unsaved buffers included."""
    for name, tensor in state_of(net).items():
        tensor.copy_(state[name])


class _Call(nn.Module):
    """Lets `functional_call` reach any function of a net, not its forward alone."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        return fn(self.net, *args)


def pure(net: nn.Module, fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn(net, *args)` as a function `(state, *args)` of the net's state."""
    call = _Call(net)

    def apply(state: Mapping[str, Tensor], *args: Any) -> Any:
        return functional_call(call, {f"net.{name}": tensor for name, tensor in state.items()}, (fn, args))

    return apply


def mean_terms(loss: Callable[..., dict[str, Tensor]]) -> Callable[..., dict[str, Tensor]]:
    """A loss whose terms are means over the examples of the batch."""

    def averaged(*args: Any) -> dict[str, Tensor]:
        return {name: term.mean() for name, term in loss(*args).items()}

    return averaged


def each_run(net: nn.Module, fn: Callable[..., Any], state: State, batch: Batch, *per_run: Any) -> Any:
    """`fn(net, x, noise, *args)` for every run of a stacked state at once; `per_run` carry a `[runs]` axis."""
    dims = (0, batch.x_dim, batch.noise_dim, *(0 for _ in per_run))
    return vmap(pure(net, fn), in_dims=dims)(state, batch.x, batch.noise, *per_run)


@dataclass
class Runs:
    """Trained runs of one shape: a net to call, and the state that makes it each of them."""

    variant: Variant
    net: nn.Module
    sizes: Any
    seeds: list[int]
    state: State
    """`{name: [runs, ...]}`."""
    hyper: Any
    """The hyperparameters that they ended with: the variant's NamedTuple of `[runs]` tensors."""

    @property
    def latent(self) -> int:
        """Units of the code."""
        return self.sizes.latent

    @property
    def offers(self) -> frozenset[str]:
        """What metrics may ask of them."""
        return self.variant.offers(self.sizes)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the parameters."""
        return next(self.net.parameters()).dtype

    def model(self, run: int) -> Model:
        """One run, with a net of its own."""
        net = copy.deepcopy(self.net)
        load(net, unstack(self.state, run))
        return self.seen(net, self.hyper_of(run))

    def seen(self, net: nn.Module, hp: Any) -> Model:
        """A net through the variant's eyes."""
        return Model(self.variant, net, self.sizes, hp)

    def hyper_of(self, run: int) -> Any:
        """The hyperparameters of one run, 0-dim."""
        return type(self.hyper)(*(value[run] for value in self.hyper))

    def each(self, fn: Callable[[Model, Tensor, Mapping[str, Tensor]], Mapping[str, Tensor]], batch: Batch) -> State:
        """`fn(model, x, noise)` of every run, each value `[runs, ...]`; a single run is called directly."""
        if len(self.seeds) > 1:
            apply = lambda net, x, noise, hp: fn(self.seen(net, hp), x, noise)  # noqa: E731
            return each_run(self.net, apply, self.state, batch, self.hyper)
        load(self.net, unstack(self.state, 0))
        return {name: v[None] for name, v in fn(self.seen(self.net, self.hyper_of(0)), batch.x, batch.noise).items()}


def trace(
    call: Callable[..., dict[str, Tensor]], own: Sequence[str], state: State, batch: Batch, hp: Any,
    products: torch.dtype | None = None,
) -> GraphModule:  # fmt: skip
    """`(state, x, noise, hp) -> (terms, gradients of the parameters named own)`, for every run of a pack.

    The vmapped loss and its backward pass are recorded once, as the flat list of tensor operations they come down to,
    rewritten (see `graph`), and replayed at each step without the cost of finding them again. `products`: the type
    that matrix products and convolutions take and give.
    """

    def differentiated(state: State, x: Tensor, noise: dict[str, Tensor], hp: Any) -> Any:
        leaves = {name: state[name].detach().requires_grad_() for name in own}
        terms = call({**state, **leaves}, Batch(x, noise, batch.x_dim, batch.noise_dim), hp)
        gradients = torch.autograd.grad(terms["loss"].sum(), list(leaves.values()))
        return {name: term.detach() for name, term in terms.items()}, list(gradients)

    def record(fn: Callable[..., Any]) -> GraphModule:  # nothing is computed yet
        return make_fx(fn, tracing_mode="fake", _allow_non_fake_inputs=True)(state, batch.x, batch.noise, hp)

    recorded = record(differentiated)
    if writes(recorded.graph):  # a network or loss that works in place: said anew without
        recorded = record(functionalize(recorded))
    graph.rewrite(recorded.graph, batch.x.device.type, products)
    recorded.recompile()
    return recorded


class Pack:
    """Runs in training: leaves that carry a `[runs]` axis, and one optimiser for each player.

    A pack of one goes without the axis (vmap over one run costs half as much again).
    """

    def __init__(
        self, variant: Variant, nets: Sequence[nn.Module], descents: Sequence[Descent], optimizer: str
    ) -> None:
        self.variant, self.net, self.stacked = variant, nets[0], len(nets) > 1
        self.parameters: State = dict(self.net.named_parameters())
        self.buffers: State = dict(self.net.named_buffers())
        if self.stacked:
            state = stack([state_of(net) for net in nets])
            self.parameters = {name: state[name].requires_grad_(p.requires_grad) for name, p in self.parameters.items()}
            self.buffers = {name: state[name] for name in self.buffers}
        self.losses = {part: mean_terms(loss) for part, loss in variant.losses.items()}
        self.traced: dict[str, GraphModule] = {}
        self.calls: dict[str, GraphModule] = {}
        self.large = False
        """Whether its products are large (`graph.large_products`)."""
        self.players: dict[str, tuple[list[Tensor], StackedOptimizer]] = {}
        for part in self.losses:
            mine = {name: t for name, t in self.parameters.items() if not part or name.startswith(part + ".")}
            own = [t for t in mine.values() if t.requires_grad]
            self.players[part] = own, StackedOptimizer(optimizer, own, descents, stacked=self.stacked)

    @property
    def state(self) -> State:
        """A copy of everything learnt so far: `{name: [runs, ...]}`."""
        state = {name: tensor.clone() for name, tensor in self.leaves.items()}
        return state if self.stacked else {name: tensor[None] for name, tensor in state.items()}

    @property
    def leaves(self) -> State:
        """Parameters and buffers as they are now, cut off from any graph."""
        return {name: tensor.detach() for name, tensor in {**self.parameters, **self.buffers}.items()}

    def call(self, fn: Callable[..., Any], state: State, batch: Batch, hp: Any) -> Any:
        """`fn(net, x, noise, hp)` of every run, with this state."""
        if self.stacked:
            return each_run(self.net, fn, state, batch, hp)
        return pure(self.net, fn)(state, batch.x, batch.noise, hp)

    def prepare(self, batch: Batch, hp: Any, products: torch.dtype | None = None) -> None:
        """Record what a step does, from a batch as each step gets it; `products` as in `trace`."""
        for part, (parameters, _) in self.players.items():
            mine = {id(leaf) for leaf in parameters}
            own = [name for name, leaf in self.parameters.items() if id(leaf) in mine]
            call = partial(self.call, self.losses[part])
            self.traced[part] = trace(call, own, self.leaves, batch, hp, products)
            self.calls[part] = graph.direct(self.traced[part])
        self.large = graph.large_products(step.graph for step in self.traced.values())

    @property
    def bytes(self) -> int:
        """The memory that steps will take beside the state, once prepared: the optimiser's, and the most at once."""
        size = lambda tensors: sum(t.numel() * t.element_size() for t in tensors)  # noqa: E731
        players = [(size(own), optimizer) for own, optimizer in self.players.values()]
        kept = sum(len(optimizer.buffers) * own for own, optimizer in players)
        passing = max(peak_bytes(step.graph) for step in self.traced.values())
        return kept + passing + max(optimizer.copies * own for own, optimizer in players)

    @torch.no_grad()
    def validating(self, batch: Batch, hp: Any) -> int:
        """The memory that it takes to keep the best state: three copies, and the loss of such a batch."""
        fake = FakeTensorMode(allow_non_fake_inputs=True)
        given: State = {name: fake.from_tensor(tensor) for name, tensor in self.leaves.items()}
        noise: State = {name: fake.from_tensor(tensor) for name, tensor in batch.noise.items()}
        seen = Batch(fake.from_tensor(batch.x), noise, batch.x_dim, batch.noise_dim)
        with fake, Live() as live:
            terms = self.call(next(iter(self.losses.values())), given, seen, tree_map(fake.from_tensor, hp))
        del terms
        return live.peak + 3 * sum(tensor.nbytes for tensor in self.leaves.values())

    @property
    def recordable(self) -> bool:
        """Whether a CUDA graph can hold its steps."""
        return all(optimizer.capturable for _, optimizer in self.players.values())

    def fill(self, fractions: Sequence[float]) -> None:
        """Resolve the optimisers' schedules for the next steps."""
        for _, optimizer in self.players.values():
            optimizer.fill(fractions)

    def step(self, batch: Batch, hp: Any, i: int) -> dict[str, Tensor]:
        """One step of every player in turn, each seeing what the others have become: the terms, each `[runs]`.

        The pack is to be prepared and filled first; this is the i-th step since.
        """
        logged: dict[str, Tensor] = {}
        for part, (_, optimizer) in self.players.items():
            with torch.no_grad():
                terms, gradients = self.calls[part](self.leaves, batch.x, batch.noise, hp)
            optimizer.step(gradients, i)
            logged |= {f"{part}/{name}" if part else name: term.detach() for name, term in terms.items()}
        if self.variant.after is not None:
            with torch.no_grad():
                for name, value in self.call(self.variant.after, self.leaves, batch, hp).items():
                    self.buffers[name].copy_(value)
        return logged
