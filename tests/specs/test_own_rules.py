"""Rules of the user's own, in a Python file beside the experiment: run only if allowed, told as theirs if broken."""

from __future__ import annotations

import pytest
from refusals import all_in, refused
from small_runs import PREEMPTING, config

import sim
from sim.config import apply_override
from sim.errors import CheckFailed, ServesimError
from sim.specs.own_code import ALLOW_CODE
from sim.specs.yaml_file import dump_yaml
from sim.study.store import config_hash, input_hashes

GATE = """
def blocks_required(engine):
    return lambda known_tokens, chunk_tokens: -(-(known_tokens + {more}) // engine.block_size)
"""
ORDER = """
from sim.scheduling.order.by_key import KeyOrder

class ShortestPrompt(KeyOrder):
    @staticmethod
    def rank(request):
        return request.prompt_tokens
"""
COMPOSITION = """
from sim.scheduling.composition.mixed import Mixed

class Mine(Mixed):
    pass
"""


@pytest.fixture
def allowed(monkeypatch):
    monkeypatch.setenv(ALLOW_CODE, "1")


@pytest.fixture
def experiment(tmp_path):
    """The small experiment with engine values, beside a file of rules."""

    def experiment(code: str | None, *changes: dict, **engine):
        if code is not None:
            (tmp_path / "mine.py").write_text(code)
        values = {f"engine.{key}": value for key, value in engine.items()}
        return sim.experiment_from(config(values, *changes), tmp_path)

    return experiment


@pytest.fixture
def refusal(experiment):
    """The message with which such an experiment is refused, or fails."""

    def refusal(code: str | None, *changes: dict, **engine):
        return refused(lambda: sim.run(experiment(code, *changes, **engine)))

    return refusal


# ---- what it does ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("allowed")
def test_a_gate_of_ones_own_decides_who_starts(experiment):
    usual, alike, cautious = (
        sim.run(experiment(code, PREEMPTING, gate=gate))
        for code, gate in (
            (None, "whole_prompt"),
            (GATE.format(more=0), "mine.py:blocks_required"),
            (GATE.format(more=200), "mine.py:blocks_required"),
        )
    )
    assert alike.requests.equals(usual.requests)
    assert cautious.requests["preemptions"].sum() < usual.requests["preemptions"].sum()
    assert cautious.summary["sim"]["audit"]["violations"] == 0


@pytest.mark.usefixtures("allowed")
def test_an_order_of_ones_own_decides_who_is_first(experiment):
    one_by_one = {"engine.max_num_seqs": 1, "workload.arrivals": {"process": "all_at_once"}}
    requests = sim.run(experiment(ORDER, one_by_one, scheduling_policy="mine.py:ShortestPrompt")).requests
    assert requests.sort_values("scheduled_s")["prompt_tokens"].is_monotonic_increasing


@pytest.mark.usefixtures("allowed")
def test_a_composition_of_ones_own_decides_who_runs(experiment):
    ours, usual = sim.run(experiment(COMPOSITION, composition="mine.py:Mine")), sim.run(experiment(None))
    assert ours.requests.equals(usual.requests)


@pytest.mark.usefixtures("allowed")
def test_a_formation_of_ones_own_decides_when_requests_may_join(experiment):
    code = "def may_join(running):\n    return not running\n"
    ours, theirs = (
        sim.run(experiment(code, PREEMPTING, formation=each)).requests
        for each in ("mine.py:may_join", "drain_then_fill")
    )
    assert ours.equals(theirs)


@pytest.mark.usefixtures("allowed")
def test_reserved_memory_may_hold_prompt_and_answer_instead_of_a_slot(experiment):
    """As Text Generation Inference reserves: prompt and max_new_tokens together."""
    code = """
MOST = 60

def reserved_tokens(engine):
    return lambda known_tokens: known_tokens + MOST

def blocks_required(engine):
    return lambda known_tokens, chunk_tokens: -(-(known_tokens + MOST) // engine.block_size)
"""
    memory = PREEMPTING | {"engine.preset": "orca", "engine.num_gpu_blocks": 64}
    rules = {"kv_allocation": "mine.py:reserved_tokens", "gate": "mine.py:blocks_required"}
    ours, slots = sim.run(experiment(code, memory, **rules)), sim.run(experiment(None, memory))
    assert ours.requests["preemptions"].sum() == 0
    assert ours.summary["sim"]["batch"]["mean_running"] > 2 * slots.summary["sim"]["batch"]["mean_running"]


@pytest.mark.usefixtures("allowed")
def test_a_dataclass_in_a_file_works_as_anywhere(experiment):
    code = "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    b: int\n"
    assert sim.run(experiment(code + GATE.format(more=0), gate="mine.py:blocks_required"))


@pytest.mark.usefixtures("allowed")
def test_no_run_sees_what_another_left_in_the_file(experiment):
    code = "calls = []\ndef blocks_required(engine):\n    calls.append(1)\n    more = len(calls)\n"
    code += "    return lambda known_tokens, chunk_tokens: known_tokens // engine.block_size + more\n"
    case = experiment(code, PREEMPTING, gate="mine.py:blocks_required")
    assert sim.run(case).requests.equals(sim.run(case).requests)


@pytest.mark.usefixtures("allowed")
def test_the_file_is_an_input_of_the_run(experiment, tmp_path):
    first = experiment(GATE.format(more=0), gate="mine.py:blocks_required")
    before = config_hash(first)
    assert list(input_hashes(first)) == [str(tmp_path / "mine.py")]
    assert str(tmp_path / "mine.py") in first.input_files
    assert config_hash(experiment(GATE.format(more=1), gate="mine.py:blocks_required")) != before


@pytest.mark.usefixtures("allowed")
def test_a_resolved_experiment_with_a_rule_loads_to_itself_and_can_be_overridden(experiment):
    resolved = experiment(GATE.format(more=0), gate="mine.py:blocks_required").resolved()
    assert sim.experiment_from(resolved).resolved() == resolved
    apply_override(resolved, "engine.scheduler_reserve_full_isl=false")
    again = sim.experiment_from(resolved).engine
    assert (again.gate, again.own_rules) == ("first_chunk", {})


@pytest.mark.usefixtures("allowed")
def test_a_preset_of_ones_own_may_bring_a_rule_which_an_experiment_may_replace(experiment, tmp_path):
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "gates.py").write_text(GATE.format(more=0))
    values = {"base": "vllm-v1", "values": {"gate": "gates.py:blocks_required", "max_num_seqs": 5}}
    (folder / "p.yaml").write_text(dump_yaml(values))
    engine = experiment(None, preset="presets/p.yaml").engine
    assert engine.own_rules == {"gate": f"{folder / 'gates.py'}:blocks_required"}
    assert experiment(None, preset="presets/p.yaml", gate="first_chunk").engine.own_rules == {}


# ---- what is refused before anything runs ----------------------------------------------------------------------------


@pytest.mark.parametrize("said", [{"gate": "mine.py:f"}, {"own_rules": {"gate": "/x/mine.py:f"}}])
def test_code_runs_only_where_it_is_allowed(refusal, tmp_path, said, monkeypatch):
    monkeypatch.delenv(ALLOW_CODE, raising=False)
    message = refusal(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef f(engine): ...", **said)
    all_in(message, ["engine.gate: ", "mine.py:f' is code", "servesim --allow-code VERB", ALLOW_CODE])
    assert not (tmp_path / "ran").exists()


BROKEN = [
    ("missing_file", None, "mine.py:f", ["engine.gate: no file at", "mine.py", "relative to the config"]),
    (
        "syntax",
        "def f(:",
        "mine.py:f",
        ["engine.gate: ", "mine.py cannot be loaded (SyntaxError", "line 1", "correct it"],
    ),
    ("raises", "1 / 0\n", "mine.py:f", ["cannot be loaded (ZeroDivisionError", "line 1 of mine.py"]),
    ("exits", "import sys\nsys.exit(3)", "mine.py:f", ["cannot be loaded (SystemExit: 3", "line 2 of mine.py"]),
    ("import", "import no_such_module", "mine.py:f", ["ModuleNotFoundError", "no_such_module", "line 1 of mine.py"]),
    ("binary", "\0", "mine.py:f", ["mine.py cannot be loaded", "correct it"]),
    ("no_such_name", "def g(): ...", "mine.py:f", ["no function or class 'f', it has g", "correct the name"]),
    ("nothing_in_it", "", "mine.py:f", ["no function or class 'f', it has none", "define it"]),
    ("not_callable", "f = 3", "mine.py:f", ["no function or class 'f'", "define it"]),
    ("no_name", "f = 3", "mine.py", ["engine.gate: got 'mine.py', which names no rule", "FILE.py:NAME"]),
    ("empty_name", "f = 3", "mine.py:", ["engine.gate: got 'mine.py:', which names no rule", "FILE.py:NAME"]),
]


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(("code", "reference", "fragments"), [pytest.param(*rest, id=name) for name, *rest in BROKEN])
def test_a_file_that_cannot_be_used_is_refused(experiment, code, reference, fragments):
    all_in(refused(lambda: experiment(code, gate=reference)), fragments)


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(
    ("said", "fragments"),
    [
        ({"release": "mine.py:f"}, ["engine.release: got 'mine.py:f'", "composition, formation, gate", "or order"]),
        ({"max_num_seqs": "mine.py:f"}, ["engine.max_num_seqs: got 'mine.py:f'", "can only take the place of"]),
        ({"own_rules": ["a.py:b"]}, ["engine.own_rules: got ['a.py:b']", "a mapping of keys to FILE.py:NAME"]),
        ({"own_rules": None}, ["engine.own_rules: got None", "correct it"]),
        ({"own_rules": {"gate": 3}}, ["engine.gate: got 3, which names no rule", "FILE.py:NAME"]),
        ({"own_rules": {"prefill": "mine.py:f"}}, ["engine.prefill: got 'mine.py:f'", "composition, formation"]),
        ({"preset": "sglang", "gate": "mine.py:f"}, ["gate ", "would never be asked", "prefill_until_full", "mixed"]),
        ({"preset": "lightllm", "kv_allocation": "mine.py:f"}, ["kv_allocation ", "would never be asked", "rounds"]),
        ({"preset": "fastgen", "formation": "mine.py:f"}, ["formation ", "would never be asked", "decodes_first"]),
        ({"preset": "sglang", "order": "mine.py:f"}, ["requeue tail with order", "mine.py:f", "set requeue to head"]),
    ],
)
def test_a_rule_that_nobody_would_ask_is_refused(experiment, said, fragments):
    all_in(refused(lambda: experiment("def f(*given): ...", **said)), fragments)


@pytest.mark.usefixtures("allowed")
def test_drafts_are_verified_by_a_composition_of_their_own(experiment):
    drafts = {"method": "ngram", "num_speculative_tokens": 3, "acceptance": {"kind": "constant", "rate": 0.6}}
    message = refused(lambda: experiment(COMPOSITION, composition="mine.py:Mine", speculation=drafts))
    all_in(message, ["speculation with composition", "mine.py:Mine", "set speculation to null or drop composition"])


# ---- what goes wrong while it runs -----------------------------------------------------------------------------------

FAILING = [
    ("no_arguments", "gate", "def f(): ...", ["TypeError", "takes 0 positional arguments but 1 was given"]),
    ("not_a_gate", "gate", "def f(engine): return 3", ["TypeError", "'int' object is not callable"]),
    ("too_few", "gate", "def f(engine): return lambda known: 1", ["TypeError", "2 were given"]),
    ("nothing", "gate", "def f(engine): return lambda known, chunk: None", ["TypeError"]),
    (
        "raises",
        "gate",
        "def f(engine):\n    def g(*known):\n        1 / 0\n    return g",
        ["ZeroDivisionError", "line 3 of"],
    ),
    ("exits", "gate", "import sys\ndef f(engine): return lambda *known: sys.exit(0)", ["SystemExit: 0", "line 2 of"]),
    ("asks_for_less_than_is_taken", "gate", "def f(engine): return lambda *known: 0", ["cannot take", "free blocks"]),
    ("no_order", "order", "class f: ...", ["AttributeError", "'f' object has no attribute"]),
    ("no_composition", "composition", "class f:\n    def __init__(self, core): ...", ["AttributeError", "'form'"]),
    (
        "more_than_known",
        "kv_allocation",
        "def f(engine): return lambda known: known + 1",
        ["engine.kv_allocation: mine.py:f reserves", "at most those", "kv_allocation reserved (orca)"],
    ),
]


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(("axis", "code", "fragments"), [pytest.param(*rest, id=name) for name, *rest in FAILING])
def test_what_goes_wrong_in_a_rule_is_told_as_the_rules(refusal, axis, code, fragments):
    all_in(refusal(code, PREEMPTING, **{axis: "mine.py:f"}), [axis, "mine.py:f", *fragments])


@pytest.mark.usefixtures("allowed")
def test_a_gate_that_lets_nobody_in_ends_the_run_with_who_waits(experiment):
    case = experiment(GATE.format(more=10**6), gate="mine.py:blocks_required")
    all_in(
        refused(sim.run, case, error=ServesimError),
        ["nothing can run although 1 requests wait", "your own rule of gate"],
    )


@pytest.mark.usefixtures("allowed")
def test_answers_that_outgrow_what_was_reserved_for_them_are_told_as_the_rules(refusal):
    code = "def f(engine): return lambda known: known\ndef g(engine): return lambda known, chunk: 1 + known // 16\n"
    message = refusal(code, {"engine.preset": "orca"}, kv_allocation="mine.py:f", gate="mine.py:g")
    all_in(message, ["a rule of your own (kv_allocation mine.py:f and gate mine.py:g) failed", "cannot return"])


@pytest.mark.usefixtures("allowed")
def test_a_broken_law_is_told_as_the_rules_and_not_as_a_defect(experiment):
    forgets = "if len(self._core.waiting) > 1: self._core.waiting.pop()"
    form = f"    def form(self, plan):\n        {forgets}\n        super().form(plan)"
    case = experiment(COMPOSITION.replace("    pass", form), PREEMPTING, composition="mine.py:Mine")
    message = refused(sim.run, case, error=CheckFailed, code=1)
    all_in(message, ["self-audit: ", "rules of your own (composition mine.py:Mine)", "correct them"])
    assert "defect" not in message
