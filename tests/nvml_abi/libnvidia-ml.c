/* libnvidia-ml.so.1 for tests: NVML's ABI for exactly the calls that knative_mig/adapters/nvml*.py make.
 *
 * The rules stand once, in the simulated GPUs. This library is what lies between them and the real Python binding:
 * handles, structs with their version numbers, arrays with room, return codes. It starts rules.py on a socket at
 * nvmlInit, or finds it behind the door NVML_ABI_DOOR, and asks it one line a call: words apart by tabs, answered by a
 * return code and more words. So the GPUs are those of the state file, under its lock, and whoever else uses the file
 * sees what is done here.
 *
 * A handle is the name of what it stands for (a GPU's UUID, an instance's serial number, a MIG UUID), so a dead one is
 * told as dead. One thread at a time, as the adapter promises.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9, TIMEOUT = 10, GPU_IS_LOST = 15, ARGUMENT_VERSION_MISMATCH = 25, UNKNOWN = 999, DIE = -1 /* not NVML's: an injected fault kills this process */
};
enum { NAME_SIZE = 96, NO_INSTANCE = 0xFFFFFFFFu, RECOVERY_ACTION = 230 };

typedef struct handle { struct handle *next; char name[NAME_SIZE]; } handle;
typedef struct { unsigned start, size; } placement;
typedef struct {
    unsigned version, id, p2p, slices, instances, multiprocessors, copy, decoder, encoder, jpeg, ofa;
    unsigned long long memory_mib;
    char name[NAME_SIZE];
} gpu_instance_profile;
typedef struct { handle *device; unsigned id, profile; placement place; } gpu_instance_info;
typedef struct {
    unsigned version, id, slices, instances, multiprocessors, copy, decoder, encoder, jpeg, ofa;
    char name[NAME_SIZE];
} compute_instance_profile;
typedef struct { handle *device, *gpu_instance; unsigned id, profile; placement place; } compute_instance_info;
typedef struct { unsigned pid; unsigned long long memory; unsigned gi_id, ci_id; } process_info;
typedef struct { handle *device; unsigned long long type, data; unsigned gi_id, ci_id; } event_data;
typedef struct {
    unsigned field, scope;
    long long timestamp, latency_us;
    unsigned type, code;
    union { unsigned number; unsigned long long room; } value;
} field_value;

_Static_assert(sizeof(gpu_instance_profile) == 0x98, "nvmlGpuInstanceProfileInfo_v2_t");
_Static_assert(sizeof(compute_instance_profile) == 0x88, "nvmlComputeInstanceProfileInfo_v2_t");

static int sock = -1, opened;
static pid_t rules;
static char answer[1 << 16], *next_word;
static handle *handles;

static handle *handle_of(const char *name) {
    for (handle *each = handles; each; each = each->next)
        if (!strcmp(each->name, name)) return each;
    handle *made = calloc(1, sizeof *made);
    strncpy(made->name, name, NAME_SIZE - 1);
    made->next = handles;
    return handles = made;
}

static const char *word(void) {
    char *found = strsep(&next_word, "\t");
    return found ? found : "";
}
static unsigned long long number(void) { return strtoull(word(), NULL, 10); }
static handle *handle_word(void) { return handle_of(word()); }

/* One question, one answer; its words are then read in order. */
static int ask(const char *format, ...) {
    if (sock < 0) return UNINITIALIZED;
    char question[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(question, sizeof question, format, arguments);
    va_end(arguments);
    if (length < 0 || length >= (int)sizeof question - 1) return INVALID_ARGUMENT;
    question[length++] = '\n';
    for (int sent = 0; sent < length;) {
        ssize_t part = send(sock, question + sent, length - sent, MSG_NOSIGNAL);
        if (part <= 0) return UNKNOWN;
        sent += part;
    }
    size_t got = 0;
    while (got == 0 || answer[got - 1] != '\n') {
        ssize_t part = recv(sock, answer + got, sizeof answer - got, 0);
        if (part <= 0) return UNKNOWN;
        got += part;
    }
    answer[got - 1] = 0;
    next_word = answer;
    int code = atoi(word());
    if (code == DIE) kill(getpid(), SIGKILL);
    return code;
}

/* A socket's abstract name: whoever listens there answers by the rules, once told which GPUs. */
static int behind(const char *door) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    const char *config = getenv("NVML_ABI_CONFIG");
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strncpy(at.sun_path + 1, door, sizeof at.sun_path - 2);
    if (connect(made, (struct sockaddr *)&at, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(at.sun_path + 1)) ||
        !config || dprintf(made, "%s\n", config) < 0) {
        close(made);
        return -1;
    }
    return made;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    const char *python = getenv("NVML_ABI_PYTHON"), *script = getenv("NVML_ABI_RULES"), *door = getenv("NVML_ABI_DOOR");
    int pair[2];
    if (opened++) return SUCCESS;
    if (door && *door) {
        rules = 0;
        sock = behind(door);
        return ask("hello") == SUCCESS ? SUCCESS : DRIVER_NOT_LOADED;
    }
    if (!python || !script || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        opened = 0;
        return DRIVER_NOT_LOADED;
    }
    rules = fork();
    if (rules == 0) {
        /* A driver does nothing for the dead: it ends with the thread that opened NVML. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(pair[1], 0);
        dup2(pair[1], 1);
        execl(python, python, script, (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    sock = pair[0];
    return ask("hello") == SUCCESS ? SUCCESS : DRIVER_NOT_LOADED;
}

int nvmlShutdown(void) {
    if (!opened) return UNINITIALIZED;
    if (--opened) return SUCCESS;
    close(sock);
    sock = -1;
    if (rules) waitpid(rules, NULL, 0);
    return SUCCESS;
}

const char *nvmlErrorString(int code) {
    static char text[32];
    snprintf(text, sizeof text, "error %d", code);
    return text;
}

static int copy_word(int code, char *room, unsigned size) {
    if (code != SUCCESS) return code;
    const char *text = word();
    if (strlen(text) >= size) return INSUFFICIENT_SIZE;
    strcpy(room, text);
    return SUCCESS;
}
int nvmlSystemGetDriverVersion(char *room, unsigned size) { return copy_word(ask("version"), room, size); }
int nvmlDeviceGetName(handle *device, char *room, unsigned size) {
    return copy_word(ask("name\t%s", device->name), room, size);
}
int nvmlDeviceGetUUID(handle *device, char *room, unsigned size) {
    return copy_word(ask("uuid\t%s", device->name), room, size);
}

static int one_number(int code, unsigned *value) {
    if (code == SUCCESS) *value = number();
    return code;
}
static int one_handle(int code, handle **value) {
    if (code == SUCCESS) *value = handle_word();
    return code;
}
int nvmlDeviceGetCount_v2(unsigned *count) { return one_number(ask("count"), count); }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, handle **device) { return one_handle(ask("at\t%u", index), device); }

int nvmlDeviceGetMigMode(handle *device, unsigned *current, unsigned *pending) {
    int code = one_number(ask("mode\t%s", device->name), current);
    if (code == SUCCESS) *pending = number();
    return code;
}
int nvmlDeviceSetMigMode(handle *device, unsigned mode, int *activation) {
    return one_number(ask("set-mode\t%s\t%u", device->name, mode), (unsigned *)activation);
}

int nvmlDeviceGetFieldValues(handle *device, int count, field_value *values) {
    for (int at = 0; at < count; at++) {
        values[at].code = NOT_SUPPORTED;
        if (values[at].field != RECOVERY_ACTION) continue;
        values[at].code = one_number(ask("recovery\t%s", device->name), &values[at].value.number);
        if (values[at].code == GPU_IS_LOST) return GPU_IS_LOST;
    }
    return SUCCESS;
}

int nvmlDeviceGetGpuInstanceProfileInfoV(handle *device, unsigned profile, gpu_instance_profile *info) {
    if (info->version != (2u << 24 | sizeof *info)) return ARGUMENT_VERSION_MISMATCH;
    int code = ask("profile\t%s\t%u", device->name, profile);
    if (code != SUCCESS) return code;
    info->id = number();
    info->slices = number();
    info->instances = number();
    info->multiprocessors = number();
    info->memory_mib = number();
    return copy_word(SUCCESS, info->name, NAME_SIZE);
}

int nvmlDeviceGetGpuInstancePossiblePlacements_v2(handle *device, unsigned id, placement *room, unsigned *count) {
    int code = ask("placements\t%s\t%u", device->name, id);
    if (code != SUCCESS) return code;
    unsigned found = number(), had = *count;
    *count = found;
    if (!room) return SUCCESS;
    if (had < found) return INSUFFICIENT_SIZE;
    for (unsigned at = 0; at < found; at++) {
        room[at].start = number();
        room[at].size = number();
    }
    return SUCCESS;
}

static int list(int code, handle **room, unsigned *count) {
    if (code != SUCCESS) return code;
    unsigned found = number(), had = *count;
    if (had < found) return INSUFFICIENT_SIZE;
    for (unsigned at = 0; at < found; at++) room[at] = handle_word();
    *count = found;
    return SUCCESS;
}
int nvmlDeviceGetGpuInstances(handle *device, unsigned id, handle **room, unsigned *count) {
    return list(ask("gpu-instances\t%s\t%u", device->name, id), room, count);
}
int nvmlGpuInstanceGetComputeInstances(handle *instance, unsigned id, handle **room, unsigned *count) {
    return list(ask("compute-instances\t%s\t%u", instance->name, id), room, count);
}

int nvmlDeviceGetGpuInstanceById(handle *device, unsigned id, handle **instance) {
    return one_handle(ask("gpu-instance\t%s\t%u", device->name, id), instance);
}
int nvmlGpuInstanceGetInfo(handle *instance, gpu_instance_info *info) {
    int code = ask("gpu-instance-info\t%s", instance->name);
    if (code != SUCCESS) return code;
    info->device = handle_word();
    info->id = number();
    info->profile = number();
    info->place.start = number();
    info->place.size = number();
    return SUCCESS;
}
int nvmlDeviceGetGpuInstanceRemainingCapacity(handle *device, unsigned id, unsigned *count) {
    return one_number(ask("remaining\t%s\t%u", device->name, id), count);
}
int nvmlDeviceCreateGpuInstance(handle *device, unsigned id, handle **instance) {
    return one_handle(ask("create\t%s\t%u", device->name, id), instance);
}
int nvmlDeviceCreateGpuInstanceWithPlacement(handle *device, unsigned id, const placement *at, handle **instance) {
    return one_handle(ask("create\t%s\t%u\t%u\t%u", device->name, id, at->start, at->size), instance);
}
int nvmlGpuInstanceDestroy(handle *instance) { return ask("destroy-gpu-instance\t%s", instance->name); }

int nvmlGpuInstanceGetComputeInstanceProfileInfoV(handle *instance, unsigned profile, unsigned engines,
                                                  compute_instance_profile *info) {
    if (info->version != (2u << 24 | sizeof *info)) return ARGUMENT_VERSION_MISMATCH;
    int code = ask("compute-profile\t%s\t%u\t%u", instance->name, profile, engines);
    if (code != SUCCESS) return code;
    info->id = number();
    info->slices = number();
    info->instances = number();
    return SUCCESS;
}
int nvmlGpuInstanceCreateComputeInstance(handle *instance, unsigned id, handle **compute) {
    return one_handle(ask("create-compute\t%s\t%u", instance->name, id), compute);
}
int nvmlComputeInstanceGetInfo_v2(handle *compute, compute_instance_info *info) {
    int code = ask("compute-instance-info\t%s", compute->name);
    if (code != SUCCESS) return code;
    info->gpu_instance = handle_word();
    info->device = handle_word();
    info->id = number();
    info->profile = number();
    info->place.start = 0;
    info->place.size = number();
    return SUCCESS;
}
int nvmlComputeInstanceDestroy(handle *compute) { return ask("destroy-compute\t%s", compute->name); }

int nvmlDeviceGetComputeRunningProcesses_v3(handle *device, unsigned *count, process_info *room) {
    int code = ask("processes\t%s", device->name);
    if (code != SUCCESS) return code;
    unsigned found = number(), had = *count;
    *count = found;
    if (had < found) return INSUFFICIENT_SIZE;
    for (unsigned at = 0; at < found; at++) {
        room[at].pid = number();
        room[at].memory = number();
        room[at].gi_id = number();
        room[at].ci_id = number();
    }
    return SUCCESS;
}

int nvmlEventSetCreate(handle **set) {
    *set = handle_of("event set");
    return opened ? SUCCESS : UNINITIALIZED;
}
int nvmlEventSetFree(handle *set) { return set == handle_of("event set") ? SUCCESS : INVALID_ARGUMENT; }
int nvmlDeviceRegisterEvents(handle *device, unsigned long long types, handle *set) {
    if (set != handle_of("event set")) return INVALID_ARGUMENT;
    return ask("register\t%s\t%llu", device->name, types);
}
int nvmlEventSetWait_v2(handle *set, event_data *data, unsigned timeout_ms) {
    const struct timespec pause = {0, 2000000};
    for (unsigned waited = 0;; waited += 2) {
        if (set != handle_of("event set")) return INVALID_ARGUMENT;
        int code = ask("event");
        if (code != TIMEOUT) {
            if (code != SUCCESS) return code;
            data->device = handle_word();
            data->type = number();
            data->data = number();
            data->gi_id = number();
            data->ci_id = number();
            return SUCCESS;
        }
        if (waited >= timeout_ms) return TIMEOUT;
        nanosleep(&pause, NULL);
    }
}
