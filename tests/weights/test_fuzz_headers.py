"""Made-up and damaged safetensors headers by the hundred: each loads or ends in our error, soon, in little memory."""

import json
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vaezoo
from vaezoo.benchmark.timing import meter
from vaezoo.errors import VaezooError

NUMBERS = st.integers(-2, 20) | st.sampled_from([2**31, 2**32, 2**40, 2**63, 2**64, 10**30]) | st.floats()
JUNK = st.recursive(st.none() | st.booleans() | NUMBERS | st.text(max_size=4), lambda x: st.lists(x, max_size=3))
DTYPE = st.sampled_from(["F32", "BF16", "F64", "I8", "BOOL", "F8_E4M3", "C64", "F4", "f32", ""])
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "dtype": DTYPE | JUNK,
        "shape": st.lists(st.integers(0, 4), max_size=3) | st.lists(NUMBERS, max_size=3) | JUNK,
        "data_offsets": st.tuples(st.integers(0, 20), st.integers(0, 20)) | st.lists(NUMBERS, max_size=3) | JUNK,
        "more": JUNK,
    },
)
NAMES = st.sampled_from(["a", "encoder.0.bias", "__metadata__", "\ud800", "\x00\x1b"])
HEADERS = st.dictionaries(NAMES, ENTRY | JUNK, max_size=3) | JUNK
TEXTS = HEADERS.map(lambda x: json.dumps(x).encode()) | st.binary(max_size=40) | st.just(b'{"a":' * 5_000)
PLACES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4)
LENGTHS = st.none() | st.sampled_from([0, 1, 2**20, 10**8, 10**8 + 1, 2**40, 2**63, 2**64 - 1])


def end_in_a_load_or_our_error(vae, path, content):
    text = ""
    path.write_bytes(content)
    try:
        vaezoo.load_checkpoint(vae, path)
    except VaezooError as error:
        text = str(error)
    assert len(text) < 5_000


@pytest.mark.parametrize("examples", [50, pytest.param(600, marks=pytest.mark.slow)])
def test_broken_headers_end_in_our_error_or_load_and_allocate_little(tmp_path, examples):
    vae, path = vaezoo.create("vae_f8_z4_micro"), tmp_path / "x.safetensors"
    vaezoo.export_checkpoint(vae, path)
    content = path.read_bytes()
    header = 8 + struct.unpack("<Q", content[:8])[0]

    @settings(max_examples=examples, deadline=5_000, database=None)
    @given(text=TEXTS, length=LENGTHS, body=st.sampled_from([0, 4, 8, 20]))
    def made_up(text, length, body):
        head = struct.pack("<Q", len(text) if length is None else length)
        end_in_a_load_or_our_error(vae, path, head + text + bytes(body))

    @settings(max_examples=examples // 5, deadline=5_000, database=None)
    @given(places=PLACES)
    def damaged(places):
        changed = bytearray(content)
        for place, byte in places:
            changed[int(place * header)] = byte
        end_in_a_load_or_our_error(vae, path, changed)

    with meter(torch.device("cpu")) as before:
        pass
    with meter(torch.device("cpu")) as reading:
        made_up()
        damaged()
    assert reading.peak_mib - before.peak_mib < 400  # hypothesis itself takes half of it
