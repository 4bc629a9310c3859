"""`onespec networks`: list the networks."""

from __future__ import annotations

import json

import click

from benchmarks.cli import options, terminal
from benchmarks.cli.exit_codes import ExitCode


@options.command("networks", examples=("", "--json"))
@options.as_json
@options.quiet
def command(as_json: bool, quiet: bool) -> ExitCode:
    """List the networks: name, input, classes, parameters, multiply-accumulates (MACs) of one image, source."""
    from benchmarks.reporting.tables import fitted
    from frameworks.networks import NETWORKS
    from frameworks.spec import times

    nets = [build() for build in NETWORKS.values()]
    if as_json:
        rows = [
            {
                "net": net.name,
                "input": net.input,
                "classes": net.classes,
                "params": net.params,
                "buffers": net.buffers,
                "macs": net.macs,
                "source": net.source,
            }
            for net in nets
        ]
        click.echo(json.dumps(rows, indent=1))
    else:
        head = ("network", "input", "classes", "parameters", "MACs", "source")
        body = [
            (net.name, times(net.input), str(net.classes), f"{net.params:,}", f"{net.macs:,}", net.source)
            for net in nets
        ]
        click.echo(fitted(head, body, terminal.width(), optional=("source", "classes")))
    return ExitCode.OK


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.networks")
