import pytest
import torch
import torch.nn.functional as F

from harness.backbones.resize import upsample


@pytest.mark.parametrize(("source", "target"), [((64, 64), 256), ((7, 5), 32), ((16, 16), 16), ((1, 1), 8)])
def test_upsample_is_torchs_bilinear(source, target):
    maps = torch.randn(2, 3, *source)
    expected = F.interpolate(maps, (target, target), mode="bilinear", align_corners=False)
    torch.testing.assert_close(upsample(maps, target), expected, atol=1e-5, rtol=1e-5)


def test_backward_is_allowed_among_deterministic_algorithms():
    torch.use_deterministic_algorithms(True)
    maps = torch.randn(1, 2, 8, 8, requires_grad=True)
    upsample(maps, 32).sum().backward()
    torch.use_deterministic_algorithms(False)
    # Bilinear weights sum to one, so each input pixel gives rise to 16 output pixels' worth.
    assert maps.grad.sum().item() == pytest.approx(2 * 32 * 32)
