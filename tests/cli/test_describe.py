"""An experiment in half a line says what traffic it has."""

import pytest
from test_bad_config import arrivals, changed, conversations, diurnal, piecewise, prefix, trace

from sim.cli.describe import describe_run
from sim.config import experiment_from
from sim.specs.yaml_file import dump_yaml, parse_yaml


@pytest.mark.parametrize(
    ("overrides", "traffic"),
    [
        (arrivals(process="poisson", rate=2.5), "2.5 requests/s"),
        (arrivals(process="gamma", rate=3.0, cv=2.0), "3 requests/s"),
        (arrivals(process="all_at_once"), "all at once"),
        (piecewise((60, 2), (90, 0), (120, 8)), "0 to 8 requests/s"),
        (diurnal(mean_rate=4, amplitude=0.5), "4 ± 2 requests/s"),
        ({**conversations(turns=3), **prefix()}, "2 conversations/s"),
        ({**piecewise((60, 2), (90, 1)), **conversations()}, "1 to 2 conversations/s"),
    ],
)
def test_traffic_is_named(overrides, traffic):
    experiment = experiment_from(changed(overrides))
    assert describe_run(experiment) == f"llama-3.1-8b on a100-80gb-sxm, vllm-v1, {traffic}"
    again = experiment_from(parse_yaml(dump_yaml(experiment.resolved()), "resolved"))
    assert again.resolved() == experiment.resolved()


def test_a_trace_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,1,1\n")
    experiment = experiment_from(changed(trace(path="t.csv", format="csv", jitter_s=0.5)), tmp_path)
    assert describe_run(experiment).endswith("vllm-v1, trace")
