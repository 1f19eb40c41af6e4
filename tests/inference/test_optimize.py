"""`optimize`: the same results as the plain path, for every network, dtype and size of strip."""

import pytest
import torch
import torch.nn.functional as F
from support.representatives import each_small, family, first_of
from support.small import small_vae
from torch import nn

import vaezoo
from vaezoo.inference import executor
from vaezoo.inference.optimize import optimize
from vaezoo.inference.strip_pass import memory_format_of
from vaezoo.inference.strips.nodes import of_tensor
from vaezoo.inference.strips.rows import Rows
from vaezoo.inference.strips.strip_run import Plan, Run

LEAN = Plan(strip_bytes=1 << 40, kept_positions=0, share=0.4)
KEEPING = Plan(strip_bytes=1 << 40, kept_positions=1 << 40, share=0.4)
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


@pytest.mark.parametrize("name", first_of(["ldm_reflect_f8_z4", "cosmos_f8_z16"]))
def test_strips_give_what_the_whole_map_gives(name):
    check_halves(name, [LEAN, KEEPING])


@pytest.mark.slow
@pytest.mark.parametrize("name", each_small(vaezoo.list_models()))
def test_strips_of_every_network(name):
    check_halves(name, [LEAN, KEEPING])


@pytest.mark.slow
@pytest.mark.parametrize("name", {family(name): name for name in vaezoo.list_models()}.values())
def test_short_strips_of_every_family(name):
    check_halves(name, [Plan(strip_bytes=1 << 13, kept_positions=0)])


@pytest.fixture(scope="module")
def micro():
    return vaezoo.create("vae_f8_z4_micro", pretrained=True)


OPTIONS = [{"tile": 24}, {"tile": "auto"}, {}, {"fuse": False}, {"memory_format": "contiguous", "tile": 8}]


@pytest.mark.parametrize("options", first_of(OPTIONS, count=2))
def test_an_optimized_model_gives_the_same_images_and_moments(micro, options):
    fast, x = optimize(micro, "fp32", **options), images(micro, 5, 3, batch=2).clamp(-1, 1)
    with torch.inference_mode():
        assert far(fast.encode(x).moments, micro.encode(x).moments) < 1e-5
        assert far(fast(x).reconstruction, micro(x).reconstruction) < 1e-5
    assert (fast.spec, fast.latent_stats, fast.source) == (micro.spec, micro.latent_stats, micro.source)
    assert not fast.training


def test_a_network_without_wide_convolutions_runs_as_it_is_unless_strips_are_asked_for(micro, monkeypatch):
    x = images(micro).clamp(-1, 1)
    monkeypatch.setattr(executor, "run_half", None)
    with torch.inference_mode():
        assert far(optimize(micro, "fp32")(x).reconstruction, micro(x).reconstruction) < 1e-5
        for fast in (optimize(micro, "fp32", tile=16), optimize(small_vae("ldm_f8_z4"), "bf16")):
            with pytest.raises(TypeError):
                fast.encode(x)


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


def test_auto_takes_the_first_strips_that_fit(micro, monkeypatch, caplog):
    fast, x = optimize(micro, "fp32", tile="auto"), images(micro, 8, 8)
    monkeypatch.setattr(executor, "free_bytes", lambda device: 1 << 40)
    assert fast.executor.plan(fast.encoder, x) is executor.FASTEST
    monkeypatch.setattr(executor, "free_bytes", lambda device: 0)
    assert fast.executor.plan(fast.encoder, x) == executor.Plan(executor.SMALLER[-1], 0)
    assert "in strips of about 8 MiB" in caplog.text
    monkeypatch.setattr(executor, "needed_bytes", None)  # counted once for each size
    fast.executor.plan(fast.encoder, x)


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


def conv(x):
    return F.conv2d(x, torch.full((3, 3, 3, 3), 0.1), padding=1)


def changed(x, function):
    y = conv(x)
    earlier = y + 1
    result = function(y)
    return earlier + y + (0 if result is None else result)


FUNCTIONS = {
    "mean over positions": lambda x: conv(x) - x.mean(dim=(2, 3), keepdim=True),
    "mean over columns": lambda x: conv(x) - x.mean(dim=3, keepdim=True),
    "flip": lambda x: torch.flip(conv(x), dims=[2]),
    "channels": lambda x: conv(x)[:, :1].cumsum(dim=2),
    "rows": lambda x: conv(x)[:, :, :15],
    "a plain map": lambda x: conv(x) + torch.arange(21.0).view(1, 1, 21, 1),
    "add with alpha": lambda x: torch.add(conv(x), x, alpha=0.5),
    "add in place with alpha": lambda x: conv(x).add_(x, alpha=-1),
    "a plain tensor in place": lambda x: torch.ones(1, 3, 21, 12).add_(x) + conv(x),
    "assignment": lambda x: changed(x, lambda y: y.__setitem__((slice(None), slice(0, 1)), 0.0)),
    "masked fill": lambda x: changed(x, lambda y: y.masked_fill_(torch.ones(1, 3, 21, 12) > 2, 0.0)),
    "known in place": lambda x: changed(x, lambda y: y.mul_(2)),
    "unknown in place": lambda x: changed(x, lambda y: F.leaky_relu(y, inplace=True)),
    "normalize over rows": lambda x: F.normalize(conv(x), dim=2),
    "batch norm in training": lambda x: F.batch_norm(conv(x), None, None, training=True),
    "unflatten rows": lambda x: conv(x).unflatten(2, (7, 3)).flatten(2, 3),
    "type": lambda x: conv(x) if conv(x).type().endswith("FloatTensor") else x,
    "two factors": lambda x: conv(F.interpolate(x, scale_factor=(2.0, 3.0), mode="nearest")),
    "transposed": lambda x: conv(x).mT,
    "wide zeros": lambda x: conv(F.pad(conv(x), (5, 5, 5, 5))),
    "wide reflection": lambda x: conv(F.pad(conv(x), (5, 5, 5, 5), mode="reflect")),
    "around": lambda x: conv(F.pad(F.group_norm(conv(x), 1), (1, 1, 1, 1), mode="circular")),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("strip", [1, 500, 1 << 30])
def test_any_function_gives_what_it_gives_of_the_whole_map(name, strip):
    x = torch.randn(1, 3, 21, 12)
    result, _ = by_strips(FUNCTIONS[name], x.clone(), Plan(strip, 0))
    assert far(result, FUNCTIONS[name](x.clone())) < 1e-5


def test_weights_that_change_between_calls_count(micro):
    vae = small_vae("ldm_f8_z4")
    fast, z = optimize(vae, "fp32"), torch.randn(1, vae.latent_channels, 4, 4)
    with torch.inference_mode():
        fast.decode(z)
        with torch.autocast("cpu", torch.bfloat16):
            fast.decode(z)
        for model in (vae, fast):
            for parameter in model.parameters():
                parameter.data = parameter.data * 0.9
        assert far(fast.decode(z), vae.decode(z)) < 1e-5


def test_changes_to_modules_are_kept(micro):
    vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)
    for module in vae.modules():
        if isinstance(module, nn.Conv2d) and module.padding[0]:
            module.padding_mode = "circular"
            module._reversed_padding_repeated_twice = [n for n in reversed(module.padding) for _ in range(2)]
    x = images(vae, 4, 4).clamp(-1, 1)
    with torch.inference_mode():
        assert far(optimize(vae, "fp32", tile=16)(x).reconstruction, vae(x).reconstruction) < 1e-5


def test_hooks_see_maps_and_a_dtype_that_was_cast_is_remembered(micro):
    vae, seen = vaezoo.create("vae_f8_z4_micro", pretrained=True), []
    fast = optimize(vae, "fp32", tile="auto")
    fast.decoder[-1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    fast.decoder.register_forward_hook(lambda module, inputs, output: seen.append(output))
    x = images(vae).clamp(-1, 1)
    with torch.inference_mode():
        assert far(fast(x).reconstruction, vae(x).reconstruction) < 1e-5
        assert len(seen) == 2
        assert seen[0].mean().isfinite()
    assert optimize(optimize(vae, "bf16"), "bf16").executor.cast_from == torch.float32


def test_contiguous_is_contiguous(micro):
    fast = optimize(small_vae("ldm_f8_z4"), "fp32", memory_format="contiguous")
    assert memory_format_of(fast.decoder) == torch.contiguous_format
    assert memory_format_of(optimize(fast, "fp32").decoder) == torch.channels_last


def test_create_optimizes_on_request(micro):
    fast, x = vaezoo.create("vae_f8_z4_micro", pretrained=True, optimize=True), images(micro).clamp(-1, 1)
    assert fast.executor is not None
    with torch.inference_mode():
        assert (fast(x).reconstruction - micro(x).reconstruction).abs().mean() < 0.02  # it may run in bf16
