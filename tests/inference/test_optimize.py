"""`optimize`: the same results as the plain path, for every network, dtype and size of strip."""

import pytest
import torch
from support.small import small_vae
from torch import nn

import vaezoo
from vaezoo.inference import executor
from vaezoo.inference.executor import needed_bytes
from vaezoo.inference.optimize import optimize
from vaezoo.inference.strips.nodes import of_tensor
from vaezoo.inference.strips.rows import Rows
from vaezoo.inference.strips.strip_run import Plan, Run

LEAN = Plan(strip_bytes=1 << 40, kept_bytes=0, share=0.4)
KEEPING = Plan(strip_bytes=1 << 40, kept_bytes=1 << 40, share=0.4)
# linear attention over few positions computes the scores of all pairs, for which it needs the whole map
WHOLE = {"mix_positions"}


def images(vae, height=3, width=2, batch=1):
    torch.manual_seed(0)
    multiple = vae.size_multiple
    return torch.randn(batch, vae.spec.image.channels, height * multiple, width * multiple)


def by_strips(half, x, plan):
    run = Run(plan)
    made = half(Rows.of(run, of_tensor(x), x.device))
    return (run.tensor(made.handle.node) if isinstance(made, Rows) else made), run


def far(result, expected):
    return ((result - expected).abs().max() / expected.abs().max()).item()


def check_halves(name, plans):
    vae = small_vae(name)
    x = images(vae, *((6, 3) if vae.downscale <= 16 else (3, 2)))
    with torch.inference_mode():
        for half in (vae.encoder, vae.decoder):
            expected = half(x)
            for plan in plans:
                result, run = by_strips(half, x, plan)
                assert far(result, expected) < 1e-5
                assert set(run.whole) <= WHOLE  # everything else is computed by strips
            x = expected[:, : vae.latent_channels]


@pytest.mark.parametrize("name", ["ldm_reflect_f8_z4", "taef2_f8_z32", "sana_f32_z32", "cosmos_f8_z16"])
def test_strips_give_what_the_whole_map_gives(name):
    check_halves(name, [LEAN, KEEPING])


@pytest.mark.slow
@pytest.mark.parametrize("name", vaezoo.list_models())
def test_strips_of_every_network(name):
    check_halves(name, [LEAN, KEEPING, Plan(strip_bytes=1 << 13, kept_bytes=0)])


@pytest.fixture(scope="module")
def micro():
    return vaezoo.create("vae_f8_z4_micro", pretrained=True)


@pytest.mark.parametrize(
    "options", [{}, {"tile": 24}, {"tile": "auto"}, {"fuse": False}, {"memory_format": "contiguous", "tile": 8}]
)
def test_an_optimized_model_gives_the_same_images_and_moments(micro, options):
    fast, x = optimize(micro, "fp32", **options), images(micro, 9, 5, batch=2).clamp(-1, 1)
    with torch.inference_mode():
        assert far(fast.encode(x).moments, micro.encode(x).moments) < 1e-5
        assert far(fast(x).reconstruction, micro(x).reconstruction) < 1e-5
    assert (fast.spec, fast.latent_stats, fast.source) == (micro.spec, micro.latent_stats, micro.source)
    assert not fast.training


def test_results_are_float32_and_any_dtype_is_accepted(micro):
    fast, x = optimize(micro, "bf16"), images(micro).clamp(-1, 1)
    with torch.inference_mode():
        posterior = fast.encode(x.double())
        decoded = fast.decode(posterior.mode().half())
    assert (fast.dtype, posterior.moments.dtype, decoded.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    assert (decoded - micro(x).reconstruction).abs().mean() < 0.02


def test_weights_are_shared_unless_they_are_converted(micro):
    shared = optimize(micro, "fp32", memory_format="contiguous")
    assert shared.encoder[0].weight.data_ptr() == micro.encoder[0].weight.data_ptr()
    assert micro.executor is None


def test_an_optimized_model_is_saved_with_the_original_weights_or_refused(micro, tmp_path):
    folder = vaezoo.save(optimize(micro, "fp32"), tmp_path / "same")
    again = vaezoo.create(f"local-dir:{folder}", pretrained=True)
    for name, tensor in micro.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    with pytest.raises(vaezoo.InputError, match=r"cast these weights from torch.float32 to torch.bfloat16; save the"):
        vaezoo.save(optimize(micro, "bf16"), tmp_path / "cast")
    assert not (tmp_path / "cast").exists()


def test_gradients_flow_through_an_optimized_model(micro):
    fast = optimize(micro, "fp32")
    fast(images(micro)).reconstruction.sum().backward()
    assert fast.decoder[0].weight.grad is not None


def test_strips_need_less_memory_and_small_strips_less_again():
    vae = vaezoo.create("vae_f8_z4", device="meta").to(memory_format=torch.channels_last)
    z = torch.empty(1, 4, 64, 64, device="meta")
    whole, strips, lean = (
        needed_bytes(vae.decoder, z, Plan(*plan), fuse=True)
        for plan in ((1 << 60, 1 << 60), (8 << 20, 1 << 60), (8 << 20, 0))
    )
    assert lean < 0.6 * strips
    assert strips < 0.8 * whole


def test_auto_takes_the_first_strips_that_fit(micro, monkeypatch, caplog):
    fast, x = optimize(micro, "fp32", tile="auto"), images(micro, 8, 8)
    monkeypatch.setattr(executor, "free_bytes", lambda device: 1 << 40)
    assert fast.executor.plan(fast.encoder, x) is executor.FASTEST
    monkeypatch.setattr(executor, "free_bytes", lambda device: 0)
    assert fast.executor.plan(fast.encoder, x) is executor.SMALLER[-1]
    assert "in strips of about 8 MiB" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 0}, "tile is 0"),
        ({"tile": "big"}, "tile is 'big'"),
        ({"tile": 64, "compile": True}, "cannot be combined"),
        ({"dtype": "bf17"}, "did you mean 'bf16'"),
        ({"dtype": torch.int8}, "dtype is torch.int8"),
        ({"memory_format": "nhwc"}, "known: auto, contiguous"),
    ],
)
def test_bad_options_are_refused(micro, options, message):
    with pytest.raises(vaezoo.InputError, match=message):
        optimize(micro, **options)


class Unusual(nn.Module):
    """Functions that need the whole map, beside others that do not."""

    def forward(self, x):
        y = x - x.mean(dim=(2, 3), keepdim=True)
        y.mul_(2)
        return torch.flip(y, dims=[2]) + x[:, :1].cumsum(dim=2)


def test_functions_that_need_the_whole_map_get_it():
    x = torch.randn(1, 3, 20, 12)
    result, run = by_strips(Unusual(), x, LEAN)
    assert far(result, Unusual()(x)) < 1e-6
    assert {"mean", "flip", "__getitem__"} <= set(run.whole)


def test_create_optimizes_on_request(micro):
    fast, x = vaezoo.create("vae_f8_z4_micro", pretrained=True, optimize=True), images(micro).clamp(-1, 1)
    assert fast.executor is not None
    with torch.inference_mode():
        assert (fast(x).reconstruction - micro(x).reconstruction).abs().mean() < 0.02  # it may run in bf16
