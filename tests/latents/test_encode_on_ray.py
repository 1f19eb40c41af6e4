"""Encoding on a Ray cluster: killed at random moments and continued, it gives the bytes of one local run."""

import pytest
from support.encode_kills import compare
from support.ray_head import ray_head


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_encoding_that_is_killed_three_times_on_a_cluster_gives_the_shards_of_one_local_run(shared, tmp_path):
    with ray_head() as address:
        after, error = compare(shared, tmp_path, 80, 8, address)
    assert after[0] >= 1
    assert after == sorted(set(after))
    assert after[-1] < 10
    assert error < 1e-6
