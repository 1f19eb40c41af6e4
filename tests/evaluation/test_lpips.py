"""LPIPS against the reference implementation, with the same random backbone in both."""

import logging

import pytest
import timm
import torch
from torch import nn
from torchmetrics.functional.image.lpips import _LPIPS

import vaezoo
from vaezoo.errors import HubError
from vaezoo.evaluation.nets import frozen
from vaezoo.evaluation.nets.frozen import Features, Frozen, download
from vaezoo.evaluation.nets.lpips import BACKBONES, LPIPS
from vaezoo.nn.build import _SkipInit


class Zeros(nn.Module):
    """Five maps of features that are all zero and still depend on the image."""

    def forward(self, x):
        return [x.mean(dim=1, keepdim=True).clamp(min=0).repeat(1, c, 1, 1) * 0 for c in (64, 192, 384, 256, 256)]


def convolutions(module):
    return [m for m in module.modules() if isinstance(m, nn.Conv2d) and m.weight.shape[2] > 1]


def images(size=48):
    return torch.rand(2, 3, 64, size) * 2 - 1


@pytest.fixture(scope="module", params=[pytest.param("vgg", marks=pytest.mark.slow), "alex"])
def pair(request):
    """Ours and the reference, with one random backbone."""
    torch.manual_seed(0)
    with _SkipInit(), pytest.MonkeyPatch.context() as patch:  # those of 138 million that count are drawn below
        patch.setattr(nn.init, "kaiming_normal_", lambda tensor, **_: tensor)  # which no function mode sees
        ours = LPIPS(request.param, BACKBONES[request.param](pretrained=False))
        reference = _LPIPS(net=request.param, pnet_rand=True)
    with torch.no_grad():
        for mine, theirs in zip(convolutions(ours), convolutions(reference.net), strict=True):
            mine.weight.normal_(std=(2 / mine.weight[0].numel()) ** 0.5)
            mine.bias.normal_(std=0.1)
            theirs.weight.copy_(mine.weight)
            theirs.bias.copy_(mine.bias)
    return ours, reference


def test_values_and_gradients_are_those_of_the_reference(pair):
    ours, reference = pair
    a, b = images(), images()
    mine, theirs = b.clone().requires_grad_(), b.clone().requires_grad_()
    value, expected = ours(a, mine), reference(a, theirs).flatten()
    assert value.shape == (2,)
    assert torch.allclose(value, expected, rtol=1e-5)
    value.sum().backward()
    expected.sum().backward()
    assert mine.grad.abs().max() > 0
    assert torch.allclose(mine.grad, theirs.grad, rtol=1e-3, atol=1e-6)


def test_equal_images_are_at_distance_zero(pair):
    a = images()
    assert pair[0](a, a).tolist() == [0, 0]


def test_fault_nan_gradient_at_zero_features_is_not_here():
    reconstruction = images().requires_grad_()
    LPIPS("alex", Zeros())(images(), reconstruction).sum().backward()
    assert reconstruction.grad.isfinite().all()


def test_fault_dropout_that_train_switches_on_is_not_here():
    lpips = LPIPS("alex", nn.Sequential(nn.Dropout(0.5), Zeros()))
    nn.Sequential(lpips).train()
    assert not any(module.training for module in lpips.features.modules())
    assert not any(isinstance(module, nn.Dropout) for module in LPIPS("alex", Zeros()).modules())
    alex = LPIPS("alex", BACKBONES["alex"](pretrained=False))
    a, b = images(), images()
    before = alex(a, b)
    assert torch.equal(alex.train()(a, b), before)


def test_autocast_and_bfloat16_images_still_give_float32_values(pair):
    a, b = images(), images()
    expected = pair[0](a, b)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(pair[0](a, b), expected)
    assert pair[0](a.bfloat16(), b.bfloat16()).dtype == torch.float32


def test_nothing_of_a_frozen_network_is_trained_or_saved():
    network = Frozen(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    assert list(network.parameters()) == []
    assert network.state_dict() == {}
    x = images()
    assert torch.equal(network.train()(x), network(x))  # stored statistics
    assert network.double()(x.double()).dtype == torch.float64  # moves with `to`


@pytest.mark.parametrize(
    ("a", "b"), [((2, 3, 64, 64), (2, 3, 64, 32)), ((2, 3, 31, 64), (2, 3, 31, 64)), ((1, 1, 64, 64), (1, 1, 64, 64))]
)
def test_images_that_do_not_fit_are_refused(a, b):
    with pytest.raises(vaezoo.InputError, match="lpips"):
        LPIPS("alex", Zeros())(torch.zeros(a), torch.zeros(b))


def test_an_unknown_net_is_refused():
    with pytest.raises(vaezoo.InputError, match="'squeeze'"):
        LPIPS("squeeze")


@pytest.mark.parametrize("error", [FileNotFoundError("no cache"), ConnectionError("no route")])
def test_weights_that_cannot_be_fetched_are_one_clear_error(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(vaezoo.HubError, match=r"vgg16\.tv_in1k cannot be downloaded: connect .*HF_HOME") as caught:
        LPIPS("vgg")
    assert caught.value.kind == "offline"


def test_a_model_that_timm_does_not_have_is_refused_with_near_names():
    with pytest.raises(vaezoo.UnknownNameError, match="did you mean 'test_vit'"):
        frozen.timm_model("test_vitt")


@pytest.mark.parametrize("model", ["test_vit", "test_resnet", "test_convnext"])
def test_features_come_from_the_layers_asked_for(model):
    features = Features(model, [-1, 0], pretrained=False)
    maps = features(images())
    assert [x.shape[1] for x in maps] == features.channels
    assert maps[0].shape[2] <= maps[1].shape[2]


def test_a_network_sees_images_at_the_size_asked_for_with_its_own_mean_and_std():
    features = Features("test_efficientnet", [0], size=64, pretrained=False)
    seen = []
    features.network.forward_intermediates = lambda x, **_: seen.append(x) or [x]
    features(torch.full((1, 3, 96, 96), 0.5))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    assert seen[0].shape == (1, 3, 64, 64)
    assert torch.allclose(seen[0][0, :, 32, 32], (0.75 - mean) / std, atol=1e-5)


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(vaezoo.InputError, match="got layers \\[9\\]"):
        Features("test_vit", [9], pretrained=False)


def test_retries_of_a_download_are_not_printed_before_its_error(caplog):
    def build():
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s")
        raise OSError("no route")

    with pytest.raises(HubError, match="the weights of vgg16 cannot be downloaded"):
        download("vgg16", build)
    assert "Retrying" not in caplog.text
