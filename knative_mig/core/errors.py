"""Every error that this project raises on purpose, as one tree; each edge (CLI, HTTP, conditions) maps it once.

KnativeMigError
├── BadInput              what a person wrote: says where, and what is legal
│   ├── UnknownModel
│   └── UnknownProfile
├── NotReadyInTime        what was waited for is not there yet: to wait longer may help
└── GpuError              what a GPU answered
    ├── SliceInUse            a process, or a compute instance, is still on it
    ├── InsufficientResources the place is taken: the plan was stale
    ├── IllegalPlacement      no such start for that profile
    ├── SliceNotFound         the handle is dead, or never was
    ├── GpuNotFound
    ├── NotSupported          no MIG on this part, or not in this mode
    ├── PermissionDenied      a configuration error: fail at start
    ├── ResetRequired         MIG mode is pending, or the GPU is to be reset
    ├── GpuLost               fallen off the bus: cordon
    ├── GpuTimeout            the driver did not answer in time
    ├── DriverNotLoaded       no driver, or no library
    └── GpuStateDamaged       the simulated GPUs' file cannot be read

Ports add what their world answers: `ports.kube.ClusterError` and its kinds, `ports.kubelet.KubeletUnreachable` and
`AllocationRefused`, `ports.journal.JournalUnwritable`, `ports.injection.InjectionFailed`. Processes and verbs add how
they fail as a whole: `AnotherAgent` of the agent, `PartFailed` of `dev`, `FunctionFailed` of `invoke`.
"""


class KnativeMigError(Exception):
    """`reason` is stable CamelCase: conditions, events and metrics carry it."""

    reason = "Internal"


class BadInput(KnativeMigError):
    reason = "BadInput"


class UnknownModel(BadInput):
    reason = "UnknownModel"


class UnknownProfile(BadInput):
    reason = "UnknownProfile"


class NotReadyInTime(KnativeMigError):
    reason = "NotReadyInTime"


class GpuError(KnativeMigError):
    reason = "GpuError"


class SliceInUse(GpuError):
    reason = "SliceInUse"


class InsufficientResources(GpuError):
    reason = "InsufficientResources"


class IllegalPlacement(GpuError):
    reason = "IllegalPlacement"


class SliceNotFound(GpuError):
    reason = "SliceNotFound"


class GpuNotFound(GpuError):
    reason = "GpuNotFound"


class NotSupported(GpuError):
    reason = "NotSupported"


class PermissionDenied(GpuError):
    reason = "PermissionDenied"


class ResetRequired(GpuError):
    reason = "ResetRequired"


class GpuLost(GpuError):
    reason = "GpuLost"


class GpuTimeout(GpuError):
    reason = "GpuTimeout"


class DriverNotLoaded(GpuError):
    reason = "DriverNotLoaded"


class GpuStateDamaged(GpuError):
    reason = "GpuStateDamaged"
