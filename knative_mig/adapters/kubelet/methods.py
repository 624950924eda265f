"""The kubelet's gRPC methods with their types: how one is called, and how one is served.

Used by the plugin, by PodResources and by the kubelet of the tests. The kubelet's own names are the package and the
service of each .proto file; a wrong one is answered with UNIMPLEMENTED, which the contract tests would show.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import grpc
from google.protobuf.message import Message

from knative_mig.adapters.kubelet.stubs import deviceplugin_pb2 as plugin
from knative_mig.adapters.kubelet.stubs import podresources_pb2 as resources

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    service: str
    name: str
    request: type[Request]
    response: type[Response]

    def on(self, channel: grpc.Channel) -> "grpc.UnaryUnaryMultiCallable[Request, Response]":
        return channel.unary_unary(
            f"/{self.service}/{self.name}",
            request_serializer=_bytes_of,
            response_deserializer=self.response.FromString,
        )

    def served_by(self, answer: Callable[[Request, grpc.ServicerContext], Response]) -> grpc.GenericRpcHandler:
        handler = grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=self.request.FromString, response_serializer=_bytes_of
        )
        return grpc.method_handlers_generic_handler(self.service, {self.name: handler})


@dataclass(frozen=True, slots=True)
class StreamMethod(Generic[Request, Response]):
    """One request, answers until either side has had enough."""

    service: str
    name: str
    request: type[Request]
    response: type[Response]

    def on(self, channel: grpc.Channel) -> "grpc.UnaryStreamMultiCallable[Request, Response]":
        return channel.unary_stream(
            f"/{self.service}/{self.name}",
            request_serializer=_bytes_of,
            response_deserializer=self.response.FromString,
        )

    def served_by(
        self, answer: Callable[[Request, grpc.ServicerContext], Iterator[Response]]
    ) -> grpc.GenericRpcHandler:
        handler = grpc.unary_stream_rpc_method_handler(
            answer, request_deserializer=self.request.FromString, response_serializer=_bytes_of
        )
        return grpc.method_handlers_generic_handler(self.service, {self.name: handler})


def _bytes_of(message: Message) -> bytes:
    return message.SerializeToString()


API_VERSION: Final = "v1beta1"
HEALTHY: Final = "Healthy"
UNHEALTHY: Final = "Unhealthy"

_REGISTRATION: Final = "v1beta1.Registration"
REGISTER: Final = Method(_REGISTRATION, "Register", plugin.RegisterRequest, plugin.Empty)

DEVICE_PLUGIN: Final = "v1beta1.DevicePlugin"
GET_OPTIONS: Final = Method(DEVICE_PLUGIN, "GetDevicePluginOptions", plugin.Empty, plugin.DevicePluginOptions)
LIST_AND_WATCH: Final = StreamMethod(DEVICE_PLUGIN, "ListAndWatch", plugin.Empty, plugin.ListAndWatchResponse)
GET_PREFERRED: Final = Method(
    DEVICE_PLUGIN, "GetPreferredAllocation", plugin.PreferredAllocationRequest, plugin.PreferredAllocationResponse
)
ALLOCATE: Final = Method(DEVICE_PLUGIN, "Allocate", plugin.AllocateRequest, plugin.AllocateResponse)
PRE_START: Final = Method(
    DEVICE_PLUGIN, "PreStartContainer", plugin.PreStartContainerRequest, plugin.PreStartContainerResponse
)

_POD_RESOURCES: Final = "v1.PodResourcesLister"
LIST: Final = Method(_POD_RESOURCES, "List", resources.ListPodResourcesRequest, resources.ListPodResourcesResponse)
GET_ALLOCATABLE: Final = Method(
    _POD_RESOURCES,
    "GetAllocatableResources",
    resources.AllocatableResourcesRequest,
    resources.AllocatableResourcesResponse,
)
GET: Final = Method(_POD_RESOURCES, "Get", resources.GetPodResourcesRequest, resources.GetPodResourcesResponse)
