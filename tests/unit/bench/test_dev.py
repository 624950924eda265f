"""What `bench.dev` measures of the API, without the clock: that all is listed, and that each watch hears."""

from bench import dev_api
from knative_mig.dev.api.server import HOST, ApiServer
from knative_mig.dev.loop import Loop
from tests.cluster.api import Api
from tests.rigs.api_server import NoLogs


def test_each_list_is_whole_and_each_watch_hears_of_each_change() -> None:
    with Loop() as loop:
        server = ApiServer(logs=NoLogs())
        loop.run(server.start())
        try:
            found = dev_api.measured(Api(host=HOST, port=server.port, tls=None), objects=5, watches=3, rounds=2)
        finally:
            loop.run(server.stop())
    assert [len(each) for _, each in found.rows()] == [5, 2, 2, 2]
    assert all(ms > 0 for _, each in found.rows() for ms in each)
