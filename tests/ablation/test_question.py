"""Questions: what a file may say, how variants are named, and that impossible ones are all told at once."""

from dataclasses import replace

import pytest
from support.training import write_recipe

from vaezoo.ablation.plan import make_plan
from vaezoo.ablation.question import check_question, parse_axes, read_question
from vaezoo.ablation.variants import make_variants, variant_name
from vaezoo.errors import SpecError, UnknownNameError
from vaezoo.specs.catalog import files
from vaezoo.specs.parse import parse_yaml
from vaezoo.training.recipes import put

FILE = """\
question: What do heads and channels do?
base: vae_f8_z4_micro
grid: {"encoder.4.heads, decoder.2.heads": [1, 4], latent.channels: [4, 8]}
"""


def asked(text: str):
    return check_question(parse_yaml(text, "ask.yaml"))


def asked_small(text: str):
    """The question about small images only: costs at larger sizes take longer to count."""
    return replace(asked(text), sizes=(64,))


def faults_of(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        make_variants(asked(text))
    return str(caught.value).splitlines()


def test_a_grid_is_every_combination_and_an_axis_of_two_paths_moves_both():
    variants = make_variants(asked_small(FILE))
    assert [v.name.removeprefix("vae_f8_z4_micro") for v in variants] == [
        "",  # heads 1 and 4 channels are the base
        "+heads1,channels8",
        "+heads4,channels4",
        "+heads4,channels8",
    ]
    assert variants[2].overrides == {"encoder.4.heads": 4, "decoder.2.heads": 4, "latent.channels": 4}
    rows = variants[2].spec.encoder[4], variants[2].spec.decoder[2]
    assert [row.arguments["heads"] for row in rows] == [4, 4]


def test_set_grid_and_variants_are_joined_and_equal_networks_are_one():
    text = FILE.replace(
        "grid:", "set: {latent.channels: 16}\nvariants: [{'*.*.skip': auto}, {latent.channels: 16}]\ngrid:"
    )
    names = [v.label for v in make_variants(asked_small(text))]
    assert names == ["base", "channels16", "heads1,channels8", "heads4,channels4", "heads4,channels8", "skip=auto"]


@pytest.mark.parametrize(
    ("axis", "others", "name"),
    [
        ("encoder.4.heads", [], "heads"),
        ("encoder.4.heads", ["decoder.2.heads"], "4.heads"),
        ("encoder.4.heads,decoder.4.heads", ["latent.channels"], "heads"),
        ("encoder.4.heads", ["decoder.4.heads"], "encoder.4.heads"),
        ("latent.channels", ["image.channels"], "latent.channels"),
        ("encoder.1.heads,decoder.1.out", [], "encoder.1.heads&decoder.1.out"),
    ],
)
def test_a_name_says_as_much_of_a_path_as_tells_it_from_the_others(axis, others, name):
    changes = parse_axes([f"{axis}=3"]).value
    node = changes[axis].value[0]
    assert variant_name("base", {axis: node}, [axis, *others]) == f"base+{name}3"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("auto", "=auto"),
        ("null", "=null"),
        ("true", "=true"),
        ("1e-5", "1e-05"),
        ("2.0", "2"),
        ("1.0000001", "1.0000001"),
        ("[1, 2]", "=[1,2]"),
    ],
)
def test_only_numbers_follow_their_key_directly(value, name):
    node = parse_axes([f"a.b.c={value}"]).value["a.b.c"].value[0]
    assert variant_name("n", {"a.b.c": node}, ["a.b.c"]) == f"n+c{name}"


def test_axes_of_the_command_line_read_lists_and_refuse_nonsense():
    axes = parse_axes(["latent.channels=4,8", "a.b.c=[1, 2],[3]"])
    assert axes.plain() == {"latent.channels": [4, 8], "a.b.c": [[1, 2], [3]]}
    for bad in (["latent.channels"], ["=4"], ["a.b.c="], ["a.b.c=1", "a.b.c=2"]):
        with pytest.raises(SpecError, match=r"expected path=value,value"):
            parse_axes(bad)


def test_impossible_variants_are_told_all_at_once_one_line_each():
    lines = faults_of(FILE.replace("[1, 4]", "[1, 5, 7]").replace("[4, 8]", "[4, 0]"))
    assert len(lines) == 5
    assert lines[0].startswith("ask.yaml:3:")
    assert "vae_f8_z4_micro+heads1,channels0: " in lines[0]
    assert "expected 1 to 16,384, got 0" in lines[0]
    assert "heads5,channels4: vae_f8_z4_micro: encoder[4]: heads 5 does not divide 48 channels (and 1 more" in lines[1]
    assert "heads7,channels4" in lines[3]


def test_sizes_and_crops_that_a_variant_does_not_take_are_faults(tmp_path):
    assert "100x100 is not a positive multiple of 8" in faults_of(FILE + "sizes: [100]")[0]
    recipe = write_recipe(tmp_path)
    with pytest.raises(SpecError, match=r"data\.sizes 12: vae_f8_z4_micro takes multiples of 8"):
        make_plan(asked(f"{FILE}recipe: {{name: {recipe}, set: {{data.sizes: [12]}}}}"), tmp_path)


def test_variants_that_cannot_start_as_the_recipe_says_are_all_told(tmp_path):
    text = """\
question: q
base: vae_f8_z4_micro
grid: {"decoder.5.resample": [conv_transpose_4x4, nearest_conv_3x3], decoder.6.groups: [4, 8, 16]}
recipe: {name: quickstart, set: {start: START}}
evaluation: {nets: []}
"""
    assert len(make_plan(asked_small(text.replace("START", "random")), tmp_path).variants) == 6
    with pytest.raises(SpecError) as caught:
        make_plan(asked_small(text.replace("START", "resampler")), tmp_path)
    first, *others = str(caught.value).splitlines()
    assert "resample=conv_transpose_4x4,groups16: " in first
    assert "groups of 1 channels; start: resampler needs 4" in first
    assert [line.partition("resample=")[2].partition(":")[0] for line in others] == ["nearest_conv_3x3,groups16"]


def test_faults_of_a_file_come_together_with_their_places():
    text = "question: 3\nbase: x\ngrid: {a: 1}\nsteps: 3\nseeds: [1, 1]\nrecipe: hello\nsize: 2\n"
    with pytest.raises(SpecError) as caught:
        asked(text)
    said = str(caught.value)
    for place in ("1:11: question", "3:11: grid.a", "5:8: seeds", "6:9: recipe", "7:1: size: unknown key"):
        assert f"ask.yaml:{place}" in said
    with pytest.raises(SpecError, match=r"missing set \(one variant\), grid or variants"):
        asked("question: q\nbase: vae_f8_z4_micro")
    with pytest.raises(SpecError, match=r"steps: nothing is trained without a recipe"):
        asked(FILE + "steps: 5")
    with pytest.raises(SpecError, match="1,000 variants; the limit is 500"):
        asked("question: q\nbase: b\ngrid: {a: [" + "1," * 999 + "1]}")


TRAINED = FILE + "recipe: {name: quickstart}\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TRAINED + "seeds: 3", "5:8: seeds: expected a list"),
        (TRAINED + "seeds: [-1, 0]", r"seeds\[0\]: expected 0 to"),
        (FILE + "sizes: null", "4:8: sizes: expected a list"),
        (FILE + "measure: {sizes: [32, 32]}", "expected every item once"),
        ("question: q\nbase: b\nvariants: []", "3:11: variants: expected at least 1 item, got 0"),
        ("question: q\nbase: b\nset: {a.b: 1, ' a.b,c.d': 2}", "3:27: set. a.b,c.d: a.b is set by two keys"),
        ("question: q\nbase: b\ngrid: {a.b: [1], 'c.d, a.b': [2]}", "3:30: grid.c.d, a.b: a.b is set by two keys"),
        (TRAINED.replace("quickstart", "quickstart, set: {seed: 3}"), "recipe.set.seed: an ablation sets seed itself"),
        (TRAINED.replace("quickstart", "quickstart, set: {overrides.latent.channels: 3}"), "sets overrides itself"),
    ],
)
def test_what_would_be_ignored_or_is_no_list_is_a_fault(text, words):
    with pytest.raises(SpecError, match=words):
        asked(text)


def test_the_limit_is_that_of_all_variants_together():
    many = "[" + "1, " * 299 + "1]"
    with pytest.raises(SpecError, match="600 variants; the limit is 500"):
        asked(f"question: q\nbase: b\ngrid: {{a: {many}}}\nvariants: {many.replace('1', '{a: 1}')}")


def test_options_that_are_put_into_a_question_do_not_stay_there():
    put(read_question("quickstart"), "steps", parse_yaml("7", "--steps"))
    assert check_question(read_question("quickstart")).steps != 7


def test_an_unknown_name_tells_the_near_ones():
    with pytest.raises(UnknownNameError, match="did you mean 'quickstart'"):
        read_question("quickstrat")


def test_equal_flops_give_dearer_variants_fewer_steps(tmp_path):
    recipe = write_recipe(tmp_path)
    text = f"{FILE}recipe: {{name: {recipe}, set: {{data.sizes: [16]}}}}\nsteps: 1000\nseeds: [3]\n"
    text = text.replace("latent.channels: [4, 8]", "'*.*.layers': [1, 2]")
    plan = make_plan(asked_small(text + "equal: flops\nevaluation: {size: 32, nets: []}"), tmp_path)
    steps = {run.variant.label: run.recipe.steps for run in plan.runs}
    assert steps["base"] == 1000
    assert 300 < steps["heads1,layers2"] < 800
    assert len({run.key for run in plan.runs}) == len(plan.runs) == 4


PACKAGED = [pytest.param(name, marks=pytest.mark.slow) if name == "full_costs" else name for name in files("ablations")]


@pytest.mark.parametrize("name", PACKAGED)
def test_every_ablation_of_the_package_can_be_planned(name, tmp_path):
    ablation = replace(check_question(read_question(name)), sizes=(64,))
    plan = make_plan(ablation, tmp_path)
    assert len(plan.variants) > 1
    assert len(plan.runs) == len(plan.variants) * (len(ablation.seeds) if ablation.recipe else 0)
    assert ablation.question.endswith("?")
