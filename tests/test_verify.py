"""The certificate: right programs pass it, planted faults do not, and it says where they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import frameworks
from benchmarks.certificate import Verdict, dropout, judge
from benchmarks.evidence import BATCH, OPTIMIZERS, Evidence, Judge, Place, Trial, gather
from benchmarks.session import Session
from benchmarks.verify import main
from frameworks.networks import NETWORKS
from frameworks.registry import REALISATIONS
from tests.conftest import THREADS, Bench

WHERE = {"device": "cpu", "precision": "float64", "threads": THREADS, "mode": ""}
DEPARTURE = "unbiased_running_variance"
NETS = ["lenet", "lenet_bn", "mlp", "cnn"]


@cache
def trial(name: str) -> Trial:
    """A network's trial with three optimisers, which between them hold momentum, Nesterov's form, decay and Adam."""
    made = Trial.of(NETWORKS[name](), seed=0, batch_size=BATCH)
    cases = {case: OPTIMIZERS[case] for case in ("nesterov", "momentum, decay", "adam")}
    return dataclasses.replace(made, cases=cases)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Evidence]:
    """The reference's evidence, plain or with the unbiased running variance."""

    @cache
    def compute(name: str, departed: bool) -> Evidence:
        scratch = tmp_path_factory.mktemp("truth")
        return gather(Judge([DEPARTURE] if departed else []), trial(name), WHERE, scratch)[0]

    return compute


def verdicts(session: Session, name: str, truth: Callable[[str, bool], Evidence], scratch: Path) -> dict[str, Verdict]:
    found, departures = gather(session.request, trial(name), WHERE, scratch)
    departed = {"it": truth(name, True)} if departures and trial(name).network.running else {}
    judged = judge({"it": found}, truth(name, False), departed, {}, "float64")
    return {verdict.stage: verdict for verdict in judged["it"]}


@pytest.mark.parametrize("framework", REALISATIONS)
@pytest.mark.parametrize("name", NETS)
def test_unchanged_adapters_pass(
    bench: Bench, truth: Callable[[str, bool], Evidence], tmp_path: Path, name: str, framework: str
) -> None:
    found = verdicts(bench.session(framework), name, truth, tmp_path)
    assert {stage for stage, verdict in found.items() if verdict.verdict == "differs"} == set(), found
    explained = {stage for stage, verdict in found.items() if verdict.verdict == "explained"}
    assert explained == ({"running statistics"} if (name, framework) == ("lenet_bn", "torch") else set())


# Text of PyTorch's adapter, what it is changed to, the network that shows it, and where it must be found first.
FAULTS = {
    "another activation": ("[nn.Sigmoid()]", "[nn.Tanh()]", "lenet", "evaluation", "C1_sigmoid"),
    "epsilon of batch norm": ('"eps": layer.eps', '"eps": 1e-3', "lenet_bn", "evaluation", "C1_bn"),
    "momentum of batch norm": (
        '"momentum": layer.momentum', '"momentum": 0.9', "lenet_bn", "running statistics", "C1_bn.running_mean",
    ),
    "flatten by place, not by channel": (
        "[nn.Flatten()]", "[Function(lambda x: x.movedim(1, -1).flatten(1))]", "cnn", "evaluation", "pool2_flatten",
    ),
    "loss summed": ("smoothing)\n        for", 'smoothing, reduction="sum")\n        for', "mlp", "loss", "loss"),
    "decay on biases": ('"params": others, "weight_decay": 0.0', '"params": others, "weight_decay": rule.weight_decay',
                        "mlp", "optimisers", "fc1.bias"),
    "Nesterov's form left out": ("nesterov=rule.nesterov", "nesterov=False", "mlp", "optimisers", "fc1.weight"),
    "gradient not cleared": ("self.optimizer.zero_grad()", "pass", "mlp", "optimisers", "fc1.weight"),
    "rate one step late": ("rates.tolist())", "[rates[0], *rates.tolist()])", "mlp", "optimisers", "fc1.weight"),
    "epsilon of Adam": ("eps=rule.epsilon", "eps=1e-8", "mlp", "optimisers", "fc1.weight"),
    "float32 on the way": ("images.to(self.dtype, memory", "images.float().div(3).to(self.dtype).mul(3).to(memory",
                           "mlp", "loss", "loss"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_where_it_is(
    bench: Bench, truth: Callable[[str, bool], Evidence], tmp_path: Path, fault: str
) -> None:
    old, new, name, stage, tensor = FAULTS[fault]
    right = (Path(frameworks.__file__).parent / "pytorch.py").read_text(encoding="utf-8")
    assert old in right, "the adapter has changed: plant the fault anew"
    wrong = tmp_path / "wrong.py"
    wrong.write_text(right.replace(old, new), encoding="utf-8")
    log = tmp_path / "log"
    with Session(bench.python("torch"), str(wrong), "PyTorch", threads=THREADS, log=log, timeout=300) as session:
        session.receive()
        found = verdicts(session, name, truth, tmp_path)
    first = next(verdict for verdict in found.values() if verdict.verdict == "differs")
    assert first.place is not None
    assert (first.stage, first.place.tensor) == (stage, tensor)


def test_a_declared_departure_that_does_not_show_differs(truth: Callable[[str, bool], Evidence]) -> None:
    plain = truth("lenet_bn", False)
    judged = judge({"it": plain}, plain, {"it": truth("lenet_bn", True)}, {}, "float64")["it"]
    assert {verdict.stage for verdict in judged if verdict.verdict == "differs"} == {"running statistics"}


def test_float32_is_judged_by_the_median_framework() -> None:
    place = Place("loss", "", 0, "loss")
    truth = {place: np.array(1.0)}
    found = {name: {place: np.array(1 + error)} for name, error in {"a": 1e-5, "b": 2e-5, "c": 9e-5}.items()}
    judged = judge(found, truth, {}, {}, "float32")
    assert {name: judged[name][3].verdict for name in found} == {"a": "ok", "b": "ok", "c": "differs"}


@pytest.mark.parametrize("fault, said", [
    (None, "within"),
    ("scale", "not divided"),
    ("share", "the share kept"),
    ("stripes", "neighbours"),
    ("one mask", "pictures"),
])  # fmt: skip
def test_dropout_is_a_fair_coin(fault: str | None, said: str) -> None:
    stream = np.random.default_rng(0)
    given = stream.normal(size=(16, 2_000))
    mask = stream.random((16, 2_000)) < (0.6 if fault == "share" else 0.5)
    if fault == "stripes":
        mask = np.repeat(mask[:, ::2], 2, axis=1)
    if fault == "one mask":
        mask = np.broadcast_to(mask[0], mask.shape)
    taken = given * mask * (1 if fault == "scale" else 2)
    place = Place("dropout", "", 0, "drop")
    verdict = dropout({place: np.stack([given, taken])}, {"drop": 0.5}, "float64")
    assert verdict.verdict == ("differs" if fault else "ok") and said in verdict.said


def test_the_command_writes_a_certificate(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for framework in REALISATIONS:
        bench.python(framework)
    assert main(["--net", "mlp", "--precision", "float64", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("mlp") == len(REALISATIONS)
    assert (tmp_path / "certificate.json").exists() and "float64" in (tmp_path / "certificate.md").read_text()


WRONG = ["--net lennet", "--fw tortch", "--precision half", "--threads 0", "--python torch", "--out /proc/onespec"]


@pytest.mark.parametrize("options", WRONG)
def test_bad_input_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str], options: str) -> None:
    assert main(options.split()) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
