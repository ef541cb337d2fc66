"""Every backend of every op against the reference: outputs and gradients, for every dtype and memory layout."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.ops.cases import CASES, Arguments, OpCase
from vastmax import ops
from vastmax.errors import InputError
from vastmax.ops import dispatch
from vastmax.ops.dispatch import REFERENCE, _ops, register

PAIRS = [
    pytest.param(case, backend, id=f"{case.id}-{backend}")
    for case in CASES
    for backend in _ops[case.op]
    if backend != REFERENCE
]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
TRIPLES = [
    pytest.param(*pair.values, dtype, id=f"{pair.id}-{dtype}")
    for pair in PAIRS
    for dtype in DTYPES
    if _ops[pair.values[0].op][pair.values[1]].takes(torch.zeros(1, dtype=dtype))  # type: ignore[union-attr, index]
]


@pytest.fixture(autouse=True)
def fresh_memory_holds_nan() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def results(case: OpCase, backend: str, tensors: Arguments) -> list[Tensor]:
    """Return the op's outputs and gradients, in float64."""
    leaves = [None if each is None else each.requires_grad_() for each in tensors]
    with ops.using(**{case.op: backend}):
        found = case.call(*leaves)
    generator = torch.Generator().manual_seed(9)
    upstream = [torch.randn(each.shape, generator=generator, dtype=torch.float64) for each in found]
    upstream[0][1::3] = 0  # rows that are ignored; with two outputs, rows that need only the second
    given = [grad.to(each.dtype) for grad, each in zip(upstream, found, strict=True)]
    inputs = [leaf for leaf in leaves if leaf is not None]
    gradients = torch.autograd.grad(found, inputs, given, materialize_grads=True)
    return [each.detach().to_dense().double() for each in (*found, *gradients)]


def strided(tensor: Tensor) -> Tensor:
    """Return the same values in a non-contiguous view, with NaN between them."""
    memory = torch.full((*reversed(tensor.shape), 2), torch.nan, dtype=tensor.dtype)
    view = memory[..., 0].permute(*reversed(range(tensor.dim())))
    assert tensor.numel() < 2 or not view.is_contiguous()
    return view.copy_(tensor)


@pytest.mark.parametrize(("case", "backend", "dtype"), TRIPLES)
def test_it_loses_no_more_than_the_formula_in_the_same_dtype(case: OpCase, backend: str, dtype: torch.dtype) -> None:
    """|truth - backend| <= |truth - reference in the same dtype| + tolerance."""
    if not dispatch._ops[case.op][backend].takes(torch.zeros(1, dtype=dtype)):
        pytest.skip(f"{backend} does not take {dtype}")
    given = case.tensors(dtype)
    truth = results(case, REFERENCE, [None if each is None else each.clone() for each in given])
    naive, found = (
        results(case, name, [None if each is None else each.to(dtype, copy=True) for each in given])
        for name in (REFERENCE, backend)
    )
    for exact, rounded, ours in zip(truth, naive, found, strict=True):
        assert ours.shape == exact.shape
        if exact.numel():
            # the truth is rounded too, to float64
            tolerance = (4 * torch.finfo(dtype).eps + 1e-13) * max(1.0, float(exact.abs().max()))
            assert (exact - ours).abs().max() <= (exact - rounded).abs().max() + tolerance


@pytest.mark.parametrize(("case", "backend"), PAIRS)
def test_strides_change_nothing(case: OpCase, backend: str) -> None:
    given = case.tensors(torch.float32)
    plain = results(case, backend, [None if each is None else each.clone() for each in given])
    other = results(case, backend, [None if each is None else strided(each) for each in given])
    for a, b in zip(plain, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_every_op_is_compared() -> None:
    draws = {"adapt_bigrams", "draw_bigrams", "guarded_draws", "tree_draws", "tree_update"}
    others = {"adagrad_rows", "adam_rows", "coalesced", "row_estimates", *draws}  # these have their own tests
    assert {case.op for case in CASES} | others == set(_ops)


def test_a_backend_that_errs_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The faults are a wrong bias, a missing gradient and an uninitialised row."""
    case = next(case for case in CASES if case.id == "gathered_logits-shared")
    from vastmax.ops.gathered_logits.pytorch import gathered_logits

    def biased(hidden, weight, bias, ids, **options):
        return gathered_logits(hidden, weight, bias * 1.001, ids, **options)

    def detached(hidden, weight, bias, ids, **options):
        return gathered_logits(hidden, weight.detach(), bias, ids, **options)

    def unwritten(hidden, weight, bias, ids, **options):
        right = gathered_logits(hidden, weight, bias, ids, **options)
        return torch.cat([right[:-1], torch.empty_like(right[-1:])])

    monkeypatch.setattr("vastmax.ops.dispatch._ops", {})
    register(case.op, REFERENCE, gathered_logits)
    for wrong in (biased, detached, unwritten):
        register(case.op, "wrong", wrong)
        with pytest.raises((AssertionError, RuntimeError)):
            test_it_loses_no_more_than_the_formula_in_the_same_dtype(case, "wrong", torch.float32)


# --- backend selection ---


def test_the_last_that_takes_the_tensor_computes_and_the_reference_only_when_asked(monkeypatch) -> None:
    monkeypatch.setattr("vastmax.ops.dispatch._ops", {})
    for name, takes in (
        (REFERENCE, lambda tensor: True),
        ("torch", lambda tensor: True),
        ("fast", lambda tensor: tensor.dtype == torch.float32),
    ):
        register("double", name, lambda values, name=name: (name, values), takes)
    single, half = torch.zeros(1), torch.zeros(1, dtype=torch.float16)
    assert (ops.backend_of("double", single), ops.backend_of("double", half)) == ("fast", "torch")
    with ops.using(double=REFERENCE):
        assert ops.backend_of("double", single) == REFERENCE
        with ops.using(double="fast"):
            assert ops.backend_of("double", single) == "fast"
            with pytest.raises(
                InputError, match=r"double is 'fast': for torch.float16 on cpu give one of reference, t"
            ):
                ops.backend_of("double", half)
        assert ops.backend_of("double", single) == REFERENCE
    assert ops.backend_of("double", single) == "fast"
    with (
        pytest.raises(InputError, match="double is 'slow': give 'reference', 'torch' or 'fast'"),
        ops.using(double="slow"),
    ):
        pass
    with pytest.raises(InputError, match="op is 'triple': give one of double"):
        ops.backend_of("triple", single)


def test_what_an_asked_backend_computes_is_its_own() -> None:
    values = torch.randn(3, 50)
    with ops.using(topk=REFERENCE):
        found = ops.topk(values, 4)
    assert torch.equal(found[0], ops.topk(values, 4)[0])
    hidden, weight = torch.randn(3, 4), torch.randn(9, 4, requires_grad=True)
    ids = torch.tensor([1, 5])
    sparse = [ops.gathered_logits(hidden, weight, None, ids, sparse=True)]
    with ops.using(gathered_logits=REFERENCE):
        sparse.append(ops.gathered_logits(hidden, weight, None, ids, sparse=True))
    layouts = [torch.autograd.grad(each.sum(), weight)[0].is_sparse for each in sparse]
    assert layouts == [True, False]  # the reference's gradients are dense, so it did run


def test_uses_that_end_out_of_order_leave_nothing_behind() -> None:
    one, other = ops.using(topk="reference"), ops.using(path_loss="reference")
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    other.__exit__(None, None, None)
    assert [ops.backend_of(op, torch.zeros(1)) for op in ("topk", "path_loss")] == ["torch", "torch"]
