"""The NumPy reference, with which every framework is compared: passes, loss, optimizers, and the adapter.

The layers are in `frameworks/reference_layers`. The reference always computes in float64, also if float32 is requested,
because float32 results are compared with it. NumPy's BLAS reads the number of threads from the environment when it is
imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from frameworks import spec
from frameworks.adapter import UNBIASED_RUNNING_VARIANCE, Adapter, Setting, Split, Trained, batches
from frameworks.arrays import Array, Weights
from frameworks.native import mapped
from frameworks.reference_layers import LAYERS
from frameworks.reference_layers.base import Result, channel_axes
from frameworks.reference_layers.joins import dropout, stochastic_depth
from frameworks.spec import Network, Node
from frameworks.training import AVERAGE, Adadelta, Adam, Optimizer, RMSprop, Training

# --- network, loss, optimizers ----------------------------------------------------------------------------------------


class Pass:
    """The forward pass of a batch, and its backward pass on request. It changes no weight.

    masks: the generator of dropout masks; None in evaluation. outputs: of every layer, by path. running: the new
    running statistics of batch norm. gradients: of the loss, by name.
    """

    def __init__(
        self, network: Network, weights: Weights, images: Array, masks: np.random.Generator | None, unbiased: bool
    ) -> None:
        self.weights, self.masks, self.unbiased = weights, masks, unbiased
        self.outputs: Weights = {}
        self.running: Weights = {}
        self.gradients: Weights = {}
        self.heads: dict[str, tuple[Array, float]] = {}  # auxiliary logits and the weight of their loss
        self.head_gradients: Weights = {}
        self.logits, self._back = self._chain(network.nodes, np.asarray(images, np.float64))

    def backward(self, labels: Array, smoothing: float) -> float:
        """The loss with auxiliary classifiers; afterwards `gradients` holds its gradients, also by `input`."""
        loss, dy = cross_entropy(self.logits, labels, smoothing)
        for path, (logits, weight) in self.heads.items():
            own_loss, own_dy = cross_entropy(logits, labels, smoothing)
            loss, self.head_gradients[path] = loss + weight * own_loss, weight * own_dy
        self.gradients["input"] = self._back(dy)
        return loss

    def _chain(self, nodes: Sequence[Node], x: Array) -> tuple[Array, Callable[[Array], Array]]:
        backs, gradients = [], self.gradients  # not self: a cycle would keep every step's arrays until it is collected
        for node in nodes:
            x, back = self._layer(node, x)
            self.outputs[node.path] = x
            backs.append(back)

        def backward(dy: Array) -> Array:
            for node, back in zip(reversed(nodes), reversed(backs)):
                dy, by_role = back(dy)
                gradients.update({array.name: by_role[array.role] for array in node.parameters if array.trainable})
            return dy

        return x, backward

    def _layer(self, node: Node, x: Array) -> Result:
        arrays = {parameter.role: self.weights[parameter.name] for parameter in node.parameters}
        chains = [partial(self._chain, branch) for branch in node.branches]
        if self.masks is not None:
            match node.layer:  # those that training changes
                case spec.BatchNorm() as layer:
                    arrays |= self._statistics(node, layer.momentum, x)
                case spec.StochasticDepth() as layer:
                    return stochastic_depth(layer, x, self.masks)
                case spec.Dropout() as layer:
                    return dropout(layer, x, self.masks)
                case spec.Auxiliary() as layer:
                    logits, back = chains[0](x)
                    self.heads[node.path], given = (logits, layer.weight), self.head_gradients
                    return x, lambda dy: (dy + back(given[node.path]), {})
        if type(node.layer) not in LAYERS:
            raise NotImplementedError(f"{node.path}: the reference has no {node.layer.kind}")
        return LAYERS[type(node.layer)](node.layer, x, *chains, **arrays)

    def _statistics(self, node: Node, momentum: float, x: Array) -> Weights:
        """The batch's mean and biased variance by channel; the new running statistics are stored in `running`."""
        axes, count = channel_axes(x), x.size // x.shape[1]
        mean, variance = x.mean(axes), x.var(axes)
        stored = variance * count / (count - 1) if self.unbiased else variance
        for role, value in (("running_mean", mean), ("running_var", stored)):
            name = node.parameter(role).name
            self.running[name] = (1 - momentum) * self.weights[name] + momentum * value
        return {"running_mean": mean, "running_var": variance}


def cross_entropy(logits: Array, labels: Array, smoothing: float = 0.0) -> tuple[float, Array]:
    """The mean over N of -sum of t log softmax(logits), and its gradient (softmax - t) / N.

    The target t is (1 - smoothing) for the label plus smoothing / classes for every class (`training.Training`).
    """
    count, classes = logits.shape
    target = (1 - smoothing) * np.eye(classes)[labels] + smoothing / classes
    shifted = logits - logits.max(1, keepdims=True)
    logarithms = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return float(-(target * logarithms).sum() / count), (np.exp(logarithms) - target) / count


def moved(
    rule: Optimizer, rate: float, decay: float, step: int, w: Array, g: Array, *slots: Array
) -> tuple[Array, ...]:
    """An array and its slots after step number `step`, from 1, of `rule`, whose class gives the formula."""
    if rule.decoupled:
        w = w - rate * decay * w
    else:
        g = g + decay * w
    if isinstance(rule, Adam):
        m, v = slots
        m = rule.beta1 * m + (1 - rule.beta1) * g
        v = rule.beta2 * v + (1 - rule.beta2) * g * g
        first, second = 1 - rule.beta1**step, 1 - rule.beta2**step
        if rule.epsilon_hat:
            return w - rate * second**0.5 / first * m / (np.sqrt(v) + rule.epsilon), m, v
        return w - rate * (m / first) / (np.sqrt(v / second) + rule.epsilon), m, v
    if isinstance(rule, Adadelta):
        v, d = slots
        v = rule.rho * v + (1 - rule.rho) * g * g
        u = np.sqrt(d + rule.epsilon) / np.sqrt(v + rule.epsilon) * g
        return w - rate * u, v, rule.rho * d + (1 - rule.rho) * u * u
    if isinstance(rule, RMSprop):
        v = rule.rho * slots[0] + (1 - rule.rho) * g * g
        u = g / (np.sqrt(v + rule.epsilon) if rule.epsilon_inside else np.sqrt(v) + rule.epsilon)
        if not rule.momentum:
            return w - rate * u, v
        b = rule.momentum * slots[1] + (rate * u if rule.lr_in_velocity else u)
        return w - (b if rule.lr_in_velocity else rate * b), v, b
    if not slots:
        return (w - rate * g,)
    g = rate * g if rule.lr_in_velocity else g
    v = rule.momentum * slots[0] + g
    change = g + rule.momentum * v if rule.nesterov else v
    return w - (change if rule.lr_in_velocity else rate * change), v


BLOCK = 1 << 14  # values that an update takes at a time: they and what is computed from them stay in the cache


def clipped(gradients: Weights, limit: float | None) -> Weights:
    """The gradients times min(1, limit / norm), norm that of all of them together; None is no limit."""
    if limit is None:
        return gradients
    norm = np.sqrt(sum((g * g).sum() for g in gradients.values()))
    factor = limit / np.maximum(norm, limit)  # defined where the norm is 0; not finite where it is not
    return {name: factor * g for name, g in gradients.items()}


def update(weights: Weights, name: str, g: Array, training: Training, rate: float, step: int) -> None:
    """Move the array `name` and its slots, in place. g: its gradient, clipped."""
    rule, decay = training.optimizer, training.decay(name)
    rate *= training.lr_factor(name)
    if training.average is not None:
        average = weights.setdefault(f"{name}/{AVERAGE}", weights[name].copy())
    names = [name, *(f"{name}/{slot}" for slot in rule.slots)]
    w, *slots = (weights.setdefault(each, np.zeros(g.shape)).reshape(-1) for each in names)
    flat = g.reshape(-1)
    for start in range(0, w.size, BLOCK):
        here = slice(start, start + BLOCK)
        became = moved(rule, rate, decay, step, w[here], flat[here], *(slot[here] for slot in slots))
        for array, values in zip((w, *slots), became):
            array[here] = values
    if training.average is not None:
        average *= training.average
        average += (1 - training.average) * weights[name]


def without_dropout(network: Network) -> Network:
    """The same network, with the same names, and all dropout rates 0, because frameworks draw different masks."""
    return mapped(network, lambda layer: replace(layer, rate=0.0) if isinstance(layer, spec.Dropout) else layer)


# --- adapter ----------------------------------------------------------------------------------------------------------


class Reference(Adapter):
    """departures: names of declared departures of a framework that the reference imitates; ValueError if unknown.

    The only name is `unbiased_running_variance`, which needs batches with more than one value per channel.
    """

    devices = ("cpu",)

    def __init__(self, network: Network, training: Training, setting: Setting, departures: Sequence[str] = ()) -> None:
        super().__init__(network, training, setting)
        for name in departures:
            if name != UNBIASED_RUNNING_VARIANCE.name:
                raise ValueError(f"the reference knows no departure {name!r}, only {UNBIASED_RUNNING_VARIANCE.name!r}")
        self.unbiased = bool(departures)
        self.arrays = {array.name: (array.shape, array.trainable) for array in network.parameters}
        self.weights: Weights = {}  # including the state of the optimizer
        self.steps = 0
        self.data: dict[str, tuple[Array, Array]] = {}

    @staticmethod
    def versions() -> dict[str, str]:
        return {"numpy": np.__version__}

    def settings(self) -> dict[str, str]:
        return {"precision": "float64", "layout": "NCHW"}

    def get_weights(self) -> Weights:
        return {name: array.copy() for name, array in self.weights.items()} | {"step": np.array(self.steps)}

    def set_weights(self, weights: Weights) -> None:
        for name, (shape, _) in self.arrays.items():
            if weights[name].shape != shape:
                raise ValueError(f"{name} is {weights[name].shape}, the network's is {shape}")
        self.steps = int(weights.get("step", 0))
        slots = self.training.slots if self.steps else ()
        of_optimizer = [f"{name}/{slot}" for name, (_, trained) in self.arrays.items() if trained for slot in slots]
        self.weights = {name: np.array(weights[name], np.float64) for name in [*self.arrays, *of_optimizer]}

    def load(self, split: Split, images: Array, labels: Array) -> None:
        self.data[split] = images, labels

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        images, labels = self.data["train"]
        masks = np.random.default_rng(seed)
        losses, correct = np.zeros(len(lrs)), 0
        for step, (batch, rate) in enumerate(zip(batches(order, batch_size), lrs.tolist(), strict=True)):
            run = self._run(images[batch], masks)
            losses[step] = run.backward(labels[batch], self.training.label_smoothing)
            correct += int((run.logits.argmax(1) == labels[batch]).sum())
            self.weights |= run.running
            self._step({name: run.gradients[name] for name, (_, trained) in self.arrays.items() if trained}, rate)
        return Trained(losses, correct)

    def predict(self, split: Split, batch_size: int) -> Array:
        images, _ = self.data[split]
        steps = batches(np.arange(len(images)), batch_size)
        weights = self.weights
        if averages := self._averages():
            self.weights = weights | averages
        logits = [self._run(images[batch]).logits for batch in steps]
        self.weights = weights
        return np.concatenate(logits)

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        run = self._run(images, np.random.default_rng(0))  # the same masks every time
        return run.backward(labels, self.training.label_smoothing), run.gradients

    def activations(self, images: Array, training: bool) -> Weights:
        return self._run(images, np.random.default_rng(0) if training else None).outputs

    # --- inside -------------------------------------------------------------------------------------------------------

    def _averages(self) -> Weights:
        """The average of every trained array by its name; empty before the first step."""
        averages = {name: f"{name}/{AVERAGE}" for name in self.arrays}
        return {name: self.weights[average] for name, average in averages.items() if average in self.weights}

    def _step(self, gradients: Weights, rate: float) -> None:
        """One step of the optimizer with the gradients of all trained arrays."""
        self.steps += 1
        for name, gradient in clipped(gradients, self.training.clip_norm).items():
            update(self.weights, name, gradient, self.training, rate, self.steps)

    def _run(self, images: Array, masks: np.random.Generator | None = None) -> Pass:
        return Pass(self.network, self.weights, images, masks, self.unbiased)
