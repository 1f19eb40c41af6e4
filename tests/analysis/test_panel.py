"""The static panel against closed forms written out here, PyTorch's counter and memory really taken."""

import pytest
import torch
from support.formulas import attention, conv, residual
from support.small import small_spec
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

import vaezoo
from vaezoo.analysis.costs import costs
from vaezoo.analysis.memory import activation_peak
from vaezoo.analysis.panel import static_panel
from vaezoo.errors import InputError
from vaezoo.nn.build import build
from vaezoo.specs.model import HALVES

MIB = 2**20
SLOW = pytest.param("dcae_f32_z32", marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def panel():
    return static_panel(vaezoo.get_spec("vae_f8_z4_micro"), (64, 128))


def test_the_panel_of_the_micro_network_has_the_numbers_of_its_file(panel):
    assert panel["params_encoder"] + panel["params_decoder"] == panel["params"] == 433_767
    assert (panel["downscale"], panel["latent_channels"], panel["compression_ratio"]) == (8, 4, 48)
    assert (panel["latent_shape_64"], panel["latent_shape_128"]) == ("4x8x8", "4x16x16")
    assert (panel["global_encoder"], panel["global_decoder"]) == ("attention+group norm",) * 2
    assert all(isinstance(value, (int, float, str)) for value in panel.values())
    columns = {name.rpartition("_")[0] for name in panel if name.endswith("_64")}
    assert columns == {name.rpartition("_")[0] for name in panel if name.endswith("_128")}
    assert len(panel) == 11 + 2 * len(columns)


def test_gmacs_and_the_share_of_attention_are_those_of_closed_forms(panel):
    full, half, quarter, eighth = (64 * 64 // n**2 for n in (1, 2, 4, 8))
    middle = 2 * residual(48, 48, eighth) + attention(48, eighth)
    levels = residual(16, 24, full) + conv(4, 24, 24, half) + residual(24, 32, half) + conv(4, 32, 32, quarter)
    levels += residual(32, 48, quarter) + conv(4, 48, 48, eighth)
    encoder = conv(3, 3, 16, full) + levels + middle + conv(3, 48, 8, eighth) + conv(1, 8, 8, eighth)
    assert panel["gmacs_encoder_64"] == pytest.approx(encoder / 1e9, rel=1e-9)
    assert panel["gmacs_64"] == pytest.approx(panel["gmacs_encoder_64"] + panel["gmacs_decoder_64"])
    assert panel["attention_share_64"] == pytest.approx(2 * attention(48, eighth) / 1e9 / panel["gmacs_64"])
    assert static_panel(vaezoo.get_spec("vae_f8_z4_noattn"), (64,))["attention_share_64"] == 0


@pytest.mark.parametrize("name", ["vae_f8_z4_micro", "ldm_f8_z4", pytest.param("dcae_f32_z32", marks=pytest.mark.slow)])
def test_gmacs_are_half_of_what_pytorch_counts_while_it_computes(name):
    spec = small_spec(name)
    vae = build(spec, "cpu").eval()
    size = 2 * vae.size_multiple
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        vae(torch.zeros(1, 3, size, size))
    assert static_panel(spec, (size,))[f"gmacs_{size}"] == pytest.approx(counter.get_total_flops() / 2e9, rel=1e-9)


def test_rows_add_up_to_the_panel(panel):
    rows = costs(vaezoo.get_spec("vae_f8_z4_micro"), 64).rows
    assert [(row.half, row.index, row.block) for row in rows[6:8]] == [("encoder", 6, "conv"), ("decoder", 0, "conv")]
    for half in HALVES:
        mine = [row for row in rows if row.half == half]
        assert sum(row.params for row in mine) == panel[f"params_{half}"]
        assert sum(row.gmacs for row in mine) == pytest.approx(panel[f"gmacs_{half}_64"])


def test_the_activation_peak_of_a_first_row_is_its_input_and_result():
    """By hand: the worst moment of the micro encoder is in its first level, which has 16 and then 24 channels: image,
    the level's input, the first convolution's result, the second's input and result."""
    peak = static_panel(vaezoo.get_spec("vae_f8_z4_micro"), (128,))["activation_peak_mib_encoder_128"]
    assert peak == pytest.approx((3 + 16 + 24 + 24) * 128 * 128 * 4 / MIB, rel=1e-4)


def allocated_peak(module: torch.nn.Module, x: torch.Tensor) -> int:
    """Bytes that PyTorch's CPU allocator gave out and had not got back, at most, while the module ran."""
    with torch.no_grad():
        module(x)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
            module(x)
    events = [event for event in run.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak + x.untyped_storage().nbytes()


@pytest.mark.parametrize("name", ["vae_f8_z4_micro", "ldm_f8_z4", "taesd_f8_z4", SLOW])
def test_the_activation_peak_is_what_the_allocator_gives_out(name):
    """Within 3 % in channels_last. In the contiguous format the CPU's convolutions copy what they read and write."""
    spec = vaezoo.get_spec(name) if name == "vae_f8_z4_micro" else small_spec(name)
    vae, on_meta = build(spec, "cpu").eval().to(memory_format=torch.channels_last), build(spec, "meta").eval()
    inputs = {"encoder": torch.zeros(1, 3, 128, 128), "decoder": torch.zeros(1, vae.latent_channels, *vae_side(vae))}
    for half, x in inputs.items():
        counted = activation_peak(getattr(on_meta, half), x.to("meta"))
        taken = allocated_peak(getattr(vae, half), x.to(memory_format=torch.channels_last))
        assert counted <= taken * 1.001
        assert taken == pytest.approx(counted, rel=0.03)


def vae_side(vae: vaezoo.VAE) -> tuple[int, int]:
    return (128 // vae.downscale,) * 2


def test_the_scores_of_attention_are_not_memory():
    spec = vaezoo.get_spec("vae_f8_z4_micro")
    peaks = static_panel(spec, (1024,))
    tokens = 128 * 128
    assert peaks["activation_peak_mib_encoder_1024"] < tokens**2 * 4 / MIB
    small = static_panel(spec, (512,))
    assert peaks["activation_peak_mib_encoder_1024"] == pytest.approx(4 * small["activation_peak_mib_encoder_512"])


def test_panels_are_also_of_networks_and_images_that_no_machine_here_could_hold():
    panel = static_panel(vaezoo.get_spec("flux2_f8_z32"), (65_536,))
    assert panel["activation_peak_mib_decoder_65536"] > 2**20  # a TiB
    assert panel["gmacs_65536"] > 100_000


@pytest.mark.parametrize("sizes", [(), (60,), (64, 0)])
def test_sizes_that_do_not_fit_are_an_error(sizes):
    with pytest.raises(InputError, match=r"sizes is empty|not a positive multiple of 8"):
        static_panel(vaezoo.get_spec("vae_f8_z4_micro"), sizes)
