"""Counted costs against closed forms: multiply-accumulates of convolutions, products and attention, worked out here."""

import pytest
from support.formulas import attention, conv, residual

import vaezoo
from vaezoo.analysis.costs import costs
from vaezoo.errors import InputError

GIGA = 1e9


def test_every_row_of_the_micro_network_costs_what_its_formula_says():
    counted = costs(vaezoo.get_spec("vae_f8_z4_micro"), 64, 32)
    full, half, quarter, eighth = (64 * 32 // n**2 for n in (1, 2, 4, 8))
    middle = 2 * residual(48, 48, eighth) + attention(48, eighth)
    encoder = [
        conv(3, 3, 16, full),
        residual(16, 24, full) + conv(4, 24, 24, half),
        residual(24, 32, half) + conv(4, 32, 32, quarter),
        residual(32, 48, quarter) + conv(4, 48, 48, eighth),
        middle,
        conv(3, 48, 8, eighth),
        conv(1, 8, 8, eighth),
    ]
    decoder = [
        conv(1, 4, 4, eighth),
        conv(3, 4, 48, eighth),
        middle,
        # a transposed convolution multiplies every input with its whole kernel
        conv(4, 48, 48, eighth) + residual(48, 32, quarter),
        conv(4, 32, 32, quarter) + residual(32, 24, half),
        conv(4, 24, 24, half) + residual(24, 16, full),
        conv(3, 16, 3, full),
    ]
    assert [row.gmacs for row in counted.rows] == pytest.approx([macs / GIGA for macs in encoder + decoder], rel=1e-9)
    assert counted.gmacs("encoder") == pytest.approx(sum(encoder) / GIGA)
    assert counted.gmacs() == pytest.approx(sum(encoder + decoder) / GIGA)


@pytest.mark.parametrize("resample", ["conv_3x3_asymmetric", "nearest_conv_3x3"])
def test_the_other_resamplers_cost_a_3x3_convolution_of_their_result(resample):
    half, index, width, size = ("encoder", 1, 24, 16) if "asym" in resample else ("decoder", 5, 24, 32)
    overrides = {f"{half}.{index}.resample": resample}
    changed = costs(vaezoo.create("vae_f8_z4_micro", overrides=overrides).spec, 32)
    base = costs(vaezoo.get_spec("vae_f8_z4_micro"), 32)
    row, before = (next(r for r in c.rows if (r.half, r.index) == (half, index)) for c in (changed, base))
    kernel_4 = conv(4, width, width, 16 * 16)
    assert (row.gmacs - before.gmacs) * GIGA == pytest.approx(conv(3, width, width, size**2) - kernel_4)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_the_number_of_heads_costs_nothing(heads):
    spec = vaezoo.create("vae_f8_z4_micro", overrides={"*.*.heads": 0, "decoder.2.heads": heads}).spec
    none = vaezoo.create("vae_f8_z4_micro", overrides={"*.*.heads": 0}).spec
    extra = costs(spec, 128).gmacs() - costs(none, 128).gmacs()
    assert extra * GIGA == pytest.approx(attention(48, 16 * 16))


def test_the_documented_network_takes_295_gflop_at_256_of_which_attention_takes_6():
    counted = costs(vaezoo.get_spec("vae_f8_z4"))
    without = costs(vaezoo.get_spec("vae_f8_z4_noattn"))
    assert (counted.height, counted.width) == (256, 256)
    assert round(2 * counted.gmacs(), 1) == 295.0
    assert round(2 * without.gmacs(), 1) == 288.5
    assert 2 * (counted.gmacs() - without.gmacs()) == pytest.approx(4 * 2 * attention(256, 1024) / GIGA)


def test_the_documented_stages_have_the_documented_shapes_and_parameters():
    counted = costs(vaezoo.get_spec("vae_f8_z4"))
    shapes = [row.shape for row in counted.rows]
    assert shapes[:5] == [(64, 256, 256), (128, 128, 128), (256, 64, 64), (256, 32, 32), (256, 32, 32)]
    assert shapes[5:9] == [(8, 32, 32), (8, 32, 32), (4, 32, 32), (256, 32, 32)]
    assert shapes[9:] == [(256, 32, 32), (256, 64, 64), (128, 128, 128), (64, 256, 256), (3, 256, 256)]
    assert counted.params("encoder") == 11_851_344
    assert counted.params() == 21_970_983


def test_costs_as_plain_data_hold_the_totals():
    data = costs(vaezoo.get_spec("vae_f8_z4_micro"), 64).to_dict()
    for half in ("encoder", "decoder"):
        rows = [row for row in data["rows"] if row["half"] == half]
        assert data[half]["params"] == sum(row["params"] for row in rows)
        assert data[half]["gmacs"] == pytest.approx(sum(row["gmacs"] for row in rows), abs=1e-6)
    assert data["encoder"]["params"] + data["decoder"]["params"] == 433_767


@pytest.mark.parametrize("size", [(0, None), (-8, None), (60, None), (64, 30)])
def test_a_size_that_the_network_cannot_take_is_an_error(size):
    with pytest.raises(InputError, match="not a positive multiple of 8"):
        costs(vaezoo.get_spec("vae_f8_z4_micro"), *size)
