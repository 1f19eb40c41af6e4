"""Damaged and hostile files: each ends in a `VaezooError` with a message of some size, or loads and can be built."""

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.hostile_files import TOKENS, damaged, rearranged

from vaezoo.ablation.question import MAX_VARIANTS, check_question, read_question
from vaezoo.errors import VaezooError
from vaezoo.nn.build import build
from vaezoo.nn.schema import change_spec
from vaezoo.specs import catalog
from vaezoo.specs.catalog import files, model_file
from vaezoo.specs.names import ModelName
from vaezoo.specs.overrides import parse_settings
from vaezoo.specs.parse import parse_json, parse_yaml
from vaezoo.specs.stats import LatentStats
from vaezoo.training.recipes import check_recipe, read_recipe, recipe_text
from vaezoo.weights.config_json import PublishedNetwork, config_text, read_network
from vaezoo.weights.records import expand_alias, find_record, read_records
from vaezoo.zoo.spec_file import read_spec

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")  # where a large file fails, show it
FAST = settings(
    max_examples=20,  # of each kind, together 100; hundreds are slow
    derandomize=True,
    database=None,
    deadline=20_000,  # milliseconds for one file; a hang is a failure
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
LONG = settings(FAST, max_examples=600)
MEMORY = 400 * 1024  # KiB that a whole test may add to the process, PyTorch's own caches included

MICRO = read_spec(model_file("vae_f8_z4_micro"))
STATS = LatentStats(mean=(0.1, -0.2, 0.3, 0.4), std=(1.0, 2.0, 3.0, 0.5))
RECORD = {"source": {"file": "a.safetensors"}, "layout": "native", "license": "mit", "sha256": "0" * 64}
HUB = {"source": {"hub": "org/name", "file": "a.bin", "revision": "a" * 40}, "layout": "documented", "license": "mit"}
METRICS = {"protocol": "p", "data": "d", "images": 3, "psnr": 2}
RECORDS = {
    "default": "v1",
    "v1": {**RECORD, "latent_stats": STATS.to_dict(), "aliases": ["mine"], "removed_in": "0.2.0"},
    "v2": {**HUB, "verified": False, "pickle_only": True, "metrics": METRICS},
}

NETWORK_TEXTS = [path.read_bytes() for path in files("models").values()]
NETWORKS = [parse_yaml(text.decode(), "zoo").plain() for text in NETWORK_TEXTS]
CONFIG_TEXTS = [config_text(MICRO, STATS, "0" * 64).encode(), config_text(MICRO, None, "f" * 64).encode()]
CONFIGS = [parse_json(text.decode(), "config").plain() for text in CONFIG_TEXTS]
RECIPE_TEXTS = [path.read_bytes() for path in files("train").values()]
RECIPES = [parse_yaml(text.decode(), "recipe").plain() for text in RECIPE_TEXTS]
QUESTION_TEXTS = [path.read_bytes() for path in files("ablations").values()]
QUESTIONS = [parse_yaml(text.decode(), "question").plain() for text in QUESTION_TEXTS]
BOMBS = [
    b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (n + 1, n + 1, n, n) for n in range(97, 121)),
    b"a: &a [*a]\n",
    b"a: !!python/object/apply:os.system [echo]\n",
    b"a: !!timestamp 2020-01-01\n",
    b"{a: " * 10_000,
    b"[" * 100_000,
    b"a: 1\na: 2\n",
    b"a: \0\n",
    b"a: \xff\n",
    b"a: " + b"x" * 5_000_000,
]
RECORD_TEXTS = [json.dumps(RECORDS, indent=1).encode(), *(path.read_bytes() for path in files("weights").values())]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A catalog of one network, `mine`, which can have records: those of the package are not read each time."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "models").mkdir()
    (folder / "weights").mkdir()
    (folder / "models" / "mine.yaml").write_bytes(model_file("vae_f8_z4_micro").read_bytes())
    patch = pytest.MonkeyPatch()
    patch.setattr(catalog, "data_dir", lambda name: folder)
    yield folder
    patch.undo()


@pytest.fixture(autouse=True, scope="module")
def little_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY


def ends_well(load: Callable[[], Any]) -> Any:
    try:
        return load()
    except VaezooError as error:
        told = str(error).encode()  # a text that can be printed
    assert 0 < len(told) < 50_000
    return None


_built: set[str] = set()


def check_network(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    spec = ends_well(lambda: read_spec(path))
    if spec is None or spec.hash in _built:
        return
    _built.add(spec.hash)
    vae = ends_well(lambda: build(spec, "meta"))
    assert vae is None or all(p.is_meta for p in vae.parameters())


def check_config(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    published = ends_well(lambda: read_network(path))
    assert not isinstance(published, PublishedNetwork) or published.spec.hash == published.config.spec_hash


def check_records(folder: Path, content: bytes) -> None:
    (folder / "weights" / "mine.yaml").write_bytes(content)
    ends_well(lambda: expand_alias(ModelName("zoo", "no_such")))
    if (found := ends_well(lambda: read_records("mine"))) is not None:
        for tag in (None, *found[1]):
            ends_well(lambda tag=tag: find_record(ModelName("zoo", "mine", tag)))


def check_recipe_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    recipe = ends_well(lambda: read_recipe(path))
    if recipe is not None:
        assert check_recipe(parse_yaml(recipe_text(recipe), "again")).hash == recipe.hash


def check_question_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    ablation = ends_well(lambda: check_question(read_question(str(path))))
    assert ablation is None or 0 < len(ablation.changes) <= MAX_VARIANTS


NETWORK_FILES = damaged(NETWORK_TEXTS) | rearranged(NETWORKS)
RECIPE_FILES = damaged(RECIPE_TEXTS) | rearranged(RECIPES)
QUESTION_FILES = damaged(QUESTION_TEXTS) | rearranged(QUESTIONS)
CONFIG_FILES = damaged(CONFIG_TEXTS) | rearranged(CONFIGS)
RECORD_FILES = damaged(RECORD_TEXTS) | rearranged([RECORDS])
SETTINGS = st.tuples(
    st.sampled_from(["latent.channels", "encoder.1.layers", "*.*.heads", "encoder.*.out", "image", "decoder.2.block"]),
    st.text(max_size=8) | st.sampled_from([token.decode("latin-1") for token in TOKENS if len(token) < 1000]),
).map("=".join)
STRANGE = st.lists(SETTINGS | st.text(max_size=20), max_size=3)


@FAST
@given(NETWORK_FILES)
def test_a_damaged_network_loads_and_can_be_built_or_is_refused(folder, content):
    check_network(folder / "network.yaml", content)


@FAST
@given(CONFIG_FILES)
def test_a_damaged_config_loads_or_is_refused(folder, content):
    check_config(folder / "config.json", content)


@FAST
@given(RECORD_FILES)
def test_a_damaged_record_of_weights_loads_or_is_refused(folder, content):
    check_records(folder, content)


@FAST
@given(RECIPE_FILES)
def test_a_damaged_recipe_is_read_or_refused(folder, content):
    check_recipe_file(folder / "recipe.yaml", content)


@FAST
@given(QUESTION_FILES)
def test_a_damaged_question_is_read_or_refused(folder, content):
    check_question_file(folder / "question.yaml", content)


@pytest.mark.parametrize("content", BOMBS, ids=range(len(BOMBS)))
def test_a_file_that_grows_when_it_is_read_or_asks_for_code_is_refused(folder, content):
    path = folder / "bomb.yaml"
    path.write_bytes(content)
    with pytest.raises(VaezooError, match=str(path)):
        read_recipe(path)


@settings(FAST, max_examples=100)
@given(STRANGE)
def test_a_strange_setting_changes_the_network_or_is_refused(content):
    ends_well(lambda: change_spec(MICRO, parse_settings(content)))


@pytest.mark.slow
@LONG
@given(STRANGE)
def test_many_strange_settings_change_the_network_or_are_refused(content):
    ends_well(lambda: change_spec(MICRO, parse_settings(content)))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["network", "config", "record", "recipe", "question"])
def test_many_damaged_files_of_each_kind_load_or_are_refused(folder, kind):
    files = {"network": NETWORK_FILES, "config": CONFIG_FILES, "record": RECORD_FILES}
    strategy = (files | {"recipe": RECIPE_FILES, "question": QUESTION_FILES})[kind]

    @LONG
    @given(strategy)
    def run(content: bytes) -> None:
        if kind == "record":
            check_records(folder, content)
        elif kind == "config":
            check_config(folder / "config.json", content)
        elif kind == "recipe":
            check_recipe_file(folder / "recipe.yaml", content)
        elif kind == "question":
            check_question_file(folder / "question.yaml", content)
        else:
            check_network(folder / "network.yaml", content)

    run()
