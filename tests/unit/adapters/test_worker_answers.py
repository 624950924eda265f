"""What comes through a worker's pipe is what went in, and its model one object whoever sent it."""

import pickle
from dataclasses import replace
from multiprocessing import Pipe

from knative_mig.adapters.sim_gpu import SimulatedGpus, open_store
from knative_mig.adapters.worker_answers import Packed, Packer, Unpacker
from knative_mig.core.errors import SliceInUse
from knative_mig.core.mig_tables import gpu_model
from knative_mig.core.profile import ProfileName
from knative_mig.ports.gpu import Gpu, create_slice


def a_gpu() -> Gpu:
    driver = SimulatedGpus(open_store("1xA100-40GB"))
    (gpu,) = driver.inventory().gpus
    create_slice(driver, gpu.uuid, ProfileName.parse("3g.20gb"), 4)
    return driver.gpu(gpu.uuid)


def through_a_pipe(packed: Packed) -> Packed:
    ours, theirs = Pipe()
    with ours, theirs:
        ours.send(packed)
        arrived: Packed = theirs.recv()
        return arrived


def test_a_reading_arrives_whole_with_places_of_the_model_that_it_carries() -> None:
    sent, packer, unpacker = a_gpu(), Packer(), Unpacker()
    arrived = [unpacker.unpack(through_a_pipe(packer.pack(sent))) for _ in range(2)]
    for each in arrived:
        assert replace(each, model=sent.model) == sent
        assert each.instances[0].place is each.model.place(each.instances[0].place.profile, 4)
    assert arrived[0].model is arrived[1].model
    assert (arrived[0].model.name, arrived[0].model.profiles) == (sent.model.name, sent.model.profiles)


def test_a_model_crosses_once() -> None:
    sent, packer = a_gpu(), Packer()
    first, second = packer.pack(sent), packer.pack(sent)
    assert (len(first[0]), len(second[0])) == (1, 0)
    assert len(pickle.dumps(second)) < len(pickle.dumps(sent)) / 2


def test_the_next_worker_names_anew_and_equal_models_stay_one_object() -> None:
    sent, unpacker = a_gpu(), Unpacker()
    other = replace(sent, model=gpu_model("H100-80GB"), instances=())
    first = Packer()
    first.pack(other)
    before = unpacker.unpack(Packer().pack(sent))
    unpacker.begin()
    second = Packer()
    assert unpacker.unpack(second.pack(other)).model.name == "H100-80GB"
    assert unpacker.unpack(through_a_pipe(second.pack(sent))).model is before.model


def test_a_place_whose_model_was_never_sent_and_an_error_arrive_as_they_are() -> None:
    sent, unpacker = a_gpu(), Unpacker()
    assert unpacker.unpack(Packer().pack(sent.instances[0])) == sent.instances[0]
    error = unpacker.unpack(Packer().pack(SliceInUse("a process is on it")))
    assert (type(error), str(error)) == (SliceInUse, "a process is on it")
