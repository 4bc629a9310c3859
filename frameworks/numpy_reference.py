"""The NumPy reference, with which every framework is compared. Its speed does not matter.

Each layer is one function. It returns the output and a function that maps the gradient of the loss with respect to the
output (dy) to the gradients with respect to the input (dx) and the arrays. The docstrings give the formulas;
`tests/unit/test_reference.py` checks them against finite differences and against cases computed by hand.

The reference always computes in float64, also if float32 is requested, because float32 results are compared with it.
NumPy's BLAS reads the number of threads from the environment when it is imported.

Shapes: N images, C channels, H x W pixels, windows of kh x kw, outputs of H' x W' pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from frameworks import spec
from frameworks.adapter import UNBIASED_RUNNING_VARIANCE, Adapter, Setting, Split, Trained, batches
from frameworks.arrays import Array, Weights, resize_matrix
from frameworks.errors import Unavailable
from frameworks.native import mapped
from frameworks.spec import Layer, Network, Node, pair, sides
from frameworks.training import Adam, Optimizer, Training

Windowed: TypeAlias = "spec.Conv | spec.MaxPool | spec.AvgPool"
Values: TypeAlias = "Array | float"  # one value a channel; a number stands for an array that the layer lacks
Chain: TypeAlias = Callable[[Array], tuple[Array, Callable[[Array], Array]]]  # x -> y, and dy -> dx
Result: TypeAlias = tuple[Array, Callable[[Array], tuple[Array, Weights]]]  # y, and dy -> dx and gradients by role

# --- windows, channels ------------------------------------------------------------------------------------------------


def pad(x: Array, layer: Windowed, fill: float = 0.0) -> Array:
    """A copy of x, N x C x H x W, with the layer's padding around it."""
    return np.pad(x, ((0, 0), (0, 0), *sides(layer.padding)), constant_values=fill)


def windows(padded: Array, layer: Windowed) -> Array:
    """A view of the layer's windows: N x C x kh x kw x H' x W', writeable, one element in many windows."""
    vertical, horizontal = pair(layer.stride)
    every = sliding_window_view(padded, pair(layer.kernel), (2, 3), writeable=True)
    return np.moveaxis(every[:, :, ::vertical, ::horizontal], (4, 5), (2, 3))


def fold(parts: Array, x: Array, layer: Windowed) -> Array:
    """The transpose of windows(pad(x)): every element's sum over the windows that it is in; padding is dropped."""
    padded = pad(np.zeros_like(x), layer)
    places = windows(padded, layer)
    for place in np.ndindex(pair(layer.kernel)):  # no two windows have the same element at the same place
        places[:, :, place[0], place[1]] += parts[:, :, place[0], place[1]]
    (top, _), (left, _) = sides(layer.padding)
    return padded[:, :, top : top + x.shape[2], left : left + x.shape[3]]


def channel_axes(x: Array) -> tuple[int, ...]:
    """The axes that a sum by channel runs over."""
    return (0, *range(2, x.ndim))


def by_channel(values: Values, x: Array) -> Array:
    """Values in the shape in which they meet x, N x C or N x C x H x W."""
    return np.reshape(values, (-1, *[1] * (x.ndim - 2)))


def mixed(matrix: Array, x: Array) -> Array:
    """y[n, c] = sum over j of matrix[c, j] x[n, j]; its transpose takes dy to dx."""
    return np.moveaxis(np.tensordot(matrix, x, (1, 1)), 0, 1)


# --- layers, in the order of spec.py ----------------------------------------------------------------------------------


def conv(layer: spec.Conv, x: Array, weight: Array, bias: Values = 0.0) -> Result:
    """y[n, o, p] = b[o] + sum over i, k of w[o, i, k] x[n, i, p's window at k], i over the maps of o's group.

    One matrix product a group, over the windows of all images laid out as columns (Chellapilla et al. 2006). The
    backward pass computes the columns again, because they are kh * kw times as large as the input.
    """
    view = windows(pad(x, layer), layer)
    (count, _, _, _, height, width), groups = view.shape, layer.groups
    kernels = weight.reshape(groups, layer.channels // groups, -1)

    def columns() -> Array:
        return np.moveaxis(view, 0, 3).reshape(groups, kernels.shape[2], -1)

    y = np.moveaxis((kernels @ columns()).reshape(-1, count, height, width), 1, 0)

    def backward(dy: Array) -> tuple[Array, Weights]:
        flat = np.moveaxis(dy, 0, 1).reshape(groups, kernels.shape[1], -1)
        parts = (kernels.swapaxes(1, 2) @ flat).reshape(*view.shape[1:4], count, height, width)
        by_weight = (flat @ columns().swapaxes(1, 2)).reshape(weight.shape)
        return fold(np.moveaxis(parts, 3, 0), x, layer), {"weight": by_weight, "bias": dy.sum((0, 2, 3))}

    return y + by_channel(bias, y), backward


def max_pool(layer: spec.MaxPool, x: Array) -> Result:
    """The largest of each window, padded by minus infinity; of equals the first, row by row, has the whole gradient."""
    view = windows(pad(x, layer, -np.inf), layer)
    count, maps, kh, kw, height, width = shape = view.shape
    flat = view.reshape(count, maps, kh * kw, height, width)
    first = flat.argmax(2)[:, :, None]
    y = np.take_along_axis(flat, first, 2)[:, :, 0]

    def backward(dy: Array) -> tuple[Array, Weights]:
        parts = np.zeros((count, maps, kh * kw, height, width))
        np.put_along_axis(parts, first, dy[:, :, None], 2)
        return fold(parts.reshape(shape), x, layer), {}

    return y, backward


def avg_pool(layer: spec.AvgPool, x: Array) -> Result:
    """The sum of each window divided by how many of its places count: padding counts as 1 or as 0."""
    view = windows(pad(x, layer), layer)
    divisor = windows(pad(np.ones_like(x), layer, float(layer.count_padding)), layer).sum((2, 3))

    def backward(dy: Array) -> tuple[Array, Weights]:
        return fold(np.broadcast_to((dy / divisor)[:, :, None, None], view.shape), x, layer), {}

    return view.sum((2, 3)) / divisor, backward


def global_avg_pool(layer: spec.GlobalAvgPool, x: Array) -> Result:
    """The mean over H x W; each pixel has an equal fraction of the gradient."""
    return x.mean((2, 3), keepdims=True), lambda dy: (np.broadcast_to(dy / (x.shape[2] * x.shape[3]), x.shape), {})


def dense(layer: spec.Dense, x: Array, weight: Array, bias: Values = 0.0) -> Result:
    """y = x W^T + b;  dx = dy W, dW = dy^T x, db = sum over n of dy."""
    return x @ weight.T + bias, lambda dy: (dy @ weight, {"weight": dy.T @ x, "bias": dy.sum(0)})


def batch_norm(
    layer: spec.BatchNorm, x: Array, running_mean: Array, running_var: Array, gamma: Values = 1.0, beta: Values = 0.0
) -> Result:
    """y = gamma z + beta with z = (x - mean) / sqrt(variance + eps).

    In training the batch's statistics are given for the running ones, and the way back is through them too:
    dx = gamma / sqrt(variance + eps) (dy - mean(dy) - z mean(dy z)), Ioffe and Szegedy 2015, section 3, simplified.
    """
    axes, share = channel_axes(x), x.shape[1] / x.size
    inverse = by_channel(1 / np.sqrt(running_var + layer.eps), x)
    z = (x - by_channel(running_mean, x)) * inverse
    factor = by_channel(gamma, x)

    def backward(dy: Array) -> tuple[Array, Weights]:
        by_gamma, by_beta = (dy * z).sum(axes), dy.sum(axes)
        dx = factor * inverse * (dy - by_channel(by_beta * share, x) - z * by_channel(by_gamma * share, x))
        return dx, {"gamma": by_gamma, "beta": by_beta}

    return factor * z + by_channel(beta, x), backward


def affine(layer: spec.Affine, x: Array, gamma: Array, beta: Array) -> Result:
    """y = gamma x + beta by channel."""
    axes, factor = channel_axes(x), by_channel(gamma, x)
    y = factor * x + by_channel(beta, x)
    return y, lambda dy: (factor * dy, {"gamma": (dy * x).sum(axes), "beta": dy.sum(axes)})


def local_response_norm(layer: spec.LocalResponseNorm, x: Array) -> Result:
    """y = x s^-beta with s = k + alpha / size * B x^2, where B[c, j] is 1 for j in c's window, else 0.

    dx = dy s^-beta - 2 alpha beta / size * x * B^T (dy x s^(-beta - 1)).
    """
    below, above = layer.size // 2, (layer.size - 1) // 2
    maps, share = x.shape[1], layer.alpha / layer.size
    band = np.tri(maps, maps, above) - np.tri(maps, maps, -below - 1)
    s = layer.k + share * mixed(band, x * x)

    def backward(dy: Array) -> tuple[Array, Weights]:
        through = mixed(band.T, dy * x * s ** (-layer.beta - 1))
        return dy * s**-layer.beta - 2 * share * layer.beta * x * through, {}

    return x * s**-layer.beta, backward


def dropout(layer: spec.Dropout, x: Array, stream: np.random.Generator) -> Result:
    """y = x mask, the mask 0 with probability `rate`, else 1 / (1 - rate) (Srivastava et al. 2014, scaled at once)."""
    mask = (stream.random(x.shape) >= layer.rate) / (1 - layer.rate)
    return x * mask, lambda dy: (dy * mask, {})


def relu(layer: spec.ReLU, x: Array) -> Result:
    """max(x, 0), its derivative 1 above 0, else 0."""
    return np.maximum(x, 0), lambda dy: (dy * (x > 0), {})


def sigmoid(layer: spec.Sigmoid, x: Array) -> Result:
    """y = 1 / (1 + exp(-x)), dx = dy y (1 - y); only exp(-|x|) is taken, which cannot overflow."""
    small = np.exp(-abs(x))
    y = np.where(x >= 0, 1, small) / (1 + small)
    return y, lambda dy: (dy * small / (1 + small) ** 2, {})


def tanh(layer: spec.Tanh, x: Array) -> Result:
    """y = amplitude t with t = tanh(slope x), dx = dy amplitude slope (1 - t^2)."""
    t = np.tanh(layer.slope * x)
    return layer.amplitude * t, lambda dy: (dy * layer.amplitude * layer.slope * (1 - t * t), {})


def flatten(layer: spec.Flatten, x: Array) -> Result:
    """N x C x H x W gives N x CHW, the same values in the same order."""
    return x.reshape(len(x), -1), lambda dy: (dy.reshape(x.shape), {})


def scale(layer: spec.Scale, x: Array) -> Result:
    """y = factor x."""
    return layer.factor * x, lambda dy: (layer.factor * dy, {})


def normalize(layer: spec.Normalize, x: Array) -> Result:
    """y = (x - mean) / std by channel."""
    mean, std = by_channel(np.array(layer.mean), x), by_channel(np.array(layer.std), x)
    return (x - mean) / std, lambda dy: (dy / std, {})


def resize(layer: spec.Resize, x: Array) -> Result:
    """y = R x S^T for every map, dx = R^T dy S; see `arrays.resize_matrix`."""
    rows, columns = resize_matrix(x.shape[2], layer.height), resize_matrix(x.shape[3], layer.width)
    return rows @ x @ columns.T, lambda dy: (rows.T @ dy @ columns, {})


def select(layer: spec.Select, x: Array) -> Result:
    """y = E x, a row of E for each of the maps: 1 at that map, else 0."""
    taken = np.eye(x.shape[1])[list(layer.maps)]
    return mixed(taken, x), lambda dy: (mixed(taken.T, dy), {})


def concat(layer: spec.Concat, x: Array, *chains: Chain) -> Result:
    """The chains' outputs side by side; each has its part of dy, and dx is the sum of what they give back."""
    outputs, backs = zip(*(chain(x) for chain in chains))
    ends = np.cumsum([output.shape[1] for output in outputs])[:-1]
    return np.concatenate(outputs, 1), lambda dy: (sum(back(d) for back, d in zip(backs, np.split(dy, ends, 1))), {})


def residual(layer: spec.Residual, x: Array, body: Chain, shortcut: Chain) -> Result:
    """y = body(x) + shortcut(x); both have the whole of dy."""
    (long, back), (short, back_short) = body(x), shortcut(x)
    return long + short, lambda dy: (back(dy) + back_short(dy), {})


def passed_on(layer: Layer, x: Array, *chains: Chain) -> Result:
    """y = x: what dropout and an auxiliary classifier are in evaluation."""
    return x, lambda dy: (dy, {})


LAYERS: dict[type[Layer], Callable[..., Result]] = {
    spec.Conv: conv,
    spec.MaxPool: max_pool,
    spec.AvgPool: avg_pool,
    spec.GlobalAvgPool: global_avg_pool,
    spec.Dense: dense,
    spec.BatchNorm: batch_norm,
    spec.Affine: affine,
    spec.LocalResponseNorm: local_response_norm,
    spec.Dropout: passed_on,
    spec.ReLU: relu,
    spec.Sigmoid: sigmoid,
    spec.Tanh: tanh,
    spec.Flatten: flatten,
    spec.Scale: scale,
    spec.Normalize: normalize,
    spec.Resize: resize,
    spec.Select: select,
    spec.Concat: concat,
    spec.Residual: residual,
    spec.Auxiliary: passed_on,
}


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
            match node.layer:  # the three that training changes
                case spec.BatchNorm() as layer:
                    arrays |= self._statistics(node, layer.momentum, x)
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
    if not slots:
        return (w - rate * g,)
    g = rate * g if rule.lr_in_velocity else g
    v = rule.momentum * slots[0] + g
    change = g + rule.momentum * v if rule.nesterov else v
    return w - (change if rule.lr_in_velocity else rate * change), v


BLOCK = 1 << 14  # values that an update takes at a time: they and what is computed from them stay in the cache


def update(weights: Weights, name: str, g: Array, training: Training, rate: float, step: int) -> None:
    """Move the array `name` and its slots, in place."""
    rule, decay = training.optimizer, training.decay(name)
    names = [name, *(f"{name}/{slot}" for slot in rule.slots)]
    w, *slots = (weights.setdefault(each, np.zeros(g.shape)).reshape(-1) for each in names)
    flat = g.reshape(-1)
    for start in range(0, w.size, BLOCK):
        here = slice(start, start + BLOCK)
        became = moved(rule, rate, decay, step, w[here], flat[here], *(slot[here] for slot in slots))
        for array, values in zip((w, *slots), became):
            array[here] = values


def without_dropout(network: Network) -> Network:
    """The same network, with the same names, and all dropout rates 0, because frameworks draw different masks."""
    return mapped(network, lambda layer: replace(layer, rate=0.0) if isinstance(layer, spec.Dropout) else layer)


# --- adapter ----------------------------------------------------------------------------------------------------------


class Reference(Adapter):
    """departures: names of declared departures of a framework that the reference imitates; ValueError if unknown.

    The only name is `unbiased_running_variance`, which needs batches with more than one value per channel.
    """

    def __init__(self, network: Network, training: Training, setting: Setting, departures: Sequence[str] = ()) -> None:
        super().__init__(network, training, setting)
        if setting.mode or setting.device != "cpu":
            raise Unavailable(f"the reference has no mode {setting.mode!r} on {setting.device!r}: only '' on 'cpu'")
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
        slots = self.training.optimizer.slots if self.steps else ()
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
            self.steps += 1
            self.weights |= run.running
            for name, (_, trained) in self.arrays.items():
                if trained:
                    update(self.weights, name, run.gradients[name], self.training, rate, self.steps)
        return Trained(losses, correct)

    def predict(self, split: Split, batch_size: int) -> Array:
        images, _ = self.data[split]
        steps = batches(np.arange(len(images)), batch_size)
        return np.concatenate([self._run(images[batch]).logits for batch in steps])

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        run = self._run(images, np.random.default_rng(0))  # the same masks every time
        return run.backward(labels, self.training.label_smoothing), run.gradients

    def activations(self, images: Array, training: bool) -> Weights:
        return self._run(images, np.random.default_rng(0) if training else None).outputs

    # --- inside -------------------------------------------------------------------------------------------------------

    def _run(self, images: Array, masks: np.random.Generator | None = None) -> Pass:
        return Pass(self.network, self.weights, images, masks, self.unbiased)
