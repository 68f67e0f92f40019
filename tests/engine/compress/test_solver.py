"""The column solver: what it is worth over rounding, and that it stores what it says."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from engine.compress.hessian import Hessian, invert, output_error  # noqa: E402
from engine.compress.packing import pack  # noqa: E402
from engine.compress.solver import solve, top_two  # noqa: E402
from engine.formats import FORMATS, I3_0, Q4_0, S24_0  # noqa: E402

GRIDS = [FORMATS[name] for name in ("s24_0", "i3_0", "q4_0", "q5_0", "q8_0")]


@pytest.fixture(scope="module")
def problem() -> tuple[torch.Tensor, Hessian]:
    """Weights and correlated inputs of very different sizes, as layers of language models have them."""
    torch.manual_seed(3)
    weight = torch.randn(96, 256) * 0.05
    inputs = torch.randn(4096, 64) @ torch.randn(64, 256) + 0.3 * torch.randn(4096, 256)
    hessian = Hessian(256)
    hessian.add(inputs * torch.rand(256).pow(2) * 3)
    return weight, hessian


def error(problem, grid, method: str) -> float:
    weight, hessian = problem
    return output_error(hessian.mean, weight, solve(weight, grid, method, invert(hessian.mean)).weight)


def test_sparsegpt_loses_less_than_wanda_and_wanda_less_than_magnitude(problem) -> None:
    sparsegpt, wanda, magnitude = (error(problem, S24_0, m) for m in ("sparsegpt", "wanda", "magnitude"))
    assert sparsegpt < 0.8 * wanda
    assert wanda < 0.8 * magnitude


@pytest.mark.parametrize("grid", [I3_0, Q4_0], ids=lambda grid: grid.name)
def test_making_up_for_errors_beats_rounding(problem, grid) -> None:
    assert error(problem, grid, "sparsegpt") < 0.5 * error(problem, grid, "magnitude")


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.name)
def test_inputs_that_tell_nothing_leave_plain_rounding(grid) -> None:
    """H = I: no column can make up for another, and the bytes are the encoder's."""
    torch.manual_seed(5)
    weight = torch.randn(33, 192) * 0.02
    solved = solve(weight, grid, "sparsegpt", invert(torch.eye(192, dtype=torch.float64)))
    assert pack(solved).tobytes() == grid.encode(weight.numpy()).tobytes()
    assert (
        pack(solve(weight, grid, "magnitude", invert(torch.eye(192).double()))).tobytes()
        == pack(solved).tobytes()
    )


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.name)
def test_the_bytes_mean_what_was_solved(problem, grid, method: str) -> None:
    weight, hessian = problem
    solved = solve(weight, grid, method, invert(hessian.mean))
    assert torch.equal(torch.from_numpy(grid.decode(pack(solved))).float(), solved.weight)
    assert bool((solved.kept.reshape(96, -1, 4).sum(-1) == min(grid.kept, 4)).all())


def test_the_input_of_wanda_is_the_norm_of_its_column(problem) -> None:
    weight, hessian = problem
    solved = solve(weight, S24_0, "wanda", invert(hessian.mean))
    assert torch.equal(solved.kept, top_two(weight.abs() * hessian.mean.diagonal().sqrt().float()))


def test_an_input_that_is_always_zero_costs_nothing(problem) -> None:
    weight, hessian = problem
    dead = hessian.mean.clone()
    dead[:, 5] = dead[5, :] = 0
    solved = solve(weight, S24_0, "sparsegpt", invert(dead))
    assert bool((solved.weight[:, 5] == 0).all())
    assert bool(solved.weight.isfinite().all())


def test_inputs_of_low_rank_are_damped_until_they_can_be_inverted() -> None:
    one = torch.ones(128, 1, dtype=torch.float64)
    assert bool(invert(one @ one.T, damping=1e-30).factor.isfinite().all())


def test_moments_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ArithmeticError, match="finite"):
        invert(torch.full((8, 8), torch.nan, dtype=torch.float64))


def test_a_row_that_is_not_whole_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="100 columns"):
        solve(torch.zeros(4, 100), S24_0, "sparsegpt", invert(torch.eye(100).double()))


def test_a_matrix_of_zeros_stays_one() -> None:
    solved = solve(torch.zeros(4, 64), S24_0, "sparsegpt", invert(torch.eye(64).double()))
    assert pack(solved).tobytes() == S24_0.encode(torch.zeros(4, 64).numpy()).tobytes()
