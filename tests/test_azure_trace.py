"""The whole Azure 2023 conversation trace, end to end."""

from sim.config import experiment_from
from sim.study.run import run


def test_the_whole_trace_is_served_and_audited(measured_data):
    experiment = experiment_from(
        {
            "model": "llama-3.1-8b",
            "accelerator": "a100-80gb-sxm",
            "engine": {"max_model_len": 16384},
            "workload": {
                "trace": {"path": str(measured_data / "traces" / "azure_llm_2023_conv.csv.gz"), "format": "azure"}
            },
        }
    )
    result = run(experiment)
    assert result.summary["completed"] == 19_366
    assert result.summary["total_output_tokens"] == 4_088_665
    assert result.summary["sim"]["audit"]["violations"] == 0
