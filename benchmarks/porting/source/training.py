"""The training loop of a source file: a recipe in the terms of a framework, in the spec's semantics.

Where the framework's own optimizer computes something else, the loop has a class of its own, and a comment says why.
docs/semantics.md compares the forms; `frameworks/training.py` defines them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.porting.source.code import divided_statement, literal
from benchmarks.runtime.errors import BadInput
from benchmarks.training.lr_schedules import (
    CONSTANT,
    Cosine,
    Exponential,
    MultiStep,
    OneCycle,
    Polynomial,
    Schedule,
    Step,
    WarmUp,
    WarmUpBefore,
)
from benchmarks.training.recipes import Recipe
from frameworks.spec import Auxiliary, Network
from frameworks.training import SGD, Adam

# What the file of a training binds besides the network's: no network and no block has such a name.
NAMES = frozenset("train learning_rates train_step weights SGD Adam".split())
LONGEST = 60  # lines of a training loop


def training_source(target: str, entry: str, network: Network, recipe: Recipe) -> str:
    """The functions that train a network. entry: the name of its class or function.

    Raises BadInput for a part of the recipe that the loop has no code for.
    """
    refuse(network.name, recipe)
    return WRITERS[target](entry, network, recipe)


def refuse(name: str, recipe: Recipe) -> None:
    """Raises BadInput, which names the first part of the recipe that no loop has. name: of the network."""
    training = recipe.training
    rule = training.optimizer
    parts = {
        type(rule).__name__: not isinstance(rule, (SGD, Adam)),
        "SGD with decoupled weight decay": isinstance(rule, SGD) and rule.decoupled,
        "lr_in_velocity": getattr(rule, "lr_in_velocity", False),
        "epsilon_hat": getattr(rule, "epsilon_hat", False),
        "clip_norm": training.clip_norm is not None,
        "average": training.average is not None,
        "lr_factors": bool(training.lr_factors),
        "augmentations": bool(recipe.augmentations),
        "permutation": recipe.permutation is not None,
        "side": recipe.side is not None,
        "test_in_training_mode": recipe.test_in_training_mode,
    }
    for part, present in parts.items():
        if present:
            raise BadInput(f"--with-training: the recipe of {name} has {part}, for which the loop has no code")


# --- learning rates ---------------------------------------------------------------------------------------------------


def learning_rates(recipe: Recipe) -> str:
    """A function that gives the learning rate of each step, or "" where it is constant."""
    schedule = recipe.lr_schedule
    if schedule == CONSTANT:
        return ""
    lines = ["t, total = np.arange(epochs * steps), epochs * steps"]
    match schedule:
        case WarmUp():
            lines.append(f"rise = np.minimum((t + 1) / ({schedule.epochs} * steps), 1)")
            rise, then = _between(schedule.first, "rise"), _factor(schedule.then)
            text = rise if then == "1" else f"({rise}) * ({then})"
        case WarmUpBefore():
            rise = _between(schedule.first, f"(t + 1) / ({schedule.epochs} * steps)")
            lines.append(f"rise, warm = {rise}, {schedule.epochs} * steps")
            lines.append("t, total = t - warm, total - warm")
            text = f"np.where(t < 0, rise, {_factor(schedule.then)})"
        case _:
            text = _factor(schedule)
    text = text if text.startswith("np.") else f"({text})"
    body = "\n    ".join([*lines, f"return {literal(recipe.lr)} * {text}"])
    return f'''
def learning_rates(epochs, steps):
    """The learning rate of each step; steps: of an epoch."""
    {body}
'''


def _between(first: float, progress: str) -> str:
    """From `first` to 1 while the progress goes from 0 to 1."""
    return progress if first == 0 else f"{literal(first)} + {literal(1 - first)} * ({progress})"


def _factor(schedule: Schedule) -> str:
    """The factor of the learning rate as an expression of t, the steps of an epoch, and the total."""
    match schedule:
        case Step():
            return f"{literal(schedule.factor)} ** (t // steps // {schedule.every})"
        case MultiStep():
            return f'{literal(schedule.factor)} ** np.searchsorted({list(schedule.at)}, t // steps, side="right")'
        case Cosine():
            return _between(schedule.least, "(1 + np.cos(np.pi * t / total)) / 2")
        case Polynomial():
            power = "" if schedule.power == 1 else f" ** {literal(schedule.power)}"
            return _between(schedule.last, f"(1 - t / total){power}")
        case Exponential():
            periods = "t / steps" if schedule.every == 1 else f"t / ({literal(schedule.every)} * steps)"
            # Where a period ends at a step, the quotient is off the whole number by rounding.
            periods = periods if schedule.smooth else f"np.floor({periods} + 1e-9)"
            return f"{literal(schedule.factor)} ** ({periods})"
        case OneCycle():
            ends = f"(0, {literal(schedule.peak)}, 1), ({literal(schedule.first)}, 1, {literal(schedule.last)})"
            return f"np.interp((t + 0.5) / total, {ends})"
    return "1"


# --- what the loops have in common ------------------------------------------------------------------------------------

SPLIT = "np.split(epoch, range(batch_size, len(epoch), batch_size))"
RATES = "learning_rates(len(order), -(-order.shape[1] // batch_size))"


def _train(argument: str, shape: str, recipe: Recipe, start: list[str], step: list[str]) -> str:
    """The function `train`. start: its lines before the loop. step: those of a step, which may take `next(rates)`."""
    start = [*start, "losses = []"]
    indent = "\n    "
    return f'''
def train({argument}, images, labels, order, batch_size={recipe.batch_size}):
    """Train on images, {shape}. order: their indices, epochs x N. Returns the loss of each step."""
    {indent.join(start)}
    for epoch in order:
        for batch in {SPLIT}:
            {(indent + "        ").join(step)}
    return losses
'''


def _main(made: list[str], arguments: str) -> str:
    indent = "\n    "
    return f"""
if __name__ == "__main__":  # with the arguments images.npy (N x C x H x W), labels.npy, order.npy
    images, labels, order = map(np.load, sys.argv[1:])
    {indent.join(made)}
    load_weights({made[0].partition(" ")[0]}, Path(__file__).with_suffix(".npz"))
    losses = train({made[0].partition(" ")[0]}, {arguments}, order)
    for number, loss in enumerate(np.reshape(losses, (len(order), -1)).mean(1), start=1):
        print(f"epoch {{number}}: loss {{loss:.4f}}")
"""


def _joined(*parts: str) -> str:
    """The parts with two empty lines between them; long lines are divided at their brackets."""
    lines = "\n\n\n".join(part.strip("\n") for part in parts if part).split("\n")
    return "\n".join(each for line in lines for each in divided_statement(line))


def _options(**values: Any) -> str:
    """Keyword arguments behind others; those that are None are left out."""
    return "".join(f", {name}={literal(value)}" for name, value in values.items() if value is not None)


def _heads(network: Network) -> list[float]:
    """The weights of the losses of the auxiliary classifiers, in their order."""
    return [node.layer.weight for _, node in network.walk() if isinstance(node.layer, Auxiliary)]


def _weighted(heads: list[float]) -> str:
    """The loss, where `parts` has that of the logits and those of auxiliary classifiers."""
    terms = [f"{literal(weight)} * parts[{number}]" for number, weight in enumerate(heads, start=1)]
    return " + ".join(["parts[0]", *terms])


def _shape(network: Network, last: bool) -> str:
    channels, *size = network.input
    return " x ".join(map(str, ("N", *size, channels) if last else ("N", channels, *size)))


# --- PyTorch ----------------------------------------------------------------------------------------------------------


def pytorch(entry: str, network: Network, recipe: Recipe) -> str:
    """The loop of PyTorch."""
    training, rule = recipe.training, recipe.training.optimizer
    parameters, start = "model.parameters()", []
    decay: float | None = rule.weight_decay or None
    if decay and not training.decay_all:
        start = [
            "# Weights alone decay; PyTorch's weight_decay acts on biases and normalization, too",
            "weights = [each for each in model.parameters() if each.ndim in (2, 4)]",
            "others = [each for each in model.parameters() if each.ndim not in (2, 4)]",
            'groups = [{"params": weights}, {"params": others, "weight_decay": 0.0}]',
        ]
        parameters = "groups"
    if isinstance(rule, SGD):
        options = _options(momentum=rule.momentum or None, weight_decay=decay, nesterov=rule.nesterov or None)
        name = "SGD"
    else:
        assert isinstance(rule, Adam)
        betas = (rule.beta1, rule.beta2)
        options = _options(betas=betas if betas != (0.9, 0.999) else None, weight_decay=decay)
        options += _options(eps=rule.epsilon if rule.epsilon != 1e-8 else None)
        name = "AdamW" if rule.decoupled else "Adam"
    start += [f"optimizer = torch.optim.{name}({parameters}, lr={literal(recipe.lr)}{options})", "model.train()"]
    if recipe.lr_schedule != CONSTANT:
        start.append(f"rates = iter({RATES})")
    smoothing = _options(label_smoothing=training.label_smoothing or None)
    heads = _heads(network)
    if heads:
        one = f"F.cross_entropy(logits, labels[batch]{smoothing})"
        step = [f"parts = [{one} for logits in model(images[batch])]", f"loss = {_weighted(heads)}"]
    else:
        step = [f"loss = F.cross_entropy(model(images[batch]), labels[batch]{smoothing})"]
    if recipe.lr_schedule != CONSTANT:
        step += ["rate = next(rates)", "for group in optimizer.param_groups:", '    group["lr"] = rate']
    step += ["optimizer.zero_grad()", "loss.backward()", "optimizer.step()", "losses.append(loss.item())"]
    return _joined(
        learning_rates(recipe),
        _train("model", _shape(network, False), recipe, start, step),
        _main([f"model = {entry}()"], "torch.from_numpy(images).float(), torch.from_numpy(labels).long()"),
    )


# --- Gluon ------------------------------------------------------------------------------------------------------------


def gluon(entry: str, network: Network, recipe: Recipe) -> str:
    """The loop of Gluon."""
    training, rule = recipe.training, recipe.training.optimizer
    decay = rule.weight_decay
    lines = ["gradient = self.rescale_grad * gradient"]
    if decay and not getattr(rule, "decoupled", False):
        lines[0] += " + self._get_wd(index) * weight"
    if isinstance(rule, SGD):
        name, why = "SGD", "In full precision; the numbers of MXNet's optimizers are float32"
        state = ""
        if rule.momentum:
            why = "The velocity does not contain the learning rate; in MXNet's SGD it does"
            state = "mx.nd.zeros_like(weight)"
            lines.append(f"state[:] = {literal(rule.momentum)} * state + gradient")
            lines.append(
                f"gradient = gradient + {literal(rule.momentum)} * state" if rule.nesterov else "gradient = state"
            )
        lines.append("weight -= self._get_lr(index) * gradient")
    else:
        assert isinstance(rule, Adam)
        name, why = "Adam", "Epsilon is outside the bias correction, as in the paper; in MXNet's Adam it is inside"
        state = "mx.nd.zeros_like(weight), mx.nd.zeros_like(weight)"
        beta1, beta2 = literal(rule.beta1), literal(rule.beta2)
        lines = [
            "self._update_count(index)",
            "t, (m, v), lr = self._index_update_count[index], state, self._get_lr(index)",
            *lines,
            f"m[:] = {beta1} * m + (1 - {beta1}) * gradient",
            f"v[:] = {beta2} * v + (1 - {beta2}) * gradient**2",
            *(["weight *= 1 - lr * self._get_wd(index)"] if rule.decoupled else []),
            f"weight -= lr * m / (1 - {beta1}**t) / ((v / (1 - {beta2}**t)).sqrt() + {literal(rule.epsilon)})",
        ]
    states = f"""
    def create_state(self, index, weight):
        return {state}
"""
    indent = "\n        "
    optimizer = f'''
class {name}(mx.optimizer.Optimizer):
    """{why}."""
{states if state else ""}
    def update(self, index, weight, gradient, state):
        {indent.join(lines)}
'''
    start = []
    if decay and not training.decay_all:
        start = [
            "for name, parameter in net.collect_params().items():",
            '    parameter.wd_mult = float(name.endswith("weight"))  # MXNet decays biases, gamma and beta, too',
        ]
    start.append(
        f"trainer = gluon.Trainer(net.collect_params(), {name}(learning_rate={literal(recipe.lr)}"
        f"{_options(wd=decay or None)}))"
    )
    step = ["x, y = (mx.nd.array(each[batch], dtype=each.dtype) for each in (images, labels))"]
    smoothing = training.label_smoothing
    if smoothing:
        start.append("loss_of = gluon.loss.SoftmaxCrossEntropyLoss(sparse_label=False)")
        one_hot = f"mx.nd.one_hot(y, {network.classes}, dtype=x.dtype)"
        step.append(f"y = {literal(1 - smoothing)} * {one_hot} + {literal(smoothing)} / {network.classes}")
    else:
        start.append("loss_of = gluon.loss.SoftmaxCrossEntropyLoss()")
    heads = _heads(network)
    if heads:
        inner = ["    parts = [loss_of(logits, y) for logits in net(x)]", f"    loss = {_weighted(heads)}"]
    else:
        inner = ["    loss = loss_of(net(x), y)"]
    step += ["with autograd.record():", *inner, "loss.backward()"]
    if recipe.lr_schedule != CONSTANT:
        start.append(f"rates = iter({RATES})")
        step.append("trainer.set_learning_rate(next(rates))")
    step += ["trainer.step(len(batch))", "losses.append(loss.mean().asscalar())"]
    return _joined(
        optimizer,
        learning_rates(recipe),
        _train("net", f"{_shape(network, False)}, of NumPy", recipe, start, step),
        _main(
            [f"net = {entry}()", "net.initialize()", *([] if heads else ["net.hybridize()"])],
            "images.astype(np.float32), labels",
        ),
    )


# --- Keras ------------------------------------------------------------------------------------------------------------


KERNEL = "if len(variable.shape) in (2, 4):  # no biases, no normalization"


def keras(entry: str, network: Network, recipe: Recipe) -> str:
    """The loop of Keras."""
    training, rule = recipe.training, recipe.training.optimizer
    decays = rule.weight_decay and not getattr(rule, "decoupled", False)
    changes = recipe.lr_schedule != CONSTANT
    decay, why = literal(rule.weight_decay), ""
    lines: list[str] = []
    if decays:
        lines = [f"gradient = gradient + {decay} * variable  # Keras' weight_decay acts outside the gradient"]
        if not training.decay_all:
            lines = [KERNEL, f"    {lines[0]}"]
    optimizer = ""
    if isinstance(rule, SGD):
        options = _options(momentum=rule.momentum or None, nesterov=rule.nesterov or None)
        made = f"keras.optimizers.SGD({literal(recipe.lr)}{options})"
        if rule.momentum and changes:
            why = "The velocity does not contain the learning rate, which changes; in Keras' SGD it does"
            momentum = literal(rule.momentum)
            result = f"gradient + {momentum} * velocity" if rule.nesterov else "velocity"
            lines += [
                "velocity = self.momentums[self._get_variable_index(variable)]",
                f"self.assign(velocity, {momentum} * velocity + gradient)",
                f"self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * ({result}))",
            ]
        elif decays:
            why = "Decay is a part of the gradient"
            lines.append("super().update_step(gradient, variable, learning_rate)")
        if why:
            made = f"SGD({literal(recipe.lr)}{options})"
    else:
        assert isinstance(rule, Adam)
        why = "Epsilon is outside the bias correction, as in the paper; in Keras' Adam it is inside"
        betas = {} if (rule.beta1, rule.beta2) == (0.9, 0.999) else {"beta_1": rule.beta1, "beta_2": rule.beta2}
        made = f"Adam({literal(recipe.lr)}{_options(**betas, epsilon=rule.epsilon)})"
        lines += [
            "index = self._get_variable_index(variable)",
            "m, v, t = self._momentums[index], self._velocities[index], ops.cast(self.iterations + 1, variable.dtype)",
            "lr = ops.cast(learning_rate, variable.dtype)",
            "self.assign(m, self.beta_1 * m + (1 - self.beta_1) * gradient)",
            "self.assign(v, self.beta_2 * v + (1 - self.beta_2) * ops.square(gradient))",
            "root = ops.sqrt(v / (1 - self.beta_2**t)) + self.epsilon",
            "self.assign_sub(variable, lr * m / (1 - self.beta_1**t) / root)",
        ]
        if rule.decoupled:
            line = f"self.assign_sub(variable, lr * {decay} * variable)"
            lines[3:3] = [line] if training.decay_all else [KERNEL, f"    {line}"]
    if why:
        indent = "\n        "
        optimizer = f'''
class {type(rule).__name__}(keras.optimizers.{type(rule).__name__}):
    """{why}."""

    def update_step(self, gradient, variable, learning_rate):
        {indent.join(lines)}
'''
    smoothing = training.label_smoothing
    if smoothing:
        loss = f"keras.losses.CategoricalCrossentropy(from_logits=True{_options(label_smoothing=smoothing)})"
        labels = f"np.eye({network.classes})[labels[batch]]"
    else:
        loss, labels = "keras.losses.SparseCategoricalCrossentropy(from_logits=True)", "labels[batch]"
    weights = [1.0, *_heads(network)]
    made += ", loss" if len(weights) == 1 else f", [loss] * {len(weights)}, loss_weights={weights}"
    if len(weights) > 1:
        labels = f"[{labels}] * {len(weights)}"
    result = f"model.train_on_batch(images[batch], {labels}){'[0]' if len(weights) > 1 else ''}"
    step = ["model.reset_metrics()  # train_on_batch returns the mean since the last reset"]
    start = [f"loss = {loss}", f"model.compile({made})"]
    if changes:
        start.append(f"rates = iter({RATES})")
        step.append("model.optimizer.learning_rate = next(rates)")
    step.append(f"losses.append(float({result}))")
    return _joined(
        optimizer,
        learning_rates(recipe),
        _train("model", _shape(network, True), recipe, start, step),
        _main([f"model = {entry}()"], 'images.transpose(0, 2, 3, 1).astype("float32"), labels'),
    )


# --- Flax -------------------------------------------------------------------------------------------------------------


def flax(entry: str, network: Network, recipe: Recipe) -> str:
    """The loop of Flax."""
    training, rule = recipe.training, recipe.training.optimizer
    decay = rule.weight_decay
    changes = recipe.lr_schedule != CONSTANT
    rate = "lambda step: rates[step]" if changes else literal(recipe.lr)
    mask = "" if training.decay_all else ", mask=weights"
    weights = """
def weights(parameters):
    return jax.tree.map(lambda array: array.ndim > 1, parameters)  # no biases, no normalization
"""
    start: list[str] = []
    if changes:
        start.append(f"rates = jnp.asarray({RATES})")
    if isinstance(rule, SGD):
        rule_text = f"optax.sgd({rate}{_options(momentum=rule.momentum or None, nesterov=rule.nesterov or None)})"
    else:
        assert isinstance(rule, Adam)
        usual = {"b1": (rule.beta1, 0.9), "b2": (rule.beta2, 0.999), "eps": (rule.epsilon, 1e-8)}
        options = _options(**{name: value for name, (value, default) in usual.items() if value != default})
        decoupled = f"{_options(weight_decay=decay)}{mask}" if rule.decoupled else ""
        rule_text = f"optax.adam{'w' if rule.decoupled else ''}({rate}{options}{decoupled})"
        start.append("# In float32, Optax rounds 1 - beta2**t: the first steps are off by 1e-5 of themselves")
    if decay and not rule.decoupled:
        start.append(f"decay = optax.add_decayed_weights({literal(decay)}{mask})  # a part of the gradient")
        rule_text = f"optax.chain(decay, {rule_text})"
    start += [f"optimizer = nnx.Optimizer(model, {rule_text}, wrt=nnx.Param)", "model.train()"]
    smoothing = training.label_smoothing

    def loss_of(logits: str) -> str:
        if smoothing:
            return f"optax.softmax_cross_entropy({logits}, target).mean()"
        return f"optax.softmax_cross_entropy_with_integer_labels({logits}, y).mean()"

    heads = _heads(network)
    inner = []
    if smoothing:
        inner.append(f"target = optax.smooth_labels(jax.nn.one_hot(y, {network.classes}), {literal(smoothing)})")
    if heads:
        inner += [f"parts = [{loss_of('logits')} for logits in model(x)]", f"return {_weighted(heads)}"]
    else:
        inner.append(f"return {loss_of('model(x)')}")
    indent = "\n        "
    train_step = f"""
@nnx.jit
def train_step(model, optimizer, x, y):
    def loss_of(model):
        {indent.join(inner)}

    loss, gradients = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, gradients)
    return loss
"""
    step = ["losses.append(float(train_step(model, optimizer, images[batch], labels[batch])))"]
    return _joined(
        learning_rates(recipe),
        weights if decay and mask else "",
        train_step,
        _train("model", _shape(network, True), recipe, start, step),
        _main([f"model = {entry}(rngs=nnx.Rngs(0))"], 'images.transpose(0, 2, 3, 1).astype("float32"), labels'),
    )


WRITERS: dict[str, Callable[[str, Network, Recipe], str]] = {
    "torch": pytorch,
    "gluon": gluon,
    "keras": keras,
    "flax": flax,
}
