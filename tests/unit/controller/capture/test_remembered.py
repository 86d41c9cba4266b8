"""Shapes that are recalled are those that PyTorch finds, and so is what DTensor says about lists."""

import pytest
import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard

from controller.capture.inside.remembered import Memory
from controller.capture.inside.sharding import install_sharding

aten = torch.ops.aten
CALLS = {
    "a product": (aten.mm.default, lambda x: (x, x.t())),
    "a view": (aten.view.default, lambda x: (x, [4, 12])),
    "a part": (aten.slice.Tensor, lambda x: (x, 1, 2, 5)),
    "parts": (aten.split.Tensor, lambda x: (x, 3, 1)),
    "in place": (aten.add_.Tensor, lambda x: (x, 2.0)),
    "a sum": (aten.sum.dim_IntList, lambda x: (x, [0], True)),
    "two results": (aten.max.dim, lambda x: (x, 1)),
}


def described(fake):
    values = fake if isinstance(fake, tuple | list) else (fake,)
    return [(v.shape, v.stride(), v.storage_offset(), v.dtype, v.device) for v in values if v is not None]


@pytest.mark.parametrize("kind", CALLS)
def test_a_call_that_is_recalled_makes_what_pytorch_makes(kind):
    func, arguments = CALLS[kind]
    mode = FakeTensorMode()
    memory = Memory(mode)

    def asked():
        with mode:
            given = arguments(torch.empty(6, 8))
        return given, *memory.key(func, given, {})

    given, key, operands = asked()
    right = mode.dispatch(func, (), given, {})
    assert memory.recall(key) is None
    memory.learn(key, operands, right)
    again, same, others = asked()
    assert same == key
    made, _ = memory.make(memory.recall(key), others)
    assert described(made) == described(right)
    first = made[0] if isinstance(made, tuple | list) else made
    shared = first.untyped_storage()._cdata == again[0].untyped_storage()._cdata
    assert shared == (kind in ("a view", "a part", "parts", "in place"))


def test_other_shapes_and_other_numbers_are_other_calls():
    mode = FakeTensorMode()
    memory = Memory(mode)
    with mode:
        x, y = torch.empty(6, 8), torch.empty(8, 6)
    keys = [memory.key(aten.add.Tensor, (each, number), {})[0] for each in (x, y, y.t()) for number in (1, 1.0)]
    assert len(set(keys)) == 6


@pytest.fixture
def mesh():
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=0, world_size=4, store=FakeStore())
    dispatcher = DTensor._op_dispatcher.sharding_propagator
    before = dispatcher.propagate_op_sharding_non_cached, dispatcher.propagate_op_sharding
    yield init_device_mesh("cpu", (4,))
    dispatcher.propagate_op_sharding_non_cached, dispatcher.propagate_op_sharding = before
    dist.destroy_process_group()


def test_lists_are_laid_out_as_dtensor_lays_them_out(mesh):
    def lists():
        return [
            DTensor.from_local(torch.ones(rows, 3), mesh, [place], run_check=False)
            for rows, place in ((2, Shard(0)), (4, Shard(0)), (2, Shard(0)), (2, Replicate()), (4, Shard(0)))
        ]

    def found():
        given, numbers = lists(), [1.0, 2.0, 3.0, 4.0, 5.0]
        made = (*torch._foreach_add(given, lists()), *torch._foreach_div(given, numbers), *torch._foreach_norm(given))
        torch._foreach_mul_(given, 2.0)
        return [(each.placements, each.shape, each.to_local().clone()) for each in (*made, *given)]

    right = found()
    install_sharding()
    for (places, shape, values), (other, same, others) in zip(right, found(), strict=True):
        assert (places, shape) == (other, same)
        torch.testing.assert_close(values, others, rtol=0, atol=0)
